"""Which texts of a question are its history: what was said in turns before the model's last answer.

System texts, tool definitions and whatever belongs to no turn count as new each time: they hold for this answer too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.core.terms import Passage, Place

_TURN = re.compile(r"(?:messages|input)\[(\d+)\]")
_SAID = frozenset({Place.USER, Place.ASSISTANT, Place.TOOL_RESULT, Place.ATTACHMENT})


def _turn(passage: Passage) -> int | None:
    found = _TURN.match(passage.path)
    return int(found[1]) if found and passage.place in _SAID else None


def parted(passages: Sequence[Passage]) -> tuple[list[tuple[Passage, ...]], tuple[Passage, ...]]:
    """(each turn of the history, everything else), in their order. The model's last answer is history."""
    turns = [_turn(passage) for passage in passages]
    answers = [turn for passage, turn in zip(passages, turns, strict=True) if passage.place is Place.ASSISTANT]
    last = max((turn for turn in answers if turn is not None), default=-1)
    old: dict[int, list[Passage]] = {}
    new: list[Passage] = []
    for passage, turn in zip(passages, turns, strict=True):
        if turn is not None and turn <= last:
            old.setdefault(turn, []).append(passage)
        else:
            new.append(passage)
    return [tuple(old[turn]) for turn in sorted(old)], tuple(new)


def last_question(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """What the user said last: the texts of the last turn of theirs; without turns, all that they said."""
    said = [passage for passage in passages if passage.place is Place.USER]
    last = max((turn for passage in said if (turn := _turn(passage)) is not None), default=None)
    return tuple(passage for passage in said if _turn(passage) == last)
