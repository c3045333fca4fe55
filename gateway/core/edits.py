"""Where an answer says something else than the upstream said: spans of its channels, and what stands there instead.

A span may be known before or after its neighbours, and one frame shows only a part of it: what comes
out is the same. Where spans overlap, the one that begins first stands; what another has beyond it goes.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Edit(NamedTuple):
    """Characters of a channel, from its beginning, and what stands there instead."""

    start: int
    end: int
    text: str

    @property
    def order(self) -> tuple[int, int, str]:
        return self.start, -self.end, self.text


class _Channel:
    def __init__(self) -> None:
        self.edits: list[Edit] = []  # in order
        self.longest = 0


class Edits:
    """All edits of one answer."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}

    def __bool__(self) -> bool:
        return bool(self._channels)

    def add(self, channel: str, edit: Edit) -> None:
        kept = self._channels.setdefault(channel, _Channel())
        at = bisect.bisect_left(kept.edits, edit.order, key=lambda one: one.order)
        if kept.edits[at : at + 1] != [edit]:
            kept.edits.insert(at, edit)
            kept.longest = max(kept.longest, edit.end - edit.start)

    def applied(self, channel: str, start: int, text: str) -> str:
        """What stands in the place of `text`, which is the channel from `start` on."""
        kept = self._channels.get(channel)
        if kept is None:
            return text
        first = bisect.bisect_left(kept.edits, start - 2 * kept.longest, key=lambda one: one.start)
        return apply(kept.edits[first:], start, text)


def apply(edits: Iterable[Edit], start: int, text: str) -> str:
    """`edits` in order; those beyond the text change nothing."""
    said: list[str] = []
    place, end = start, start + len(text)
    for edit in _apart(edits):
        if edit.start >= end:
            break
        if edit.end <= start:
            continue
        said.append(text[place - start : max(place, edit.start) - start])
        if edit.start >= start:
            said.append(edit.text)
        place = min(end, edit.end)
    return "".join(said) + text[place - start :]


def _apart(edits: Iterable[Edit]) -> Iterator[Edit]:
    """The edits without what an earlier one covers already."""
    reach = 0
    for edit in edits:
        if edit.start >= reach:
            yield edit
        elif edit.end > reach:
            yield Edit(reach, edit.end, "")
        reach = max(reach, edit.end)
