"""What a built-in classifier remembers of the texts that it was trained on: words, pairs of words and classes in a row.

All of them are hashed to slots of one table of weights, so that no word can be read from it. A block of tokens is the
set of its slots, and a window is two blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar
from zlib import crc32

MIDDLE = 128  # the byte that is no weight
KEPT = 50_000  # words that are remembered once they were seen: clients choose them
LONGEST = 64  # characters of one: it may be as long as a body
END = 0  # the slot of a line's end; no pair goes across one, so that a line is much as if it stood alone
_TURN = 40_503  # odd: what comes first in a pair counts otherwise than what comes second

Slot = int

K = TypeVar("K")
V = TypeVar("V")


class Kept(dict[K, V]):
    """What was made for each key; past `KEPT` keys, and for long words, it is made again each time."""

    def __init__(self, make: Callable[[K], V]) -> None:
        self._make = make

    def __missing__(self, key: K) -> V:
        value = self._make(key)
        if len(self) < KEPT and not (isinstance(key, str) and len(key) > LONGEST):
            self[key] = value
        return value


class Lately(Generic[K, V]):
    """What was kept last, so many keys of it at least, and at most twice as many. Threads may lose each other's, no more."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        value = self._new.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self[key] = value
        return value

    def __setitem__(self, key: K, value: V) -> None:
        if len(self._new) >= self._least:
            self._old, self._new = self._new, {}
        self._new[key] = value


def digest_of(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def hashed(key: str | int) -> int:
    """32 bits of a word or of a feature's number."""
    return crc32(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else b"%d" % key)


class Memory:
    """A weight for each slot, as a byte."""

    def __init__(
        self,
        table: bytes,
        *,
        bias: float = 0.0,
        step: float = 1.0,
        most: float = math.inf,
        classes: bool = True,
        halves: bool = True,
        floor: int = 1,
    ) -> None:
        """`table`: 2 to some power bytes; a weight is (byte - MIDDLE) * step. No window says more than `most`.

        `classes`: whether it remembers features as well as words. `halves`: whether a block of a window may say it.
        `floor`: slots; what fewer of them say counts as if they were so many.
        """
        self._table, self._most = table, most
        self._classes, self._halves, self._floor = classes, halves, floor
        self._bias, self._step = bias, step
        shift = 33 - len(table).bit_length()
        self._slot = Kept[str | int, Slot](lambda key: hashed(key) >> shift if key != "\n" else END).__getitem__

    def blocks(
        self, tokens: Sequence[str], features: Sequence[Iterable[int]], starts: Sequence[int]
    ) -> list[set[Slot]]:
        """The slots of each block: words, pairs of words in a line, and the features of the block.

        `starts`: the token that each begins with.
        """
        last = len(self._table) - 1
        words = list(map(self._slot, tokens))
        pairs = [
            (before * _TURN & last) ^ word if word else END for before, word in zip([END, *words], words, strict=False)
        ]
        return [
            {*words[at:end], *pairs[at:end], *map(self._slot, seen if self._classes else ())}
            for at, end, seen in zip(starts, [*starts[1:], len(words)], features, strict=True)
        ]

    def recall(self, blocks: Sequence[Collection[Slot]], runs: Sequence[tuple[int, int]]) -> list[float]:
        """How much each window is like the attacks that were seen, and unlike the other texts; never below 0.

        `runs`: its first block and the one past its last. With `halves` a block in it may say so by itself: an
        attack is often short, and what surrounds it is not.
        """
        counts = [len(block) for block in blocks]
        totals = [
            sum(map(self._table.__getitem__, block)) - MIDDLE * count
            for block, count in zip(blocks, counts, strict=True)
        ]
        worst = [self._shared(sum(totals[first:end]), sum(counts[first:end])) for first, end in runs]
        if self._halves and len(blocks) > 1:
            alone = list(map(self._shared, totals, counts))
            worst = [max(one, *alone[first:end]) for one, (first, end) in zip(worst, runs, strict=True)]
        return [min(max(self._bias + self._step * one, 0.0), self._most) for one in worst]

    def _shared(self, total: int, count: int) -> float:
        """What so many slots say together: each counts less in company."""
        return total / math.sqrt(max(count, self._floor))
