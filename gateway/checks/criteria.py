"""Several questions about a text, put to a chat model at once, and one rule for what the answers mean together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from gateway.checks.base import Check, CheckFault
from gateway.checks.judge import Judge
from gateway.checks.panel import Jury
from gateway.checks.segments import worst
from gateway.core.terms import Judgement

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class Criteria(Jury):
    """A hit by the questions that are answered YES: any, all, `k` of them, or their weighted mean from `threshold`."""

    takes_question: ClassVar[bool] = True

    use: Literal["criteria"] = "criteria"
    model: str = Field(min_length=1, description="a model of the house")
    questions: dict[Name, str] = Field(min_length=1, max_length=16, description="by name; YES counts towards a hit")
    combine: Literal["any", "all", "k_of_n", "weighted_mean"] = Field(
        "any", description="how the answers make a verdict"
    )
    k: int | None = Field(None, ge=1, description="for k_of_n: how many questions make a hit")
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field({}, description="for weighted_mean; absent: 1")
    threshold: float = Field(0.5, gt=0, le=1, description="for weighted_mean: from which mean it is a hit")

    _judges: dict[str, Judge] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Criteria:
        if (self.k is not None) != (self.combine == "k_of_n"):
            raise ValueError("'k' belongs to 'combine: k_of_n'")
        if self.k is not None and self.k > len(self.questions):
            raise ValueError(f"'k' is at most {len(self.questions)}, the number of questions")
        if unknown := [name for name in self.weights if name not in self.questions]:
            raise ValueError(f"there is no question '{unknown[0]}' to weigh")
        return self

    def model_post_init(self, _context: Any) -> None:
        self._judges.update(
            (name, Judge(use="judge", model=self.model, question=question)) for name, question in self.questions.items()
        )

    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def jurors(self) -> Mapping[str, Check]:
        return self._judges

    def decided(self, said: Mapping[str, Judgement | None]) -> bool | None:
        least = self._mean(name for name, one in said.items() if one is not None and one.hit)
        most = 1 - self._mean(name for name, one in said.items() if one is not None and not one.hit)
        bound = self._bound()
        if least >= bound:
            return True
        if most < bound:
            return False
        if len(said) == len(self.questions):
            raise CheckFault(f"no answer to {', '.join(name for name, one in said.items() if one is None)}")
        return None

    def judgement(self, said: Mapping[str, Judgement | None]) -> Judgement:
        hit = bool(self.decided(said))
        answers = [one for one in said.values() if one is not None]
        named = tuple(name for name, one in said.items() if one is not None and one.hit)
        return Judgement(hit, named if hit else (), self._mean(named), usage=worst(answers).usage)

    def _bound(self) -> float:
        """The mean from which it is a hit, a hair lower: sums of weights are not exact."""
        count = len(self.questions)
        match self.combine:
            case "any":
                least = min(map(self._weight, self.questions)) / self._all()
            case "all":
                least = 1.0
            case "k_of_n":
                least = (self.k or count) / count
            case "weighted_mean":
                least = self.threshold
        return least - 1e-9

    def _mean(self, names: Any) -> float:
        return sum(map(self._weight, names)) / self._all()

    def _weight(self, name: str) -> float:
        return self.weights.get(name, 1.0) if self.combine == "weighted_mean" else 1.0

    def _all(self) -> float:
        return sum(map(self._weight, self.questions))
