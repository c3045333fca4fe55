"""How the local kinds look at a text: as it is, and with its simplest disguises removed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from gateway.core.terms import Passage

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)


def plain(text: str) -> str:
    """NFKC, without invisible characters."""
    if text.isascii():
        return text
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def looks(text: str) -> tuple[str, ...]:
    """The text, and its plain form where that differs."""
    stripped = plain(text)
    return (text,) if stripped == text else (text, stripped)


def folded(text: str) -> str:
    """For comparing words: plain, case-folded, white space as single spaces, none at the ends."""
    return " ".join(plain(text).casefold().split())


def spoken(passages: Iterable[Passage]) -> list[Passage]:
    """Without the copies that are there only so that disguised text is found: joined, decoded and repeated ones."""
    return [p for p in passages if not p.path.endswith(("[*]", "<json>", "<decoded>", "<unescaped>", "<again>"))]


def paths(passages: Sequence[Passage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(p.path for p in passages))
