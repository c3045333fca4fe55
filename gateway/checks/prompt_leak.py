"""The system prompt in an answer: its canary, or runs of its words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr

from gateway.checks.base import Check
from gateway.checks.copying import known_of, share
from gateway.checks.texts import folded, paths
from gateway.core.terms import OUTPUT_PLACES, Judgement, Lane, Passage, Place, Request


class PromptLeak(Check):
    """A hit where an answer repeats enough of the request's own system prompt, or holds a canary."""

    can_read = OUTPUT_PLACES
    lane = Lane.WINDOW

    inline: ClassVar[int] = 3_000

    use: Literal["prompt_leak"] = "prompt_leak"
    shingle: int = Field(6, ge=3, le=20, description="words in a row that count as one piece")
    threshold: int = Field(
        4, ge=1, description="pieces of one text from which it is a hit: so many words and a few more"
    )
    canary: list[str] = Field([], description="words of the system prompt that never belong into an answer")

    _known: set[int] = PrivateAttr(default_factory=set)

    def bound(self, request: Request) -> Check:
        made = self.model_copy()
        system = (p.text for p in request.passages if p.place is Place.SYSTEM)
        asked = known_of((p.text for p in request.passages if p.place is Place.USER), self.shingle)
        made._known = known_of(system, self.shingle) - asked  # noqa: SLF001 -- what the client said itself may be said
        return made

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        canaries = [folded(one) for one in self.canary]
        hit, highest = [], 0.0
        for passage in passages:
            count, part = share(passage.text, self._known, self.shingle)
            highest = max(highest, part)
            if count >= self.threshold or any(one in folded(passage.text) for one in canaries):
                hit.append(passage)
        return Judgement(bool(hit), ("prompt_leak",) if hit else (), score=highest, paths=paths(hit))
