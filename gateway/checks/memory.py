"""What a built-in classifier remembers of the texts that it was trained on: words, pairs of words and classes in a row.

All of them are hashed to slots of one table of weights, so that no word can be read from it. A block of tokens is the
set of its slots, and a window is two blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar
from zlib import crc32

MIDDLE = 128  # the byte that is no weight
KEPT = 50_000  # words that are remembered once they were seen: clients choose them
LONGEST = 64  # characters of one: it may be as long as a body
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
    ) -> None:
        """`table`: 2 to some power bytes; a weight is (byte - MIDDLE) * step. No window says more than `most`.

        `classes`: whether it remembers features as well as words. `halves`: whether half a window may say it.
        """
        self._table, self._most = table, most
        self._classes, self._halves = classes, halves
        self._bias, self._step = bias, step
        shift = 33 - len(table).bit_length()
        self._slot = Kept[str | int, Slot](lambda key: hashed(key) >> shift).__getitem__

    def blocks(self, tokens: Sequence[str], features: Sequence[Iterable[int]], size: int) -> list[set[Slot]]:
        """The slots of each block of `size` tokens: words, pairs of words, and the features of the block."""
        last = len(self._table) - 1
        words = list(map(self._slot, tokens))
        pairs = [(before * _TURN & last) ^ word for before, word in zip([0, *words], words, strict=False)]
        return [
            {*words[at : at + size], *pairs[at : at + size], *map(self._slot, seen if self._classes else ())}
            for at, seen in zip(range(0, len(tokens) + 1, size), features, strict=True)
        ]

    def recall(self, blocks: Sequence[Collection[Slot]]) -> list[float]:
        """How much each window is like the attacks that were seen, and unlike the other texts; never below 0.

        With `halves` a full block in it may say so by itself: an attack is often short, and what surrounds it is not.
        """
        table, bias, step, most = self._table, self._bias, self._step, self._most

        def said(total: int, count: int) -> float:
            return min(max(bias + step * total / math.sqrt(count or 1), 0.0), most)

        told = [(sum([table[slot] for slot in block]) - MIDDLE * len(block), len(block)) for block in blocks]
        if len(told) < 2:
            return [said(*one) for one in told]
        alone = [*(said(*one) if self._halves else 0.0 for one in told[:-1]), 0.0]
        return [
            max(said(one + other, count + more), by_itself, next_by_itself)
            for ((one, count), (other, more)), (by_itself, next_by_itself) in zip(
                pairwise(told), pairwise(alone), strict=True
            )
        ]
