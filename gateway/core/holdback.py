"""The exact lane: how much of a growing text can no longer become part of a hit, and so need not be held.

A check that can follow a text piece by piece gives a `Scanner` for each channel. What it says is
exact: on the whole text it finds what the check finds, and no character before `safe` ever
belongs to a hit that it has not told yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Hit(NamedTuple):
    """A place of a channel: characters from its beginning, and what was hit there."""

    start: int
    end: int
    category: str


class Scan(NamedTuple):
    """What is certain by now."""

    hits: Sequence[Hit]
    safe: int  # characters from the channel's beginning that no later hit can touch


class Scanner(Protocol):
    """Follows one channel."""

    def feed(self, text: str) -> Scan:
        """The channel goes on with `text`."""
        ...

    def end(self) -> Scan:
        """The channel is complete."""
        ...


Follow = Callable[[], Scanner]  # a fresh scanner for a fresh channel
