"""Scanners for local kinds: the longest suffix of a text that may still become a hit, and nothing more, is held.

Words: an Aho-Corasick automaton whose depth is exactly that suffix. Patterns: for each pattern a
second one is derived that matches every beginning of its matches; its leftmost match at the end of
the text is that suffix, give or take a few characters. Both run in linear time.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import re2

from gateway.checks.hurry import is_hurried, takes
from gateway.checks.patterns import NotFollowable, beginnings, loosened, may_span
from gateway.checks.texts import FOLDED, PLAIN
from gateway.core.holdback import Hit, Scan

MEMORY = 32 << 20  # bytes for all beginnings together
MEMORY_OF_ONE = 4 << 20  # bytes for the beginnings of one pattern
OFTEN = 2  # times that something is repeated in beginnings that are read together
COMPILING = 1_000  # units of `hurry` for what RE2 makes of patterns when it first reads by them
AT_ONCE = 8  # patterns whose beginnings are looked for in a moment
CLOSE = 16  # bytes at the end of a text that are held without a closer look
MANY = 40  # patterns above which those without white space are followed together, by unbroken runs
LONG = 200  # bytes of a match; those of most patterns have a bound below it
NESTED = 16  # refused matches of this length, each beginning in the one before; one more is a hit, unseen: looking
# closer at every one of them takes the square of their length
SHORT = 1024  # characters that are looked at again with each piece; more only when they are an eighth more, or a text
# that never ends what it has begun takes the square of its length
NOT_PLAIN = "[\x80-\U0010ffff]"
DECOY = "-"  # the name of patterns that are no hits, and nothing inside them is
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))  # what an unbroken run is made of


# --- words ------------------------------------------------------------------------------------


class Automaton:
    """Aho-Corasick over folded words: states are numbers, state 0 has read nothing that matters."""

    def __init__(self, words: Iterable[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._fail = [0]
        self.depth = [0]
        self.found: list[tuple[int, ...]] = [()]  # lengths of the words that end here
        for word in words:
            self._add(word)
        self._link()
        self.deepest = max(self.depth)

    @property
    def begins(self) -> dict[str, str]:
        """With which plain character a word may begin, and which may then follow; "": any."""
        begins = {}
        for spelt in map(chr, range(128)):
            state = self._next[0].get(FOLDED[spelt])
            if state is not None:
                seconds = [second for second in map(chr, range(128)) if FOLDED[second] in self._next[state]]
                begins[spelt] = "" if self.found[state] or " " in self._next[state] else "".join(seconds)
        return begins

    def _add(self, word: str) -> None:
        state = 0
        for character in word:
            following = self._next[state].get(character)
            if following is None:
                following = len(self._next)
                self._next[state][character] = following
                self._next.append({})
                self._fail.append(0)
                self.depth.append(self.depth[state] + 1)
                self.found.append(())
            state = following
        if len(word) not in self.found[state]:
            self.found[state] = (*self.found[state], len(word))

    def _link(self) -> None:
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for character, following in self._next[state].items():
                queue.append(following)
                self._fail[following] = self.step(self._fail[state], character)
                self.found[following] += self.found[self._fail[following]]

    def step(self, state: int, character: str) -> int:
        while state and character not in self._next[state]:
            state = self._fail[state]
        return self._next[state].get(character, 0)


class Listed:
    """Words, and the exceptions in which they do not count."""

    def __init__(self, words: Automaton, excuses: Automaton | None, *, whole_word: bool) -> None:
        self.words = words
        self.excuses = excuses
        self.whole_word = whole_word
        self.deepest = max(words.deepest, excuses.deepest if excuses else 0)
        begins = [one.begins.items() for one in (words, excuses) if one is not None]
        self._begun = re.compile(
            "|".join([NOT_PLAIN, *(_begun(first, seconds) for first, seconds in dict.fromkeys(chain(*begins)))])
        )

    def passes(self, text: str, place: int) -> int:
        """Up to where a text holds only plain characters with which neither begins."""
        match = self._begun.search(text, place)
        return match.start() if match is not None else len(text)


def _begun(first: str, seconds: str) -> str:
    """A beginning of two characters; what is not plain may be invisible, and of what is to come nothing is known."""
    follows = f"(?:[{re.escape(seconds)}]|{NOT_PLAIN}|\\Z)" if seconds else ""
    return re.escape(first) + follows


class WordScanner:
    """Follows a text for listed words, as `keywords` finds them in a whole text."""

    def __init__(self, listed: Listed) -> None:
        self._listed = listed
        self._words = listed.words
        self._excuses = listed.excuses
        self._whole_word = listed.whole_word
        self._state = self._excuse_state = 0
        self._length = 0  # characters of the text
        self._count = 0  # characters of its folded form
        self._tail: list[tuple[str, int]] = []  # of the folded form, and where it comes from: what a word may need
        self._most = 2 * listed.deepest + 2  # of it; then half of it goes
        self._pending: list[tuple[int, int, int, int]] = []  # start and end in the text, then in the folded form
        self._excused: list[tuple[int, int]] = []  # in the folded form
        self._spaced = True  # nothing or white space came last: more white space says nothing

    def feed(self, text: str) -> Scan:
        takes(len(text) // 100)
        hits: list[Hit] = []
        place, size = 0, len(text)
        while place < size:
            if not (self._state or self._excuse_state or self._pending):
                place = self._pass_over(text, place)
                if place == size:
                    break
            for folded in FOLDED[text[place]]:
                if not folded.isspace():
                    self._spaced = False
                    self._step(folded, hits)
                elif not self._spaced:
                    self._spaced = True
                    self._step(" ", hits)
            self._length += 1
            place += 1
        return Scan(hits, self._safe())

    def _pass_over(self, text: str, place: int) -> int:
        """Go to where a word or an exception may begin; only the character before it matters."""
        far = self._listed.passes(text, place)
        if far > place:
            self._length += far - place
            self._spaced = text[far - 1].isspace()
            self._count += 1
            self._tail = [(" " if self._spaced else FOLDED[text[far - 1]] or " ", self._length - 1)]
        return far

    def end(self) -> Scan:
        hits: list[Hit] = []
        self._settle(hits, following=" ", over=True)
        return Scan(hits, self._length)

    def _step(self, folded: str, hits: list[Hit]) -> None:
        if self._pending:
            self._settle(hits, following=folded, over=False)
        self._count += 1
        self._tail.append((folded, self._length))
        if len(self._tail) > self._most:
            del self._tail[: self._most // 2]
        self._state = self._words.step(self._state, folded)
        if self._excuses is not None:
            self._excuse_state = self._excuses.step(self._excuse_state, folded)
            for length in self._excuses.found[self._excuse_state]:
                self._excused.append((self._count - length, self._count))
        for length in self._words.found[self._state]:
            if not self._whole_word or self._begins_alone(length):
                start = self._tail[-length][1]
                self._pending.append((start, self._length + 1, self._count - length, self._count))
        if self._pending and not self._whole_word:
            self._settle(hits, following="", over=False)

    def _begins_alone(self, length: int) -> bool:
        if length >= len(self._tail):
            return True
        return not (joins(self._tail[-length - 1][0]) and joins(self._tail[-length][0]))

    def _settle(self, hits: list[Hit], *, following: str, over: bool) -> None:
        """Decide what can be decided: `following` is the folded character after a word that ends here."""
        kept = []
        reach = self._count if self._excuses is None or over else self._count - self._excuses.depth[self._excuse_state]
        for start, end, first, last in self._pending:
            ends_here = last == self._count
            if self._whole_word and ends_here and following and joins(self._tail[-1][0]) and joins(following):
                continue
            if any(a <= first and last <= b for a, b in self._excused):
                continue
            if not over and self._excuses is not None and (reach <= first or ends_here):
                kept.append((start, end, first, last))  # an excuse may still come round it
            else:
                hits.append(Hit(start, end, "keywords"))
        self._pending = kept
        if not kept:
            self._excused.clear()

    def _safe(self) -> int:
        depth = self._words.depth[self._state]
        starts = [self._tail[-depth][1]] if depth else []
        starts += [pending[0] for pending in self._pending]
        return min(starts, default=self._length)


def joins(character: str) -> bool:
    """Whether a word goes on over this character."""
    return character.isalnum() or character == "_"


# --- patterns ---------------------------------------------------------------------------------


class Patterns:
    """Patterns, and the pattern of all their beginnings, where they can be followed."""

    def __init__(
        self, patterns: Sequence[tuple[str, str]], options: Any, accepts: Callable[[str, str], bool] | None = None
    ) -> None:
        """(name, pattern) pairs that RE2 takes. `accepts` says of a name and what it matched whether it is a hit."""
        self.accepts = accepts
        self.warm = False  # they have read something: RE2 makes of them what it needs when they first do
        self.names = tuple(name for name, _ in patterns)
        self._texts, self._options = [pattern for _, pattern in patterns], options
        self._each: dict[int, Any] = {}  # compiled when first met: of hundreds few ever are
        self.together = re2.Set.SearchSet(options)
        for _, pattern in patterns:
            self.together.Add(pattern)
        self.together.Compile()
        self.many = len(patterns) > MANY
        followed = [pattern for _, pattern in patterns if not self.many or may_span(pattern)]
        try:
            self._beginnings: Beginnings | None = Beginnings(followed, options)
        except (NotFollowable, re2.error):
            self._beginnings = None

    def one(self, number: int) -> Any:
        """A pattern by itself, to tell where it matches."""
        if number not in self._each:
            takes(COMPILING)
            self._each[number] = re2.compile(self._texts[number], self._options)
        return self._each[number]

    @property
    def followable(self) -> bool:
        return self._beginnings is not None

    def hold(self, text: str, encoded: Encoded, start: int) -> int:
        """From where on the end of a text may still become a match. Of many patterns: its last unbroken run at least."""
        assert self._beginnings is not None
        hold = encoded.character(self._beginnings.hold(encoded.data, encoded.byte(start)))
        if self.many:
            hold = min(hold, max(start, len(text.rstrip(_VISIBLE))))
        return hold


class Beginnings:
    """The beginnings of what some patterns match, at the end of a text.

    All together and made looser, they tell it fast. RE2 keeps a state for whatever stands there of each of them: were
    they exact, nearly every text would need states of its own, which takes twenty times as long. Where they hold more
    than a little, each pattern has its say by itself.
    """

    def __init__(self, patterns: Sequence[str], options: Any) -> None:
        """Raises NotFollowable, or re2.error where they are too many."""
        self._patterns = patterns
        self._fold = "" if options.case_sensitive else "(?i)"
        self._together = _quietly("|".join(self._derived(loosened(one, OFTEN)) for one in patterns), self._fold, MEMORY)

    @staticmethod
    def _derived(pattern: str) -> str:
        return f"(?:{beginnings(pattern)})"

    @cached_property
    def _each(self) -> list[Any] | None:
        try:
            return [_quietly(self._derived(one), self._fold, MEMORY_OF_ONE) for one in self._patterns]
        except re2.error:  # one of them is too large for that: what holds more holds it too
            return None

    def hold(self, data: bytes, start: int) -> int:
        """From which byte on there may be one; looked for from `start` on."""
        begun = self._together.search(data, start)
        if begun is None:
            return len(data)
        hold: int = begun.start()
        if len(data) - hold <= CLOSE:
            return hold
        if "_each" not in self.__dict__:
            takes(COMPILING)
        first = len(data)
        for count, one in enumerate(self._each or (self._together,)):
            takes(int(count % AT_ONCE == 0))
            if (match := one.search(data, hold)) is not None:
                first = min(first, match.start())
        return first


def _quietly(pattern: str, fold: str, memory: int) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory
    return re2.compile(f"{fold}(?:{pattern})\\z", options)


class Encoded:
    """A text as RE2 reads it. It is encoded once: per match it would cost the whole text again.

    Places are asked for roughly from left to right, each at the cost of the way from the last one.
    """

    def __init__(self, text: str) -> None:
        self.data = text.encode("utf-8", "replace")
        self._same = len(self.data) == len(text)  # every character is one byte
        self.text = text
        self._byte = self._character = 0

    def character(self, byte: int) -> int:
        """Which character begins at this byte."""
        if self._same:
            return byte
        if byte >= self._byte:
            self._character += len(self.data[self._byte : byte].decode())
        else:
            self._character -= len(self.data[byte : self._byte].decode())
        self._byte = byte
        return self._character

    def byte(self, character: int) -> int:
        """At which byte this character begins."""
        return character if self._same else len(self.text[:character].encode("utf-8", "replace"))

    def next(self, byte: int) -> int:
        """The first place from this one on at which a character begins."""
        while byte < len(self.data) and self.data[byte] & 0xC0 == 0x80:
            byte += 1
        return byte


class Match(NamedTuple):
    """What a pattern matches, and what of it is the hit, in characters."""

    begin: int
    end: int
    start: int
    stop: int


class Outermost:
    """Which spans are not inside one that was kept before: a staircase of starts and ends, both rising."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def keeps(self, start: int, end: int) -> bool:
        """Keep it, unless another holds it."""
        place = bisect_right(self._starts, start)
        if place and self._ends[place - 1] >= end:
            return False
        if place and self._starts[place - 1] == start:
            place -= 1
        over = bisect_right(self._ends, end, place)
        self._starts[place:over], self._ends[place:over] = [start], [end]
        return True


