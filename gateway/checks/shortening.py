"""Shorter patterns: one that matches a few characters somewhere inside whatever a long one matches.

So a text can be asked about a piece at a time. Of the parts of a pattern the first is taken that is rare enough.
"""

from __future__ import annotations

import math
import re._constants as sre
import re._parser as parser
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.checks.patterns import FEW, NotFollowable, flagged, walked, whole

BITS = 7.0  # of a character of ASCII
RARE = 28.0  # bits


def shortened(pattern: str, most: int, spaces: int) -> str:
    """One that matches somewhere inside each match of this one, and never more than `most` characters.

    Provided that no more than so many `spaces` stand in a row. Raises NotFollowable if it cannot be told.
    """

    def short(tree: Any) -> str:
        nodes = [_narrowed(node, spaces) for node in _flat(tree)]
        best: list[Any] = []
        for start in range(len(nodes)):
            piece = _piece(nodes[start:], most)
            if _rarity(piece) > _rarity(best):
                best = piece
            if _rarity(best) >= RARE:
                break
        if not _width(best)[0]:
            raise NotFollowable("nothing short surely stands in all that it matches")
        return flagged(whole(best), tree)

    return str(walked(pattern, short))


def _width(sequence: Sequence[Any]) -> tuple[int, int]:
    """Characters, least and most."""
    least, most = _sequence(sequence).getwidth()
    return least, most


def _sequence(nodes: Iterable[Any]) -> Any:
    """As the parser says it."""
    return parser.SubPattern(parser.State(), [*nodes])


def _flat(sequence: Iterable[Any]) -> list[Any]:
    """The same without groups, but for those that have flags."""
    flat: list[Any] = []
    for kind, given in sequence:
        if kind is sre.SUBPATTERN:
            _, add, remove, inner = given
            parts = _flat(inner)
            flat += (
                [(sre.SUBPATTERN, (None, add, remove, _sequence([part]))) for part in parts] if add | remove else parts
            )
        else:
            flat.append((kind, given))
    return flat


def _narrowed(node: Any, spaces: int) -> Any:
    """White space without end as white space with one."""
    kind, given = node
    match kind:
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            least, most, inner = given
            if most is sre.MAXREPEAT and least <= spaces and [*map(_is_space, inner)] == [True]:
                most = spaces
            return kind, (least, most, _sequence(_narrowed(one, spaces) for one in inner))
        case sre.SUBPATTERN:
            return kind, (*given[:3], _sequence(_narrowed(one, spaces) for one in given[3]))
        case sre.BRANCH:
            return kind, (None, [_sequence(_narrowed(one, spaces) for one in branch) for branch in given[1]])
    return node


def _is_space(node: Any) -> bool:
    kind, given = node
    return _space(kind, given) or (
        kind is sre.IN
        and all(
            (kind is sre.CATEGORY and one is sre.CATEGORY_SPACE)
            or (kind is sre.RANGE and all(_space(sre.LITERAL, code) for code in range(one[0], one[1] + 1)))
            or _space(kind, one)
            for kind, one in given
        )
    )


def _space(kind: Any, given: Any) -> bool:
    return kind is sre.LITERAL and given < 0x80 and chr(given).isspace()


def _rarity(sequence: Iterable[Any]) -> float:
    """Bits: how seldom what matches this would stand in a text by chance, at least."""
    return sum(map(_rarity_of, sequence))


def _rarity_of(node: Any) -> float:
    kind, given = node
    rarity = 0.0
    match kind:
        case sre.LITERAL:
            rarity = BITS
        case sre.IN:
            rarity = max(BITS - math.log2(_many(given)), 0.0)
        case sre.SUBPATTERN:
            rarity = _rarity(given[3])
        case sre.BRANCH:
            rarity = min(map(_rarity, given[1]))
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            rarity = min(given[0], FEW) * _rarity(given[2])
    return rarity


def _many(items: Sequence[Any]) -> int:
    """Characters in a class, about: those that are not said to be few are all."""
    few = {sre.CATEGORY_DIGIT: 10, sre.CATEGORY_SPACE: 5}
    many = 0
    for kind, given in items:
        match kind:
            case sre.LITERAL:
                many += 1
            case sre.RANGE:
                many += given[1] - given[0] + 1
            case sre.CATEGORY if given in few:
                many += few[given]
            case _:
                return 1 << int(BITS)
    return many


def _piece(sequence: Iterable[Any], most: int, *, touching: bool = False) -> list[Any]:
    """The first of these parts that fit: inside whatever matches all of them stands what matches these.

    Touching: it stands at the very beginning; otherwise a first part that may be repeated need only end there.
    """
    piece: list[Any] = []
    for part in sequence:
        node = part if piece or touching else _least(part)
        room = most - _width(piece)[1]
        if node is None:
            continue
        if _width([node])[1] > room:
            return piece + _cut(node, room)
        piece.append(node)
    return piece


def _least(node: Any) -> Any:
    """What surely stands at the end of this; None: nothing."""
    kind, given = node
    match kind:
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            least, _, inner = given
            return (kind, (least, least, inner)) if least else None
        case sre.SUBPATTERN if len(given[3]) == 1:
            inner = _least(given[3][0])
            return (kind, (*given[:3], _sequence([inner]))) if inner else None
    return node


def _cut(node: Any, room: int) -> list[Any]:
    """What surely stands at the beginning of this and has room; nothing, if it has none."""
    kind, given = node
    match kind:
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            least, _, inner = given
            times = min(least, room // max(_width(inner)[1], 1))
            if times:
                return [(kind, (times, times, inner))]
            return _piece(inner, room, touching=True) if least else []
        case sre.SUBPATTERN:
            return [(kind, (*given[:3], _sequence(_piece(given[3], room, touching=True))))]
        case sre.BRANCH:
            return [(kind, (None, [_sequence(_piece(_flat(one), room, touching=True)) for one in given[1]]))]
    return []
