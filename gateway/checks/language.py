"""The script that a text is written in, or its language."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from gateway.checks import languages
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
    """A hit where a text is mostly in a script or language that is not allowed, or in another than the question."""

    inline: ClassVar[int] = 4_000

    use: Literal["language"] = "language"
    by: Literal["script", "language"] = Field(
        "script", description="what is told apart; languages need the extra `outrider[language]`"
    )
    allow: list[str] | None = Field(
        None, description="scripts (latin, cyrillic, cjk, ...) or languages (ISO 639: en, de, ...); absent: all"
    )
    same_as_input: bool = Field(False, description="an answer in the script or language of the user's last message")
    certainty: float = Field(0.5, gt=0, le=1, description="from which a language counts; less certain texts are clear")

    _input: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="after")
    def _known(self) -> Language:
        known = SCRIPTS if self.by == "script" else languages.known()
        for name in self.allow or ():
            if name not in known:
                raise ValueError(f"there is no {self.by} '{name}'{did_you_mean(name, known)}")
        return self

    def read_from(self) -> str:
        return languages.version() if self.by == "language" else ""

    def bound(self, request: Request) -> Check:
        if not self.same_as_input:
            return self
        made = self.model_copy()
        last = [p.text for p in request.passages if p.place is Place.USER][-1:]
        made._input = frozenset(name for text in last for name in self._of(text))  # noqa: SLF001
        return made

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        hit, named = [], set()
        for passage in spoken(passages):
            foreign = {name for name in self._of(passage.text) if not self._may(name, passage.place)}
            if foreign:
                hit.append(passage)
                named |= foreign
        return Judgement(bool(hit), tuple(sorted(named)), paths=paths(hit))

    def _of(self, text: str) -> list[str]:
        if self.by == "script":
            return scripts_of(text)
        told = languages.language_of(text, self.certainty)
        return [] if told is None else [told]

    def _may(self, name: str, place: Place) -> bool:
        if self.allow is not None and name not in self.allow:
            return False
        return not (self.same_as_input and place.side == "output" and self._input and name not in self._input)


def scripts_of(text: str) -> list[str]:
    """The scripts in which a fifth or more of a text's letters are written."""
    counts = Counter(script(c) for c in text if c.isalpha())
    letters = sum(counts.values())
    return [name for name, n in counts.items() if letters >= LEAST and n >= letters / 5]


@lru_cache(4096)
def script(character: str) -> str:
    word = unicodedata.name(character, "?").split(" ")[0].split("-")[0].lower()
    return {"fullwidth": "latin", "halfwidth": "katakana", "ideographic": "cjk"}.get(word, word)
