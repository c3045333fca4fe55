"""What the way a pattern is written tells: its beginnings, what it may span, looser ones, ends it asks for."""

from __future__ import annotations

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
        return bool(walked(pattern, asks))
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
        return flagged(_begun(tree), tree)

    return str(walked(pattern, begun))


def walked(pattern: str, walk: Callable[[Any], Any]) -> Any:
    """What comes of a walk over what Python's parser makes of it. Raises NotFollowable where RE2 may read it in another
    way, and where it is too deep.
    """
    if RE2_ONLY.search(pattern):
        raise NotFollowable("something that only RE2 has")
    try:
        return walk(parser.parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise NotFollowable(str(error)) from error


def flagged(said: str, tree: Any) -> str:
    """A pattern under the flags that a parsed one sets."""
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
            return f"(?:{whole(inner)}){some}{_begun(inner)}" if most else ""
    raise NotFollowable(str(kind))


def whole(sequence: Iterable[Any]) -> str:
    """A parsed pattern as RE2 takes it. Raises NotFollowable."""
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
            return _scoped(whole(inner), add, remove)
        case sre.BRANCH:
            return "(?:" + "|".join(whole(branch) for branch in given[1]) + ")"
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            least, most, inner = given
            return f"(?:{whole(inner)}){{{least},{'' if most is sre.MAXREPEAT else most}}}"
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


# --- looser, and at ends ---------------------------------------------------------------------------


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


def looks_at_ends(pattern: str) -> bool:
    """Whether a pattern may ask where its text begins or ends. What only RE2 can read may."""
    return bool(_MAY_ASK.search(pattern)) and _tells(pattern, _asks)


def _asks(node: Any) -> bool:
    """Assertions in a parsed pattern, other than that a word begins or ends."""
    if isinstance(node, tuple) and node and node[0] is sre.AT:
        return node[1] not in {sre.AT_BOUNDARY, sre.AT_NON_BOUNDARY}
    return isinstance(node, (tuple, list, parser.SubPattern)) and any(map(_asks, node))
