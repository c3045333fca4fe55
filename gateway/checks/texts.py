"""How the local kinds look at a text: as it is, and with its simplest disguises removed.

Each character is looked at by itself, so that a text which comes in pieces looks the same as a
whole one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

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


MOST_KEPT = 100_000  # characters: more than all living languages have, a tenth of what somebody could send


class Forms(dict[str, str]):
    """What each character becomes, kept once it was met; whoever sends all that there are does not fill the memory."""

    def __init__(self, form: Callable[[str], str]) -> None:
        self._form = form

    def __missing__(self, character: str) -> str:
        if len(self) >= MOST_KEPT:
            self.clear()
        form = self[character] = self._form(character)
        return form


def _plain_form(character: str) -> str:
    """A character's compatibility form; nothing for an invisible one."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", character))


def _folded_form(character: str) -> str:
    """A character without case, decomposed so that an accent counts the same in each of its spellings, in Latin
    where it looks Latin.
    """
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return _INVISIBLE.sub("", apart).translate(_LOOKALIKES)


PLAIN = Forms(_plain_form)
FOLDED = Forms(_folded_form)

# Characters beside ASCII that are their own plain form: of the scripts that are written most; others may be as well.
OWN_PLAIN = (
    "a1-a7 a9 ab-ac ae b0-b1 b6-b7 bb bf-131 134-13e 141-148 14a-17e 180-1c3 1cd-1f0 1f4-24f 38e-3a1 3a3-3cf 3d7-3ef "
    "3fa-52f 531-556 559-586 591-5c7 5d0-5ea 5ef-5f4 600-61b 61d-674 679-6ff 900-957 960-97f e01-e32 e34-e3a e3f-e5b "
    "2010 2012-2016 2018-2023 2027 2030-2032 2035 2038-203b 203d 203f-2046 204a-2056 2058-205e 20a0-20a7 20a9-20c0 "
    "2190-222b 2231-22ff 2500-27bf 3001-3035 303b-303f 3041-3096 30a0-30fe 3400-4dbf 4e00-9fff ac00-d7a3 1f300-1f64f "
    "1f680-1f6d7 1f6dd-1f6ec 1f6f0-1f6fc 1f900-1f9ff"
)
# Such as stand for something folded, which is neither ASCII nor white space.
NEVER_ASCII = (
    "a1-a7 a9 ab-ac ae b0-b1 b6-b7 bb bf 180-19f 1a7-1ae 1b1-1c3 220-225 234-24f 370-377 3d5-3ef 3f6-3ff 426-42f "
    "446-44f 45f-4b9 4bc-4cf 4d8-4e5 4e8-4ed 4f4-4ff 502-519 51e-52f 531-53f 541-54c 54e-554 559-56f 571-57c 57e-584 "
    "586-58a 591-5c7 5d0-5ea 5ef-5f4 600-61b 61d-6ff 900-97f e01-e3a e3f-e5b 2010-2016 2018-2023 2027 2030-203b 203d "
    "203f-2046 204a-205e 20a0-20a7 20a9-20c0 2190-225f 2261-226d 2270-22ff 2500-27bf 3001-303f 3041-3096 309d-30ff "
    "3400-4dbf 4e00-9fff ac00-d7a3 1f300-1f64f 1f680-1f6d7 1f6dd-1f6ec 1f6f0-1f6fc 1f900-1f9ff"
)


def _beyond(ranges: str) -> str:
    """A pattern of RE2: any character but ASCII and these."""
    parts = [part.partition("-") for part in ranges.split()]
    return "[^\\x00-\\x7f" + "".join(f"\\x{{{first}}}-\\x{{{last or first}}}" for first, _, last in parts) + "]"


MAY_BE_DISGUISED = _beyond(OWN_PLAIN)  # without any a text is its own plain form
MAY_HOLD_ASCII = _beyond(NEVER_ASCII)  # without any a folded text has the same ASCII words as the text has in any case

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
