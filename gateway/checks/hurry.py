"""What a look may take while everybody waits for it: so much, then it is given up here and made on a thread."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Self

from gateway.core.holdback import Crowded

PATIENCE = 32  # units of some 20 us, about what one closer look at a match takes
LONGEST = 0.00025  # seconds of CPU; what takes so long is not begun any further


class Hurry:
    """Inside, work that tells `takes` of itself raises Crowded once it is too much."""

    __slots__ = ("_clock", "_left", "_token", "_until", "began")

    _token: Token[Hurry | None]
    began: float  # seconds of the clock

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """`clock` gives the seconds of CPU that this thread has had; without one only what is told of counts."""
        self._clock = clock
        self._left = PATIENCE

    def __enter__(self) -> Self:
        self.began = self._clock() if self._clock is not None else 0.0
        self._until = self.began + LONGEST
        self._token = _hurry.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _hurry.reset(self._token)

    def take(self, units: int) -> None:
        self._left -= units
        if self._left < 0 or (self._clock is not None and self._clock() > self._until):
            raise Crowded


_hurry: ContextVar[Hurry | None] = ContextVar("hurry", default=None)


def is_hurried() -> bool:
    return _hurry.get() is not None


def takes(units: int) -> None:
    """Tell of work that a text can make arbitrarily much of, before it is done; of none: between two pieces of work."""
    hurry = _hurry.get()
    if hurry is not None:
        hurry.take(units)
