"""Criteria: one text judged on several criteria at the same time; a score and a reason for each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from gateway.core.tally import State
from gateway.core.terms import Document
from gateway.fanout import prompts
from gateway.fanout.base import Facts, Model, Strategy, bounded
from gateway.fanout.contest import Compose, Contest, Effect, Run, Task, Timer


class Criterion(Model):
    question: str = Field("", description="what is asked of the text; default: its name says it")
    model: str | None = Field(None, min_length=1)
    weight: float = Field(1.0, gt=0)
    threshold: float | None = Field(None, description="the score from which it is passed; default: the middle")
    required: bool = Field(False, description="failed, nothing else can make up for it")
    on_error: Literal["fail", "pass", "ignore"] = "fail"


class KOfN(Model):
    k_of_n: int = Field(ge=1)


class Criteria(Strategy):
    """The user's last message judged; the answer is JSON: `pass`, `score`, and each criterion's score and reason."""

    assembles = True

    strategy: Literal["criteria"] = "criteria"
    model: str = Field(min_length=1)
    criteria: dict[str, Criterion] = Field(min_length=1, max_length=64)
    scale: tuple[float, float] = (1, 10)
    combine: Literal["all", "any", "weighted_mean"] | KOfN = "weighted_mean"
    threshold: float | None = Field(None, description="of the weighted mean; default: the middle of the scale")
    early_stop: bool = Field(False, description="stop when the outcome is fixed, with the scores that are in")

    @model_validator(mode="after")
    def _ordered(self) -> Criteria:
        if self.scale[0] >= self.scale[1]:
            raise ValueError("'scale' goes from the lowest to the highest score")
        if isinstance(self.combine, KOfN) and self.combine.k_of_n > len(self.criteria):
            raise ValueError("'k_of_n' is more than there are criteria")
        for name, one in self.criteria.items():
            if one.threshold is not None and not self.scale[0] <= one.threshold <= self.scale[1]:
                raise ValueError(f"the threshold of '{name}' is outside the scale")
        return self

    @property
    def middle(self) -> float:
        return (self.scale[0] + self.scale[1]) / 2

    def models(self) -> Mapping[str, str]:
        own = {f"criteria.{n}.model": c.model for n, c in self.criteria.items() if c.model is not None}
        return {"model": self.model, **own}

    def contest(self, asked: Document, facts: Facts) -> CriteriaContest:
        return CriteriaContest(self, asked, facts)


class CriteriaContest(Contest):
    def __init__(self, settings: Criteria, asked: Document, facts: Facts) -> None:
        self._settings = settings
        tasks = []
        for name, one in settings.criteria.items():
            document = prompts.criterion(asked, name, one.question, settings.scale, facts.seed)
            document = bounded(document, settings.budget, len(settings.criteria))
            tasks.append(Task(name, one.model or settings.model, document, role="criterion"))
        super().__init__(tasks, max_calls=settings.budget.max_calls)
        self._scores: dict[str, tuple[float, str]] = {}

    def start(self) -> list[Effect]:
        return [Timer("deadline", self._settings.deadline), *self.open_waiting(), *self._count()]

    def finished(self, run: Run) -> list[Effect]:
        assert run.answer is not None
        found = prompts.score(run.answer.text, self._settings.scale) if run.answer.counts else None
        if found is None:
            run.state, run.why = State.INVALID, "unreadable" if run.answer.counts else run.answer.ended
        else:
            self._scores[run.task.key] = found
        return self._count()

    def lost(self, run: Run) -> list[Effect]:
        return self._count()

    def rang(self, name: str) -> list[Effect]:
        self.report.stopped = name
        return [*self.give_up(State.TIMEOUT), *self._count()]

    def _passed(self, name: str) -> bool | None:
        """None: not known yet, or not to be counted."""
        score = self._score(name)
        if score is None:
            return None
        one = self._settings.criteria[name]
        return score >= (self._settings.middle if one.threshold is None else one.threshold)

    def _score(self, name: str) -> float | None:
        """Its score; one that could not be judged has the lowest or the highest, or none, as its settings say."""
        if name in self._scores:
            return self._scores[name][0]
        low, high = self._settings.scale
        on_error = self._settings.criteria[name].on_error
        return None if self._is_open(name) else {"fail": low, "pass": high, "ignore": None}[on_error]

    def _is_open(self, name: str) -> bool:
        run = self.runs.get(name)
        return run is None or run.state is None

    def _outcome(self) -> bool | None:
        """Whether the text passes; None: what is still open may change it."""
        known = {name: self._passed(name) for name in self._settings.criteria}
        passed = sum(one is True for one in known.values())
        failed = sum(one is False for one in known.values())
        still = sum(map(self._is_open, known))
        if any(known[name] is False and one.required for name, one in self._settings.criteria.items()):
            return False
        match self._settings.combine:
            case "all":
                return False if failed else None if still else passed > 0
            case "any":
                return True if passed else None if still else False
            case KOfN(k_of_n=least):
                return True if passed >= least else None if passed + still >= least else False
        bound = self._settings.middle if self._settings.threshold is None else self._settings.threshold
        return None if still else self._mean() >= bound

    def _mean(self) -> float:
        scores = {name: score for name in self._settings.criteria if (score := self._score(name)) is not None}
        weights = {name: self._settings.criteria[name].weight for name in scores}
        return sum(scores[name] * weights[name] for name in scores) / sum(weights.values())

    def _count(self) -> list[Effect]:
        final = not self.running
        outcome = self._outcome()
        if not final and (outcome is None or not self._settings.early_stop):
            return []
        if final and not self._scores:
            return self.fail("no_quorum", "No criterion could be judged")
        if not final:
            self.report.stopped = "exact"
        self.report.decision = "decided"
        self.report.said |= {"pass": bool(outcome), "score": round(self._mean(), 4)}
        told = {
            name: {"score": self._scores[name][0], "reason": self._scores[name][1], "pass": self._passed(name)}
            if name in self._scores
            else {"score": None, "reason": None, "pass": self._passed(name)}
            for name in self._settings.criteria
        }
        body = {"pass": bool(outcome), "score": round(self._mean(), 4), "criteria": told}
        return self.end(Compose(json.dumps(body, ensure_ascii=False)))
