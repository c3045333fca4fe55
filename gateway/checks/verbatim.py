"""Text of listed documents, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from gateway.checks.base import Check
from gateway.checks.beside import Beside, digest
from gateway.checks.copying import known_of, share
from gateway.checks.texts import paths
from gateway.core.terms import Judgement, Lane, Passage


class Verbatim(Check):
    """A hit where so many words in a row stand in one of the documents."""

    lane = Lane.WINDOW

    inline: ClassVar[int] = 3_000

    use: Literal["verbatim"] = "verbatim"
    files: list[Beside] = Field(min_length=1, description="documents, relative to the policy")
    words: int = Field(12, ge=4, le=25, description="words in a row; a window of an answer shows that many again")

    _known: set[int] = PrivateAttr(default_factory=set)
    _said: str = PrivateAttr(default="")  # by the files

    @model_validator(mode="after")
    def _read(self) -> Verbatim:
        texts = [Path(name).read_text(encoding="utf-8") for name in self.files]
        self._known, self._said = known_of(texts, self.words), digest(texts)
        return self

    def read_from(self) -> str:
        return self._said

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        hit = [passage for passage in passages if share(passage.text, self._known, self.words)[0]]
        return Judgement(bool(hit), ("verbatim",) if hit else (), paths=paths(hit))