class PatternScanner:
    """Follows a text for patterns, in the text itself. Nothing of it is changed in place: a copy stands for itself."""

    def __init__(self, patterns: Patterns, *, settled: bool = False) -> None:
        self._patterns = patterns
        self._settled = settled
        self._next: Mapping[int, int] = {}  # settled: where the next match may begin of a pattern that has matched
        self.buffer = ""  # what may still matter, and the one character before it
        self.base = 0  # where the buffer begins in the text
        self._from = 0  # where in the buffer matches may begin: after that one character, which is only looked back at
        self._told = 0  # hits before this are told
        self._enough = 0  # characters of the buffer from which on it is looked at again
        self._around: Sequence[tuple[int, Hit]] = ()  # hits that may still hold others, and where their matches begin

    def fork(self) -> PatternScanner:
        """One that goes on from here, its places counted from the beginning of what is kept."""
        other = PatternScanner(self._patterns, settled=self._settled)
        other.buffer, other._from, other._enough = self.buffer, self._from, self._enough
        other._next = {number: place - self.base for number, place in self._next.items() if place > self.base}
        other._around = [
            (begin - self.base, Hit(h.start - self.base, h.end - self.base, h.category)) for begin, h in self._around
        ]
        return other

    def feed(self, text: str) -> Scan:
        takes(len(self.buffer) // 8 if self._patterns.warm else COMPILING)
        buffer, hold = self.buffer + text, self._from
        if len(buffer) < self._enough:
            self.buffer = buffer
            return Scan((), self.base + hold)
        encoded = Encoded(buffer)
        if self._patterns.followable:
            hold = self._patterns.hold(buffer, encoded, hold)
            takes(0)
        hits = self._final(encoded, hold) if self._settled else self._hits(encoded, len(buffer))
        self._patterns.warm = True
        safe = self.base + hold
        cut = hold - 1 if hold else 0
        self.buffer = buffer[cut:]
        self.base += cut
        self._from = hold - cut
        kept = len(self.buffer)
        self._enough = kept + kept // 8 if kept > SHORT else 0
        return Scan(hits, safe)

    def end(self) -> Scan:
        end, encoded = len(self.buffer) + 1, Encoded(self.buffer)
        hits = self._final(encoded, end) if self._settled else self._hits(encoded, end)
        return Scan(hits, self.base + len(self.buffer))

    def _final(self, encoded: Encoded, hold: int) -> list[Hit]:
        """Matches that begin before `hold`: nothing that is still forming can swallow or lengthen them."""
        if hold <= self._from:
            return []
        hits: list[tuple[int, Hit]] = []
        numbers = sorted(self._patterns.together.Match(encoded.data) or ())
        if not numbers:
            return []
        if is_hurried():  # one that has no bound and a group is slow: RE2 finds groups character by character
            takes(max(map(len, encoded.text.split()), default=0) // 64)
        following = dict(self._next)
        for number in numbers:
            for match in self._matches(encoded, number, max(self._from, following.get(number, 0) - self.base)):
                if match.begin >= hold:
                    break
                hit = Hit(self.base + match.start, self.base + match.stop, self._patterns.names[number])
                hits.append((self.base + match.begin, hit))
                following[number] = self.base + match.end
        self._next = following
        return self._outermost(hits)

    def _outermost(self, hits: list[tuple[int, Hit]]) -> list[Hit]:
        """Without those inside another whose match begins no later, so that it is known no later; without decoys."""
        if not hits:
            return []
        kept: list[tuple[int, Hit]] = []
        around = [(b, hit) for b, hit in self._around if hit.end > self.base]
        outermost = Outermost()
        for begin, hit in sorted(hits, key=lambda one: (one[0], -one[1].end, one[1].start)):
            if any(b <= begin and other.start <= hit.start and hit.end <= other.end for b, other in around):
                continue
            if outermost.keeps(hit.start, hit.end):
                kept.append((begin, hit))
        self._around = [*around, *kept]
        return [hit for _, hit in kept if hit.category != DECOY]

    def _matches(self, encoded: Encoded, number: int, place: int) -> Iterator[Match]:
        """What a pattern matches and its kind accepts, from left to right; inside what is refused it is looked on."""
        pattern, name, accepts = self._patterns.one(number), self._patterns.names[number], self._patterns.accepts
        at, reached, nested = encoded.byte(place), 0, 0
        while (match := pattern.search(encoded.data, at)) is not None:
            takes(1)
            start, stop = value_of(match)
            if nested > NESTED or accepts is None or accepts(name, encoded.data[start:stop].decode()):
                yield Match(*map(encoded.character, (match.start(), match.end(), start, stop)))
                at, nested = match.end(), 0
            else:  # what begins before the value leads to the same value
                nested = nested + 1 if match.start() < reached and match.end() - match.start() > LONG else 0
                at, reached = encoded.next(max(start, match.start() + 1)), match.end()

    def _hits(self, encoded: Encoded, before: int) -> list[Hit]:
        """Matches that end before this: what comes later can no longer undo them."""
        numbers = self._patterns.together.Match(encoded.data)
        if not numbers:
            return []
        found = [
            (
                self.base + match.begin,
                Hit(self.base + match.begin, self.base + match.end, self._patterns.names[number]),
            )
            for number in sorted(numbers)
            for match in self._matches(encoded, number, self._from)
            if match.end < before and self.base + match.end > self._told
        ]
        hits = self._outermost(found)
        self._told = max([self._told, *(hit.end for hit in hits)])
        return hits


def value_of(match: Any) -> tuple[int, int]:
    """What of a match of bytes is the hit: its first group, if there is one and it took part."""
    if match.re.groups and match.end(1) > match.start(1):
        return int(match.start(1)), int(match.end(1))
    return int(match.start()), int(match.end())


class LooksScanner:
    """Follows a text, and as soon as they differ its plain form as well."""

    def __init__(self, patterns: Patterns, *, settled: bool = False) -> None:
        self._raw = PatternScanner(patterns, settled=settled)
        self._plain: PatternScanner | None = None
        self._length = 0  # of the text
        self._origins: list[int] = []  # of the plain form's characters, from `_since` on
        self._since = 0

    def feed(self, text: str) -> Scan:
        if self._plain is None:
            if text.isascii():
                scan = self._raw.feed(text)
                self._length += len(text)
                return scan
            self._plain = self._raw.fork()
            self._origins = list(range(self._raw.base, self._length))
        takes(len(text) // 75)
        forms = [PLAIN[character] for character in text]
        raw = copy(self._raw)
        scans = raw.feed(text), self._plain.feed("".join(forms))
        self._raw = raw  # only now: either may have had no time
        for form in forms:
            self._origins += [self._length] * len(form)
            self._length += 1
        return self._both(*scans)

    def end(self) -> Scan:
        scan = copy(self._raw).end()
        return scan if self._plain is None else Scan(self._both(scan, self._plain.end()).hits, self._length)

    def _both(self, raw: Scan, plain: Scan) -> Scan:
        hits = [*raw.hits, *(Hit(self._origin(h.start), self._origin(h.end - 1) + 1, h.category) for h in plain.hits)]
        safe = min(raw.safe, self._origin(plain.safe))
        assert self._plain is not None
        drop = self._plain.base - self._since
        del self._origins[:drop]
        self._since += drop
        return Scan(hits, safe)

    def _origin(self, place: int) -> int:
        """Where in the text a character of the plain form comes from."""
        index = place - self._since
        return self._origins[index] if index < len(self._origins) else self._length
