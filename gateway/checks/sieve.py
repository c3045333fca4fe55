"""One pass over many texts at once, which says of most that none of some patterns stands in any of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import re2

from gateway.checks.patterns import NotFollowable, looks_at_ends, loosened
from gateway.checks.shortening import shortened
from gateway.core.terms import Passage

MEMORY = 8 << 20  # bytes for one pass; when RE2 has learned so much it forgets it, which takes it a millisecond
FEW = 8  # patterns of a check that share a pass
EASY = 8_000  # characters at once: who bears so many is no burden to others
ANYTHING = "(?s:.)"
SOON = 0.0001  # seconds after which no more is read on the event loop; the last piece may take much longer
FAR = 80  # characters within which one knows of any match that there may be one
SPACES = 24  # white space in a row; of more nothing is said
MUCH_SPACE = rf"[\s\x0b\x1c-\x1f]{{{SPACES + 1}}}"
NOT_ASCII = r"[^\x00-\x7f]"
LONG = 16_384  # characters
BETWEEN = "\n"  # stands between the texts: what matches in one of them matches in all of them together


class Sieve:
    """The patterns of one check, asked of all texts together where they allow that.

    Joined, a text keeps its matches: a match reads nothing outside itself but whether a word begins or ends, and a
    line's end is to that what a text's end is. Across two texts there may be more matches, so only "no" is an answer.
    """

    def __init__(
        self,
        compiled: Any,
        patterns: Sequence[str],
        *,
        at_once: int,
        case_sensitive: bool = True,
        unless: str = NOT_ASCII,
    ) -> None:
        """`compiled`: the set of these patterns, of which one matches in each text in which there is a hit.

        That need be right for plain ASCII only, and for texts without a character that `unless` is a pattern of.
        `at_once`: characters of them that are read in less than a millisecond, whatever they are.
        """
        self._compiled = compiled
        self._patterns = patterns
        self._case_sensitive = case_sensitive
        self.at_once = max(at_once, FAR * 2)
        self.unless = unless

    @cached_property
    def joins(self) -> bool:
        """Whether the texts can be asked about together."""
        return not any(map(looks_at_ends, self._patterns))

    @cached_property
    def patterns(self) -> list[str]:
        """As they can stand in another set, made looser and short."""
        try:
            looser = [loosened(shortened(pattern, FAR, SPACES)) for pattern in self._patterns]
        except NotFollowable:
            return [ANYTHING]
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
    """Several checks that are asked in few passes."""

    def __init__(self, sieves: Mapping[str, Sieve]) -> None:
        """By the names of the checks; compiled when it is first asked."""
        self._sieves = {name: sieve for name, sieve in sieves.items() if sieve.joins}
        self.names = frozenset(self._sieves)

    @cached_property
    def _passes(self) -> list[_Pass]:
        """Many patterns stay alone, few have a pass together, and words join any: what a character costs that is new to
        RE2 grows with all patterns of a pass, and how many are new with those of each that may begin anywhere.
        """
        words = {name: sieve for name, sieve in self._sieves.items() if sieve.at_once >= EASY}
        rest = {name: sieve for name, sieve in self._sieves.items() if name not in words}
        few = {name: sieve for name, sieve in rest.items() if len(sieve.patterns) <= FEW}
        apart = [few, *({name: sieve} for name, sieve in rest.items() if name not in few)]
        first, *others = [sieves for sieves in apart if sieves] or [{}]
        return [_Pass(sieves) for sieves in ({**words, **first}, *others) if sieves]

    @property
    def ready(self) -> bool:
        """Whether it has been compiled, which takes longer than asking it."""
        return "_passes" in self.__dict__

    def silent(self, passages: Sequence[Passage]) -> frozenset[str]:
        """Of the checks, those that find nothing in any of these texts, as far as this tells."""
        may_find: set[str] = set()
        for text in together([passage.text for passage in passages]):
            may_find.update(self._disguised(text))
            for one in self._passes:
                one.read(text, may_find)
        return self.names - may_find

    def soon(self, passages: Sequence[Passage], clock: Callable[[], float]) -> frozenset[str] | None:
        """The same, on the event loop. None: it turned out to be more than others can wait for, by a clock in seconds."""
        may_find: set[str] = set()
        until = 0.0
        for text in together([passage.text for passage in passages]):
            may_find.update(self._disguised(text))
            for one in self._passes:
                for piece in one.pieces(text):
                    if not until:
                        until = clock() + SOON
                    elif clock() > until:
                        return None
                    one.read(piece, may_find)
        return self.names - may_find

    def _disguised(self, text: str) -> Iterable[str]:
        """The checks that are to look closer at a text that is not ASCII."""
        if text.isascii():
            return ()
        data = text.encode("utf-8", "replace")
        unless = {sieve.unless for sieve in self._sieves.values()}
        found = {one for one in unless if re2.compile(one).search(data) is not None}
        return [name for name, sieve in self._sieves.items() if sieve.unless in found]


class _Pass:
    """One set of patterns, each of which says of some checks that they may find something."""

    def __init__(self, sieves: Mapping[str, Sieve]) -> None:
        self._at_once = min(sieve.at_once for sieve in sieves.values())
        whose: dict[str, set[str]] = defaultdict(set)
        for name, sieve in sieves.items():
            for pattern in (*sieve.patterns, MUCH_SPACE):
                whose[pattern].add(name)
        self._whose = [*whose.values()]
        options = re2.Options()
        options.max_mem = MEMORY
        options.log_errors = False
        self._patterns: Any = re2.Set.SearchSet(options)
        try:
            for pattern in whose:
                self._patterns.Add(pattern)
            self._patterns.Compile()
        except re2.error:  # they are too many
            self._patterns = None

    def pieces(self, text: str) -> Sequence[str]:
        """A text a little at a time, so that each match stands whole in one of them, with what touches it."""
        size, step = self._at_once, self._at_once - FAR - 2
        if len(text) <= size:
            return (text,)
        return [text[start : start + size] for start in range(0, len(text) - FAR - 2, step)]

    def read(self, text: str, may_find: set[str]) -> None:
        """Add the checks that may find something in this text."""
        if self._patterns is None:
            may_find.update(*self._whose)
        elif matched := self._patterns.Match(text.encode("utf-8", "replace")):
            may_find.update(*[self._whose[number] for number in matched])


def together(texts: Sequence[str]) -> list[str]:
    """Texts as few: joined, but for the long ones, which joining would only copy."""
    long = [text for text in texts if len(text) > LONG]
    short = [text for text in texts if len(text) <= LONG] if long else texts
    return [BETWEEN.join(short), *long]
