"""The window lane: an answer is shown to a check sentence by sentence while it grows.

The first window is small, so that the first words come soon; each next one is larger, takes all
that came while the last was being judged, and begins with some of the text before it. One window of
a check is out at a time, and the characters it is shown stay in proportion to the answer's length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.terms import Passage, Piece, Place, Watch

FIRST = 24  # characters of the first window
MOST = 156  # characters that a window waits for
CONTEXT = 200  # characters of what came before that are shown again
PATIENCE = 4  # times the size after which a text without white space is cut anywhere

_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*\s|[。！？]|\n")  # noqa: RUF001 -- ends of sentences in several scripts


def border(text: str, start: int, size: int) -> int | None:
    """Where a window that begins at `start` ends: behind a sentence or a word; None: wait for more.

    A sentence's end is taken where little is left behind it: what is left waits for the next window.
    """
    pending = len(text) - start
    if pending < max(1, size):
        return None
    end = max((match.end() for match in _SENTENCE.finditer(text, start)), default=start)
    if end - start >= size * 4 // 5 and end > start:
        return end
    space = max(text.rfind(" ", start), text.rfind("\n", start))
    if space >= start:
        return space + 1
    return len(text) if pending >= PATIENCE * size else None


class Window(NamedTuple):
    """What a check is shown at once, and how far each channel is cleared if it lets it pass."""

    passages: tuple[Passage, ...]
    extent: dict[str, int]


@dataclass(slots=True)
class _Channel:
    place: Place
    text: str = ""  # from `base` on
    base: int = 0
    seen: int = 0  # characters of the channel that were shown
    closed: bool = False  # nothing continues it
    wrapped: bool = False  # it may be JSON or base64, which is shown when it is whole


class Windows:
    """The windows of one watch on one answer."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.looked = False
        self.out: Window | None = None
        self._size = FIRST
        self._channels: dict[str, _Channel] = {}
        self._pending: dict[str, _Channel] = {}  # those with text that was not shown

    def add(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if piece.place not in self.watch.places:
                continue
            channel = self._channels.setdefault(piece.channel, _Channel(piece.place))
            channel.text += piece.text
            channel.closed, channel.wrapped = piece.closed, piece.wrapped
            self._pending[piece.channel] = channel

    def next(self, *, final: bool) -> Window | None:
        """The next window, if there is one and none is out. `final`: the answer is complete."""
        if self.out is not None:
            return None
        ends = {name: end for name, one in self._pending.items() if (end := self._end(one, final=final)) is not None}
        if not ends or (not final and all(self._channels[name].closed for name in ends)):
            return None  # ids and names go along with words; they need no look of their own
        self.out = Window(tuple(self._passage(name, end) for name, end in ends.items()), ends)
        self.looked = True
        self._size = min(MOST, self._size * 2)
        return self.out

    def cleared(self) -> dict[str, int]:
        """The window that was out has passed."""
        assert self.out is not None
        extent, self.out = self.out.extent, None
        for name, end in extent.items():
            channel = self._channels[name]
            channel.seen = end
            if end == channel.base + len(channel.text):
                self._pending.pop(name, None)
            drop = max(0, end - CONTEXT - channel.base)
            channel.text = channel.text[drop:]
            channel.base += drop
        return extent

    def _end(self, channel: _Channel, *, final: bool) -> int | None:
        length = channel.base + len(channel.text)
        if channel.seen == length:
            return None
        if final or (channel.closed and not channel.wrapped):
            return length
        if channel.wrapped:
            return None
        end = border(channel.text, channel.seen - channel.base, self._size)
        return None if end is None else channel.base + end

    def _passage(self, name: str, end: int) -> Passage:
        channel = self._channels[name]
        return Passage(name, channel.place, channel.text[: end - channel.base])
