"""Holds an answer back until every check that gates it has cleared it.

The rule: what is released is never longer than the shortest prefix that all holding watches
have cleared, for every channel; and nothing at all is released before the gate is open, that
is before the input checks have spoken. Only a verdict moves a mark: no timer, no full buffer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from gateway.core.terms import Delta, Watch

Extent = Mapping[str, int]  # channel -> characters from its beginning


class Gate:
    """The held deltas of one answer, in their order, and how far each watch has cleared."""

    def __init__(self, watches: Iterable[Watch]) -> None:
        self._watches = tuple(watch for watch in watches if watch.holds)
        self._cleared: dict[str, dict[str, int]] = {watch.key: {} for watch in self._watches}
        self._length: dict[str, int] = {}
        self._held: deque[tuple[Delta, tuple[tuple[str, int, Watch], ...]]] = deque()
        self._open = False
        self._begun = False
        self.held = 0  # bytes

    @property
    def holding(self) -> bool:
        """Whether any check holds text back, so that waiting for more cannot make room."""
        return bool(self._watches)

    @property
    def extent(self) -> dict[str, int]:
        """How long each channel is by now."""
        return dict(self._length)

    def open(self) -> None:
        """The input checks have spoken."""
        self._open = True

    def hold(self, delta: Delta) -> None:
        marks: list[tuple[str, int, Watch]] = []
        for piece in delta.pieces:
            end = self._length.get(piece.channel, 0) + len(piece.text)
            self._length[piece.channel] = end
            marks += [(piece.channel, end, watch) for watch in self._watches if piece.place in watch.places]
        self._held.append((delta, tuple(marks)))
        self.held += delta.size

    def clear(self, watch: Watch, extent: Extent) -> None:
        """The watch has seen every channel up to `extent` and let it pass. A mark never moves back."""
        cleared = self._cleared.get(watch.key)
        if cleared is not None:
            for channel, upto in extent.items():
                cleared[channel] = max(cleared.get(channel, 0), upto)

    def release(self, *, complete: bool) -> list[Delta]:
        """Take out what may go: the longest cleared prefix of the held deltas.

        While a check holds, frames without text do not go ahead of the first cleared text: they
        would commit the answer to status 200 before a block could still be an error of its own.
        """
        if not self._open:
            return []
        lasting = 0
        for count, (delta, marks) in enumerate(self._held, 1):
            if not all(self._cleared[watch.key].get(channel, 0) >= end for channel, end, watch in marks):
                break
            if delta.pieces or self._begun or complete or not self._watches:
                lasting = count
        return [self._let_go() for _ in range(lasting)]

    def _let_go(self) -> Delta:
        delta, _ = self._held.popleft()
        self.held -= delta.size
        self._begun = True
        return delta
