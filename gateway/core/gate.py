"""Holds an answer back until every check that gates it has cleared it.

The rule: what is released is never longer than the shortest prefix that all holding watches
have cleared, for every channel; and nothing at all is released before the gate is open, that
is before the input checks have spoken. Only a verdict moves a mark: no timer, no full buffer.
Frames of one group (a choice) keep their order; a group does not wait for another.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gateway.core.terms import Delta, Lane, Place, Watch

Extent = Mapping[str, int]  # channel -> characters from its beginning
Marks = tuple[tuple[str, int, Watch], ...]  # what must be cleared first: channel, characters, by whom
NOBODY: frozenset[str] = frozenset()
SILENT = 64  # cleared frames without words that wait for the first words


class Held(NamedTuple):
    number: int  # in the order they came
    delta: Delta
    marks: Marks
    speaks: bool  # it holds words of the model


class Gate:
    """The held deltas of one answer, in their order, and how far each watch has cleared."""

    def __init__(self, watches: Iterable[Watch]) -> None:
        self._watches = tuple([watch for watch in watches if watch.holds])
        self._watching: dict[Place, tuple[Watch, ...]] = {}
        self._cleared: dict[str, dict[str, int]] = {watch.key: {} for watch in self._watches}
        self._excused = NOBODY
        self._length: dict[str, int] = {}
        self._held: dict[str | None, deque[Held]] = {}  # by group; none is empty
        self._numbers = itertools.count()
        self._open = False
        self._begun = False
        self._place: Callable[[str, int], int] | None = None
        self.held_frames = 0
        self.held = 0  # bytes

    @property
    def needs_the_end(self) -> bool:
        """Whether a check holds everything back until the end, so that waiting cannot make room."""
        return any(watch.lane is Lane.WHOLE for watch in self._watches)

    @property
    def holding(self) -> bool:
        """Whether any check holds text back."""
        return bool(self._watches)

    def restore(self, watch: Watch, place: Callable[[str, int], int]) -> None:
        """Before anything is held: wait for `watch` too; local checks count by `place`, in what a client reads."""
        self._watches = (*self._watches, watch)
        self._watching.clear()
        self._cleared[watch.key] = {}
        self._place = place

    def open(self) -> None:
        """The input checks have spoken."""
        self._open = True

    def hold(self, delta: Delta) -> None:
        marks: list[tuple[str, int, Watch]] = []
        speaks = False
        for piece in delta.pieces:
            end = self._length.get(piece.channel, 0) + len(piece.text)
            self._length[piece.channel] = end
            watching = self._watching.get(piece.place)
            if watching is None:
                watching = self._watching[piece.place] = tuple([w for w in self._watches if piece.place in w.places])
            marks += [(piece.channel, end, watch) for watch in watching]
            speaks = speaks or piece.place is not Place.OTHER_OUTPUT
        queue = self._held.get(delta.group)
        if queue is None:
            queue = self._held[delta.group] = deque()
        queue.append(Held(next(self._numbers), delta, tuple(marks), speaks))
        self.held_frames += 1
        self.held += delta.size

    def clear(self, watch: Watch, extent: Extent) -> None:
        """The watch has seen every channel up to `extent` and let it pass. A mark never moves back."""
        cleared = self._cleared.get(watch.key)
        if cleared is not None:
            for channel, upto in extent.items():
                cleared[channel] = max(cleared.get(channel, 0), upto)

    def excuse(self, watch: Watch) -> None:
        """The watch failed and may fail open: nothing waits for it any more."""
        self._excused |= {watch.key}

    def release(self, *, complete: bool) -> list[Delta]:
        """Take out what may go.

        While a check holds, frames without words do not go ahead of the first cleared words: they
        would commit the answer to status 200 before a block could still be an error of its own.
        """
        if not self._open or not self.held_frames:
            return []
        going: list[Held] = []
        lasting = 0
        while (one := self._next()) is not None:
            going.append(one)
            if one.speaks or self._begun or complete or not self._watches or len(going) > SILENT:
                lasting = len(going)
        for one in reversed(going[lasting:]):
            self._held.setdefault(one.delta.group, deque()).appendleft(one)
        for one in going[:lasting]:
            self.held -= one.delta.size
        self.held_frames -= lasting
        self._begun = self._begun or lasting > 0
        return [one.delta for one in going[:lasting]]

    def _next(self) -> Held | None:
        """Take the oldest frame that is cleared and need not wait for an older one."""
        if not self._held:
            return None
        if len(self._held) == 1:  # there is no order to keep with others
            ((group, only),) = self._held.items()
            return self._taken(group) if self._may_go(only) else None
        heads = [queue[0] for queue in self._held.values()]
        oldest = min(head.number for head in heads)
        barrier = self._held.get(None)
        limit = barrier[0].number if barrier else math.inf  # what keeps its order with all
        found: Held | None = None
        for head in heads:
            may = head.number == oldest if head.delta.group is None else head.number < limit
            if may and (found is None or head.number < found.number) and self._may_go(self._held[head.delta.group]):
                found = head
        return None if found is None else self._taken(found.delta.group)

    def _taken(self, group: str | None) -> Held:
        """The first of a queue; one that is empty is not kept."""
        queue = self._held[group]
        first = queue.popleft()
        if not queue:
            del self._held[group]
        return first

    def _may_go(self, queue: deque[Held]) -> bool:
        """Whether the first of a queue is clear; of several that came as one, those that are go without the others."""
        head = queue[0]
        if self._is_clear(head.marks):
            return True
        several = head.delta.several
        if several is None:
            return False
        ends = several.ends
        begin = head.marks[0][1] - ends[-1]

        def marks(number: int) -> Marks:
            return tuple([(channel, begin + ends[number - 1], watch) for channel, _, watch in head.marks])

        clear = bisect_left(range(1, len(ends)), True, key=lambda number: not self._is_clear(marks(number)))
        if not clear:
            return False
        first, rest = several.parted(clear)
        queue[0] = head._replace(delta=rest)
        queue.appendleft(head._replace(delta=first, marks=marks(clear)))
        self.held_frames += 1
        return True

    def _is_clear(self, marks: Marks) -> bool:
        place = self._place
        for channel, end, watch in marks:
            needed = place(channel, end) if place is not None and watch.local else end
            if self._cleared[watch.key].get(channel, 0) < needed and watch.key not in self._excused:
                return False
        return True
