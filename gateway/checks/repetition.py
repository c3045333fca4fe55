"""Loops: a model that says the same again and again, and suffixes of noise."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from gateway.checks.base import Check
from gateway.checks.copying import words
from gateway.checks.texts import paths, spoken
from gateway.core.terms import Judgement, Passage

LEAST = 200  # characters below which nothing is a loop
RUN = 4  # words of a piece


class Repetition(Check):
    """A hit where the most frequent run of four words makes up too much of a text, or it shrinks too well."""

    inline: ClassVar[int] = 2_500

    use: Literal["repetition"] = "repetition"
    threshold: float = Field(0.3, gt=0, le=1, description="part of a text that its most frequent run may make up")

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        hit, highest = [], 0.0
        for passage in spoken(passages):
            score = looped(passage.text)
            highest = max(highest, score)
            if score >= self.threshold:
                hit.append(passage)
        return Judgement(bool(hit), ("repetition",) if hit else (), score=round(highest, 4), paths=paths(hit))


def looped(text: str) -> float:
    """From 0 to 1: how much of a text is the same said again."""
    if len(text) < LEAST:
        return 0.0
    said = words(text)
    runs = Counter(tuple(said[n : n + RUN]) for n in range(len(said) - RUN + 1))
    often = max(runs.values(), default=0)
    by_words = often * RUN / max(1, len(said)) if often > 2 else 0.0
    raw = text.encode("utf-8", "replace")
    shrunk = len(zlib.compress(raw, 6)) / len(raw)
    return min(1.0, max(by_words, (0.12 - shrunk) / 0.12 if shrunk < 0.12 else 0.0))
