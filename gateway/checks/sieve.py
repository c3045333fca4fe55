"""One pass over many texts at once, which says of most that none of some patterns stands in any of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import re2

from gateway.checks.patterns import looks_at_ends, loosened
from gateway.core.terms import Passage

MEMORY = 32 << 20  # bytes for all patterns of several checks
NOT_ASCII = r"[^\x00-\x7f]"
LONG = 16_384  # characters
BETWEEN = "\n"  # stands between the texts: what matches in one of them matches in all of them together


class Sieve:
    """The patterns of one check, asked of all texts together where they allow that.

    Joined, a text keeps its matches: a match reads nothing outside itself but whether a word begins or ends, and a
    line's end is to that what a text's end is. Across two texts there may be more matches, so only "no" is an answer.
    """

    def __init__(
        self, compiled: Any, patterns: Sequence[str], *, case_sensitive: bool = True, unless: str = NOT_ASCII
    ) -> None:
        """`compiled`: the set of these patterns, of which one matches in each text in which there is a hit.

        That need be right for plain ASCII only, and for texts without a character that `unless` is a pattern of.
        """
        self._compiled = compiled
        self._patterns = patterns
        self._case_sensitive = case_sensitive
        self.unless = unless

    @cached_property
    def joins(self) -> bool:
        """Whether the texts can be asked about together."""
        return not any(map(looks_at_ends, self._patterns))

    @property
    def patterns(self) -> list[str]:
        """As they can stand in another set, made looser."""
        looser = map(loosened, self._patterns)
        return [pattern if self._case_sensitive else f"(?i:{pattern})" for pattern in looser]

    def lets_pass(self, passages: Sequence[Passage]) -> bool:
        """Whether surely no text has a hit."""
        texts = [passage.text for passage in passages]
        return all(map(self._is_silent, together(texts) if self.joins else texts))

    def _is_silent(self, text: str) -> bool:
        data = text.encode("utf-8", "replace")
        if text.isascii() or re2.compile(self.unless).search(data) is None:
            return not self._compiled.Match(data)
        return False


class CommonSieve:
    """Several checks that are asked in one pass."""

    def __init__(self, sieves: Mapping[str, Sieve]) -> None:
        """By the names of the checks; compiled when it is first asked."""
        self._sieves = {name: sieve for name, sieve in sieves.items() if sieve.joins}
        self.names = frozenset(self._sieves)

    @cached_property
    def _compiled(self) -> tuple[Any, list[set[str]]] | None:
        """The set, and of whom each of its patterns says that there may be something; None: they are too many."""
        whose: dict[str, set[str]] = defaultdict(set)
        for name, sieve in self._sieves.items():
            for pattern in (*sieve.patterns, sieve.unless):
                whose[pattern].add(name)
        options = re2.Options()
        options.max_mem = MEMORY
        options.log_errors = False
        patterns = re2.Set.SearchSet(options)
        try:
            for pattern in whose:
                patterns.Add(pattern)
            patterns.Compile()
        except re2.error:
            return None
        return patterns, [*whose.values()]

    @property
    def ready(self) -> bool:
        """Whether it has been compiled, which takes longer than asking it."""
        return "_compiled" in self.__dict__

    def silent(self, passages: Sequence[Passage]) -> frozenset[str]:
        """Of the checks, those that find nothing in any of these texts, as far as one pass tells."""
        if self._compiled is None:
            return frozenset()
        patterns, whose = self._compiled
        matched = [
            number
            for text in together([passage.text for passage in passages])
            for number in patterns.Match(text.encode("utf-8", "replace")) or ()
        ]
        return self.names.difference(*[whose[number] for number in matched])


def together(texts: Sequence[str]) -> list[str]:
    """Texts as few: joined, but for the long ones, which joining would only copy."""
    long = [text for text in texts if len(text) > LONG]
    short = [text for text in texts if len(text) <= LONG] if long else texts
    return [BETWEEN.join(short), *long]
