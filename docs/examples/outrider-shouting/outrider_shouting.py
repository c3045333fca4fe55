"""A hit where a text is mostly in capitals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from gateway.checks.base import Check
from gateway.core.terms import Judgement, Passage

LEAST = 10  # letters: shorter texts are names and abbreviations


class Shouting(Check):
    """`use: shouting` in a policy; the fields are its settings."""

    use: Literal["shouting"] = "shouting"
    share: float = Field(0.7, gt=0, le=1, description="of the letters that are capitals")

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        loud = [passage.path for passage in passages if self._is_loud(passage.text)]
        return Judgement(bool(loud), ("capitals",) if loud else (), paths=tuple(loud))

    def _is_loud(self, text: str) -> bool:
        letters = [character for character in text if character.isalpha()]
        return len(letters) >= LEAST and sum(map(str.isupper, letters)) >= self.share * len(letters)
