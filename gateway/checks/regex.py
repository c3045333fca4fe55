"""Patterns in linear time: RE2, so that no pattern and no text can make a check slow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import re2
from pydantic import Field, PrivateAttr, model_validator

from gateway.checks.base import NOTHING, Check
from gateway.checks.following import LooksScanner, Patterns
from gateway.checks.sieve import Sieve
from gateway.checks.texts import MAY_BE_DISGUISED, looks, paths
from gateway.core.terms import Judgement, Passage

LONGEST = 4096  # characters of one pattern
MEMORY = 16 << 20  # bytes for all patterns of one check


class Regex(Check):
    """A hit where a pattern matches. RE2 syntax: no look-around, no backreferences."""

    can_rewrite = True

    inline: ClassVar[int] = 1_000

    use: Literal["regex"] = "regex"
    patterns: dict[str, str] = Field(
        min_length=1,
        description="pattern by name; the name is what a receipt says; of a hit that is cut out, the first group if there is one",
    )
    case_sensitive: bool = Field(False, description="whether upper and lower case differ")

    _names: tuple[str, ...] = PrivateAttr(default=())
    _set: Any = PrivateAttr(default=None)
    _followed: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _compiled(self) -> Regex:
        options = re2.Options()
        options.log_errors = False
        options.case_sensitive = self.case_sensitive
        options.max_mem = MEMORY
        together = re2.Set.SearchSet(options)
        for name, pattern in self.patterns.items():
            _check(name, pattern, options)
            together.Add(pattern)
        try:
            together.Compile()
        except re2.error:
            raise ValueError(
                f"the patterns together need more than the {MEMORY >> 20} MiB that RE2 has for them"
            ) from None
        self._names, self._set = tuple(self.patterns), together
        self._sieve = Sieve(
            together,
            [*self.patterns.values()],
            at_once=self.inline,
            case_sensitive=self.case_sensitive,
            unless=MAY_BE_DISGUISED,
        )
        self._followed = Patterns(tuple(self.patterns.items()), options)
        return self

    @cached_property
    def sieve(self) -> Sieve | None:
        return self._sieve_of(Regex)

    @property
    def follows(self) -> bool:
        followable: bool = self._followed.followable
        return followable

    def scanner(self, *, settled: bool = False) -> LooksScanner:
        return LooksScanner(self._followed, settled=settled)

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        if (sieve := self.sieve) is not None and sieve.lets_pass(passages):
            return NOTHING
        found: set[int] = set()
        hit = []
        for passage in passages:
            here = {n for text in looks(passage.text) for n in self._matches(text)}
            if here:
                found |= here
                hit.append(passage)
        return Judgement(bool(hit), tuple(self._names[n] for n in sorted(found)), paths=paths(hit))

    def _may_hit(self, text: str) -> bool:
        return any(map(self._matches, looks(text)))

    def _matches(self, text: str) -> Sequence[int]:
        return self._set.Match(text.encode("utf-8", "replace")) or ()  # None where nothing matches


def _check(name: str, pattern: str, options: Any) -> None:
    if len(pattern) > LONGEST:
        raise ValueError(f"pattern '{name}' is longer than {LONGEST} characters")
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        hint = " (RE2 has no look-around and no backreferences)" if "(?" in pattern or "\\" in pattern else ""
        raise ValueError(f"pattern '{name}' is not valid RE2: {said}{hint}") from None
    if compiled.search("") is not None:
        raise ValueError(f"pattern '{name}' matches the empty text, so it would hit everywhere")
