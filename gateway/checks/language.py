"""The script that a text is written in."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr, field_validator

from gateway.checks.base import Check
from gateway.checks.texts import paths, spoken
from gateway.core.terms import Judgement, Passage, Place, Request
from gateway.yamlfile import did_you_mean

SCRIPTS = frozenset(
    "latin cyrillic greek arabic hebrew devanagari bengali tamil telugu thai hangul hiragana katakana cjk armenian "
    "georgian ethiopic khmer lao myanmar gujarati gurmukhi kannada malayalam sinhala tibetan mongolian".split()
)
LEAST = 12  # letters below which a text has no script of its own


class Language(Check):
    """A hit where a text is mostly written in a script that is not allowed, or in another than the question."""

    inline: ClassVar[int] = 6_000

    use: Literal["language"] = "language"
    allow: list[str] | None = Field(None, description="scripts: latin, cyrillic, cjk, ...; absent: all")
    same_as_input: bool = Field(False, description="an answer in the script of the user's last message")

    _input: frozenset[str] = PrivateAttr(default=frozenset())

    @field_validator("allow")
    @classmethod
    def _known(cls, scripts: list[str] | None) -> list[str] | None:
        for name in scripts or ():
            if name not in SCRIPTS:
                raise ValueError(f"there is no script '{name}'{did_you_mean(name, SCRIPTS)}")
        return scripts

    def bound(self, request: Request) -> Check:
        if not self.same_as_input:
            return self
        made = self.model_copy()
        last = [p.text for p in request.passages if p.place is Place.USER][-1:]
        made._input = frozenset(name for text in last for name in scripts_of(text))  # noqa: SLF001
        return made

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        hit, named = [], set()
        for passage in spoken(passages):
            found = scripts_of(passage.text)
            foreign = {name for name in found if not self._may(name, passage.place)}
            if foreign:
                hit.append(passage)
                named |= foreign
        return Judgement(bool(hit), tuple(sorted(named)), paths=paths(hit))

    def _may(self, script: str, place: Place) -> bool:
        if self.allow is not None and script not in self.allow:
            return False
        return not (self.same_as_input and place.side == "output" and self._input and script not in self._input)


def scripts_of(text: str) -> list[str]:
    """The scripts in which a fifth or more of a text's letters are written."""
    counts = Counter(script(c) for c in text if c.isalpha())
    letters = sum(counts.values())
    return [name for name, n in counts.items() if letters >= LEAST and n >= letters / 5]


@lru_cache(4096)
def script(character: str) -> str:
    word = unicodedata.name(character, "?").split(" ")[0].split("-")[0].lower()
    return {"fullwidth": "latin", "halfwidth": "katakana", "ideographic": "cjk"}.get(word, word)
