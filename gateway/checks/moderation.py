"""OpenAI's moderation endpoint, or a server that speaks it, asked about every text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from gateway.checks.base import Ask, Check, CheckFault
from gateway.checks.texts import paths, spoken
from gateway.core.terms import Document, Judgement, Passage
from gateway.yamlfile import did_you_mean

CATEGORIES = frozenset(
    "hate hate/threatening harassment harassment/threatening illicit illicit/violent self-harm self-harm/intent "
    "self-harm/instructions sexual sexual/minors violence violence/graphic".split()
)
BATCH = 32  # texts of one call


class Moderation(Check):
    """A hit where the service flags a text, or scores a category at or above its threshold."""

    local = False

    use: Literal["moderation"] = "moderation"
    model: str = Field(min_length=1, description="a model of the house whose upstream serves /moderations")
    threshold: float | dict[str, float] | None = Field(
        None, description="one score for all categories, or one for each; absent: the service's own flag"
    )
    categories: list[str] | None = Field(None, description="only these count; absent: all")

    @field_validator("threshold")
    @classmethod
    def _in_range(cls, threshold: Any) -> Any:
        named = threshold if isinstance(threshold, dict) else {}
        _known(named)
        scores = list(named.values()) if named else [threshold]
        if threshold is not None and any(not 0 < score <= 1 for score in scores):
            raise ValueError("a threshold is above 0 and at most 1")
        return threshold

    @field_validator("categories")
    @classmethod
    def _named(cls, categories: list[str] | None) -> list[str] | None:
        _known(categories or ())
        return categories

    def models(self) -> tuple[str, ...]:
        return (self.model,)

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        told = [p for p in (spoken(passages) or list(passages)) if p.path != "model"]
        found: dict[str, float] = {}
        hit: list[Passage] = []
        highest = 0.0
        for start in range(0, len(told), BATCH):
            batch = told[start : start + BATCH]
            answer = await ask("moderations", self.model, {"input": [p.text for p in batch]})
            for passage, result in zip(batch, _results(answer, len(batch)), strict=True):
                named, score = self._weigh(result)
                highest = max(highest, score)
                if named:
                    hit.append(passage)
                    found |= named
        return Judgement(bool(hit), tuple(sorted(found)), score=highest, paths=paths(hit))

    def _weigh(self, result: Document) -> tuple[dict[str, float], float]:
        """The categories that hit with their scores, and the highest score that counts."""
        flagged, flags, scores = _read(result)
        counted = {n: s for n, s in scores.items() if self.categories is None or n in self.categories}
        highest = max(counted.values(), default=0.0)
        if self.threshold is not None:
            return {n: s for n, s in counted.items() if s >= self._bound(n)}, highest
        named = {n: scores.get(n, 0.0) for n, hit in flags.items() if hit and (n in counted or n not in scores)}
        if self.categories is not None:
            named = {n: s for n, s in named.items() if n in self.categories}
        elif flagged and not named:
            named = {"flagged": highest}
        return named, highest

    def _bound(self, category: str) -> float:
        if isinstance(self.threshold, dict):
            return self.threshold.get(category, math.inf)
        return self.threshold if self.threshold is not None else math.inf


def _known(names: Any) -> None:
    for name in names:
        if name not in CATEGORIES:
            raise ValueError(f"there is no category '{name}'{did_you_mean(name, CATEGORIES)}")


def _results(answer: Document, count: int) -> list[Document]:
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != count or not all(isinstance(r, dict) for r in results):
        raise CheckFault("the service did not answer for every text")
    return results


def _read(result: Document) -> tuple[bool, dict[str, bool], dict[str, float]]:
    flagged, flags, scores = result.get("flagged"), result.get("categories"), result.get("category_scores")
    if not isinstance(flagged, bool) or not isinstance(flags, dict) or not isinstance(scores, dict):
        raise CheckFault("the service's answer is not a moderation result")
    if not all(isinstance(flag, bool | None) for flag in flags.values()):
        raise CheckFault("the service's answer has a flag that is not true or false")
    numbers = {n: s for n, s in scores.items() if s is not None}
    if not all(type(s) in {int, float} and math.isfinite(s) for s in numbers.values()):
        raise CheckFault("the service's answer has a score that is not a number")
    return flagged, {n: bool(f) for n, f in flags.items()}, {n: float(s) for n, s in numbers.items()}
