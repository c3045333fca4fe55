"""What a look may take while everybody waits for it: so much, then it is given up here and made again on a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PATIENCE = 32  # units of some 20 us, about what one closer look at a match takes


class Crowded(Exception):
    """There is more to look at than others can wait for."""


_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextmanager
def hurried() -> Iterator[None]:
    """Inside, work that is told to `takes` raises Crowded once it is too much."""
    token = _left.set([PATIENCE])
    try:
        yield
    finally:
        _left.reset(token)


def is_hurried() -> bool:
    return _left.get() is not None


def takes(units: int) -> None:
    """Tell of work that a text can make arbitrarily much of, before it is done."""
    left = _left.get()
    if left is not None:
        left[0] -= units
        if left[0] < 0:
            raise Crowded
