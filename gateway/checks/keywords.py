"""Words and phrases from lists or files, found in one pass however many they are (Aho-Corasick)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal

import ahocorasick
import re2
from pydantic import Field, PrivateAttr, model_validator

from gateway.checks.base import NOTHING, Check
from gateway.checks.beside import Beside, digest
from gateway.checks.following import Automaton, Listed, WordScanner, joins
from gateway.checks.sieve import EASY, NOT_ASCII, Sieve
from gateway.checks.texts import MAY_HOLD_ASCII, folded, paths, single_spaced, unspaced
from gateway.core.terms import Judgement, Passage

MOST_AT_ONCE = 200  # words for which RE2's set is worth its while
_SPACE = r"[\s\x0b\x1c-\x1f\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+"  # as str.split
_PLAIN_SPACE = r"[\s\x0b\x1c-\x1f]+"  # the same in ASCII


class Keywords(Check):
    """A hit where a listed word stands. Case and width do not matter, nor do invisible characters."""

    can_rewrite = True

    inline: ClassVar[int] = 5_000

    use: Literal["keywords"] = "keywords"
    words: list[str] = Field([], description="words and phrases; white space counts as one space")
    files: list[Beside] = Field(
        [], description="files with one word a line, # begins a comment; relative to the policy"
    )
    whole_word: bool = Field(False, description="only where no letter or digit touches it; for short words")
    except_: list[str] = Field([], alias="except", description="phrases inside which a word does not count")

    _listed: list[str] = PrivateAttr(default_factory=list)
    _said: str = PrivateAttr(default="")  # by the files
    _found: Any = PrivateAttr(default=None)
    _any: Any = PrivateAttr(default=None)  # says fast that none of a few words stands in a text
    _excused: Any = PrivateAttr(default=None)
    _followed: Any = PrivateAttr(default=None)  # the same, for a text that comes in pieces

    @model_validator(mode="after")
    def _something(self) -> Keywords:
        if not self.words and not self.files:
            raise ValueError("give 'words' or 'files'")
        if any(not folded(word) for word in (*self.words, *self.except_)):
            raise ValueError("an empty word would be found everywhere")
        return self

    def model_post_init(self, _context: Any) -> None:
        listed = [folded(word) for word in self.words]
        texts = [Path(name).read_text(encoding="utf-8") for name in self.files]
        self._said = digest(texts)
        lines = [line for text in texts for line in text.splitlines()]
        listed += [folded(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
        self._found = _automaton([word for word in listed if word])
        self._any = _set_of(listed) if len(listed) <= MOST_AT_ONCE else None
        if self._any is not None:
            plain = [_PLAIN_SPACE.join(map(re2.escape, word.split())) for word in listed if word]
            unless = MAY_HOLD_ASCII if all(map(str.isascii, listed)) else NOT_ASCII
            self._sieve = Sieve(self._any, plain, at_once=EASY, case_sensitive=False, unless=unless)
        excuses = [folded(word) for word in self.except_]
        self._excused = _automaton(excuses) if excuses else None
        words = Automaton(word for word in listed if word)
        self._followed = Listed(words, Automaton(excuses) if excuses else None, whole_word=self.whole_word)

    def read_from(self) -> str:
        return self._said

    @cached_property
    def sieve(self) -> Sieve | None:
        return self._sieve_of(Keywords)

    @property
    def follows(self) -> bool:
        return True

    def scanner(self, *, settled: bool = False) -> WordScanner:
        return WordScanner(self._followed)

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        if (sieve := self.sieve) is not None and sieve.lets_pass(passages):
            return NOTHING
        hit = [passage for passage in passages if self._stands_in(passage.text)]
        return Judgement(bool(hit), ("keywords",) if hit else (), paths=paths(hit))

    def _may_hit(self, text: str) -> bool:
        return self._any is None or bool(self._any.Match(unspaced(text)))

    def _stands_in(self, text: str) -> bool:
        flat = unspaced(text)
        if self._any is not None and not self._any.Match(flat):
            return False
        text = single_spaced(flat)
        spans = [span for span in _spans(self._found, text) if not self.whole_word or _alone(text, span)]
        if not spans or self._excused is None:
            return bool(spans)
        return not all(map(_inside(_spans(self._excused, text)), spans))


def _set_of(words: list[str]) -> Any:
    """Says "no" of a text as it is, if it is ASCII, and of any text that is folded. None: they are too long for it."""
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    together = re2.Set.SearchSet(options)
    for word in words:
        if word:
            together.Add(_SPACE.join(map(re2.escape, word.split())))
    try:
        together.Compile()
    except re2.error:
        return None
    return together


def _automaton(words: list[str]) -> Any:
    automaton = ahocorasick.Automaton()
    for word in words:
        automaton.add_word(word, len(word))
    if words:
        automaton.make_automaton()
    return automaton


def _spans(automaton: Any, text: str) -> list[tuple[int, int]]:
    if not len(automaton):
        return []
    return [(end - length + 1, end + 1) for end, length in automaton.iter(text)]


def _inside(excuses: list[tuple[int, int]]) -> Callable[[tuple[int, int]], bool]:
    """Whether a span lies inside one of these."""
    excuses.sort()
    starts = [start for start, _ in excuses]
    reach = list(accumulate((end for _, end in excuses), max))  # how far those reach that begin no later

    def inside(span: tuple[int, int]) -> bool:
        before = bisect_right(starts, span[0])
        return before > 0 and reach[before - 1] >= span[1]

    return inside


def _alone(text: str, span: tuple[int, int]) -> bool:
    start, end = span
    before = start > 0 and joins(text[start - 1]) and joins(text[start])
    after = end < len(text) and joins(text[end]) and joins(text[end - 1])
    return not before and not after
