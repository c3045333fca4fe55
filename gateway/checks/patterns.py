"""What the way a pattern is written tells: its beginnings, what it may span, looser and shorter ones, ends it asks for."""

from __future__ import annotations

import math
import re
import re._constants as sre
import re._parser as parser
from collections.abc import Callable, Iterable, Sequence
from typing import Any

RE2_ONLY = re.compile(r"\\[pPzQC]|\[:\^?\w+:\]|\{,")  # what Python's parser does not know, or reads in another way
_MAY_ASK = re.compile(r"\^|\$|\\[^bBdsw.+*?/(){}\[\]|-]|\[:")  # a pattern without any need not be parsed
# A character by its number, an escape, a class, or how often something is repeated.
_REPEATED = re.compile(
    r"\\x\{[^}]*\}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<least>\d+)(?P<comma>,)?(?P<most>\d*)\}", re.DOTALL
)
FEW = 8  # times that something is repeated
BITS = 7.0  # of a character of ASCII
RARE = 28.0  # bits


class NotFollowable(ValueError):
    """The pattern can only be looked for in a whole text."""


# --- the pattern of all beginnings ----------------------------------------------------------------

_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}
_PLACES = {sre.AT_BOUNDARY: r"\b", sre.AT_NON_BOUNDARY: r"\B", sre.AT_END: "$", sre.AT_END_STRING: r"\z"}
_FLAGS = {re.IGNORECASE: "i", re.DOTALL: "s", re.MULTILINE: "m"}
_MAY_SPAN = re.compile(
    r"[^!-~]|(?<!\\)\.|\[\^|\[:|\\[^bBd.+*?/(){}\[\]|$-]"
)  # a pattern without any need not be parsed


def may_span(pattern: str) -> bool:
    """Whether a match may hold white space or a character that is not ASCII."""
    return bool(_MAY_SPAN.search(pattern)) and _tells(pattern, _spans)


def _tells(pattern: str, asks: Callable[[Any], bool]) -> bool:
    """What the parsed pattern says when it is asked; of one that only RE2 can read, whatever is asked may be so."""
    try:
        return bool(_walked(pattern, asks))
    except NotFollowable:
        return True


def _spans(sequence: Iterable[Any]) -> bool:
    return any(_spans_node(node) for node in sequence)


def _spans_node(node: Any) -> bool:
    kind, given = node
    match kind:
        case sre.LITERAL:
            return not 0x21 <= given <= 0x7E
        case sre.IN:
            return any(
                kind not in {sre.LITERAL, sre.RANGE}
                or (kind is sre.LITERAL and not 0x21 <= one <= 0x7E)
                or (kind is sre.RANGE and not (one[0] >= 0x21 and one[1] <= 0x7E))
                for kind, one in given
                if (kind, one) != (sre.CATEGORY, sre.CATEGORY_DIGIT)
            )
        case sre.AT:
            return False
        case sre.SUBPATTERN:
            return _spans(given[3])
        case sre.BRANCH:
            return any(_spans(branch) for branch in given[1])
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            return _spans(given[2])
    return True


def beginnings(pattern: str) -> str:
    """A pattern that matches every beginning of this one's matches, the empty one too. Raises NotFollowable."""

    def begun(tree: Any) -> str:
        if tree.getwidth()[0] == 0:
            raise NotFollowable("it can match nothing at all")
        return _flagged(_begun(tree), tree)

    return str(_walked(pattern, begun))


