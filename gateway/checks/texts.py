"""How the local kinds look at a text: as it is, and with its simplest disguises removed.

Each character is looked at by itself, so that a text which comes in pieces looks the same as a
whole one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from gateway.core.terms import Passage, Place

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)


# Letters of other alphabets that are drawn like Latin ones, in lower case.
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝквмнт" + "αοενρτυικχβζμ" + "օսհ" + "ıɑɡʟɪʀɴʏʜʙᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜱ",  # noqa: RUF001 -- that is the point
    "aeopcyxijshdqwkbmht" + "aoevptyikxbzm" + "ouh" + "iaglirnyhbacdejkmoptuvwzs",
)


class _Plain(dict[str, str]):
    """A character's compatibility form; nothing for an invisible one."""

    def __missing__(self, character: str) -> str:
        plain = self[character] = _INVISIBLE.sub("", unicodedata.normalize("NFKC", character))
        return plain


class _Folded(dict[str, str]):
    """A character without case, decomposed so that an accent counts the same in each of its spellings, in Latin
    where it looks Latin.
    """

    def __missing__(self, character: str) -> str:
        apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
        folded = self[character] = _INVISIBLE.sub("", apart).translate(_LOOKALIKES)
        return folded


PLAIN = _Plain()
FOLDED = _Folded()

_MEMBER = re.compile(r"(.*\]).*", re.DOTALL)


def plain(text: str) -> str:
    """Compatibility forms, without invisible characters."""
    return text if text.isascii() else "".join(map(PLAIN.__getitem__, text))


def looks(text: str) -> tuple[str, ...]:
    """The text, and its plain form where that differs."""
    stripped = plain(text)
    return (text,) if stripped == text else (text, stripped)


def folded(text: str) -> str:
    """For comparing words: case-folded, decomposed, look-alikes as Latin, single spaces, none at the ends."""
    return single_spaced(unspaced(text))


def unspaced(text: str) -> str:
    """The same, its white space as it is."""
    return text.casefold() if text.isascii() else "".join(map(FOLDED.__getitem__, text))


def single_spaced(text: str) -> str:
    return " ".join(text.split())


def spoken(passages: Iterable[Passage]) -> list[Passage]:
    """Without the copies that are there only so that disguised text is found: joined, decoded and repeated ones."""
    return [p for p in passages if not p.path.endswith(("[*]", "<json>", "<decoded>", "<unescaped>", "<again>"))]


def paths(passages: Sequence[Passage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(p.path for p in passages))


def attachments(passages: Iterable[Passage]) -> int:
    """How many pictures, sounds and files there are; the name and the content of one are one."""
    return len({_MEMBER.sub(r"\1", p.path) for p in spoken(passages) if p.place is Place.ATTACHMENT})