def _walked(pattern: str, walk: Callable[[Any], Any]) -> Any:
    """What comes of a walk over what Python's parser makes of it. Raises NotFollowable where RE2 may read it in another
    way, and where it is too deep.
    """
    if RE2_ONLY.search(pattern):
        raise NotFollowable("something that only RE2 has")
    try:
        return walk(parser.parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise NotFollowable(str(error)) from error


def _flagged(said: str, tree: Any) -> str:
    flags = _flags(tree.state.flags)
    return f"(?{flags}:{said})" if flags else said


def _flags(flags: int) -> str:
    return "".join(letter for flag, letter in _FLAGS.items() if flags & flag)


def _begun(sequence: Iterable[Any]) -> str:
    """`abc` as `(?:a(?:b(?:c)?)?)?`, with the beginnings of each part in the place of the `?`."""
    nodes = list(sequence)
    if not nodes:
        return ""
    rest = _begun(nodes[1:]) if len(nodes) > 1 else ""
    first, whole = _begun_node(nodes[0]), _whole_node(nodes[0])
    return f"(?:{first}|{whole}(?:{rest}))" if rest else f"(?:{first}|{whole})"


def _begun_node(node: Any) -> str:
    kind, given = node
    match kind:
        case sre.LITERAL | sre.NOT_LITERAL | sre.ANY | sre.IN | sre.AT:
            return ""
        case sre.SUBPATTERN:
            _, add, remove, inner = given
            return _scoped(_begun(inner), add, remove)
        case sre.BRANCH:
            return "|".join(f"(?:{_begun(branch)})" for branch in given[1])
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            _, most, inner = given
            some = "*" if most is sre.MAXREPEAT else f"{{0,{most - 1}}}"
            return f"(?:{_whole(inner)}){some}{_begun(inner)}" if most else ""
    raise NotFollowable(str(kind))


def _whole(sequence: Iterable[Any]) -> str:
    return "".join(_whole_node(node) for node in sequence)


def _whole_node(node: Any) -> str:
    kind, given = node
    match kind:
        case sre.LITERAL:
            return _literal(given)
        case sre.NOT_LITERAL:
            return f"[^{_literal(given)}]"
        case sre.ANY:
            return "."
        case sre.IN:
            return _class(given)
        case sre.AT if given in _PLACES:
            return _PLACES[given]
        case sre.SUBPATTERN:
            _, add, remove, inner = given
            return _scoped(_whole(inner), add, remove)
        case sre.BRANCH:
            return "(?:" + "|".join(_whole(branch) for branch in given[1]) + ")"
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            least, most, inner = given
            return f"(?:{_whole(inner)}){{{least},{'' if most is sre.MAXREPEAT else most}}}"
    raise NotFollowable(str(kind))


def _scoped(inner: str, add: int, remove: int) -> str:
    off = _flags(remove)
    return f"(?{_flags(add)}{'-' + off if off else ''}:{inner})"


def _literal(code: int) -> str:
    return f"\\x{{{code:x}}}"


def _class(items: Sequence[Any]) -> str:
    said = ""
    for kind, given in items:
        match kind:
            case sre.NEGATE:
                said += "^"
            case sre.LITERAL:
                said += _literal(given)
            case sre.RANGE:
                said += f"{_literal(given[0])}-{_literal(given[1])}"
            case sre.CATEGORY:
                said += _CATEGORIES[given]
            case _:
                raise NotFollowable(str(kind))
    return f"[{said}]"


# --- looser, shorter, and at ends ----------------------------------------------------------------


def loosened(pattern: str, few: int = FEW) -> str:
    """One that matches wherever this one does: what is repeated more than a few times may be repeated at will.

    RE2 counts repetitions by states: of a text that begins a long token at every character it made a new one for each.
    """

    def loosely(found: re.Match[str]) -> str:
        least, most = found["least"], found["most"] if found["comma"] else found["least"]
        if least is None or (int(least) <= few and most and int(most) <= few):
            return found[0]
        return f"{{{min(int(least), few)},}}"

    return pattern if RE2_ONLY.search(pattern) else _REPEATED.sub(loosely, pattern)


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
        return _flagged(_whole(best), tree)

    return str(_walked(pattern, short))


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


def looks_at_ends(pattern: str) -> bool:
    """Whether a pattern may ask where its text begins or ends. What only RE2 can read may."""
    return bool(_MAY_ASK.search(pattern)) and _tells(pattern, _asks)


def _asks(node: Any) -> bool:
    """Assertions in a parsed pattern, other than that a word begins or ends."""
    if isinstance(node, tuple) and node and node[0] is sre.AT:
        return node[1] not in {sre.AT_BOUNDARY, sre.AT_NON_BOUNDARY}
    return isinstance(node, (tuple, list, parser.SubPattern)) and any(map(_asks, node))
