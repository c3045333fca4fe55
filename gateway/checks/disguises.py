"""What a text says beneath a disguise: letters apart, leet, backwards, ROT13, base64, hex, escapes, tag characters.

A cheap look tells whether a text may wear one, and what is beneath is read once: the time is in proportion to the text.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from gateway.checks.hurry import takes

WORDS = 2  # that must look turned or rotated before a text is read so, unless it says itself that it is
LEET = 3  # digits and the like before a letter, and words with them
IN_LINE = 2  # such words in a line, or half of a shorter one
PACKED = 16  # letters of base64 or hex

_TAGS = re.compile("[\U000e0020-\U000e007e]")
_FROM_TAGS = {0xE0000 + code: code for code in (*b"\t\n", *range(0x20, 0x7F))}
_BASE64 = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,}={0,2}(?![\w+/=-])")
_HEX = re.compile(r"(?<!\w)(?:[0-9A-Fa-f]{2}){8,}(?!\w)")
_URL_SAFE = str.maketrans("-_", "+/")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}|&#?\w{2,6};|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}")
_CODE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")
_DOTTED = re.compile(r"([.*_|~-])[^\W\d_]\1[^\W\d_](?![^\W_])")
_SPELT = re.compile(r" [^\W\d_] [^\W\d_] (?: |[^\W\d_] )")
_APART = re.compile(r"(?<!\S)\S(?: \S[^\w\s]*(?!\S))+")
_APART_BY = re.compile(r"(?<![^\W_])([^\W_])[.*_|~-](?=[^\W_](?![^\W_]))")
_WORD = re.compile(r"\S{2,}")
_MARKS = frozenset(".*_|~-")
_DIGIT = re.compile(r"[0134578@$!](?=[A-Za-z])")
_LEET = re.compile(
    r"(?<![\w@$!])(?=[a-z]*[0134578@$!])(?=[0134578@$!]*[a-z])[a-z0134578@$!]*[a-z0134578@$](?![\w@$]|\.\w)",
    re.IGNORECASE,
)  # no address of mail
_NUMBER = re.compile(r"(?<![\w@$!.,:-])[0134578@$]{1,3}(?![\w@$!]|[.,:-]\d)")
_FROM_LEET = str.maketrans("0134578@$!", "oieastbasi")
_PLAIN = (
    "the and you your all this that ignore prompt system instructions rules to what with have been told from how tell "
    "answer everything without any"
)  # no word that is one backwards or rotated, in a language that is written often
_CASES = frozenset(cased for word in _PLAIN.split() for cased in (word, word.upper(), word.capitalize()))
_TURNED = frozenset(word[::-1] for word in _CASES)
_ROTATED = frozenset(codecs.encode(word, "rot13") for word in _CASES)
_SAYS_TURNED = ("backward", "Backward", "BACKWARD")
_SAYS_ROTATED = ("rot13", "Rot13", "ROT13", "rot-13", "ROT-13")


def readings(text: str) -> Iterator[str]:
    """The text, and what it says beneath each disguise that it seems to wear."""
    words = text.split()
    takes((len(words) - len(frozenset(words))) // 3)  # words said again and again have something to do with each other
    yield text
    respelt = _respelt(text)
    for plain in (respelt, _leet(respelt or text), _packed(words), *_turned(text, words)):
        if plain:
            takes(len(plain) // 40)
            yield plain


def _respelt(text: str) -> str:
    """With every disguise undone that stands in the place of its letters; empty if it wears none."""
    plain = text
    for undo in (_tags, _escapes, _apart):
        plain = undo(plain) or plain
    return plain if plain != text else ""


def _tags(text: str) -> str:
    return "" if text.isascii() or not _TAGS.search(text) else text.translate(_FROM_TAGS)


def _packed(words: Sequence[str]) -> str:
    long = " ".join([word for word in words if len(word) >= PACKED])
    if not long:
        return ""
    pieces = [_said(_from_base64(piece)) for piece in _BASE64.findall(long)]
    pieces += [_said(bytes.fromhex(piece)) for piece in _HEX.findall(long)]
    return "\n".join(filter(None, pieces))


def _from_base64(piece: str) -> bytes:
    bare = piece.rstrip("=").translate(_URL_SAFE)
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4))
    except (binascii.Error, ValueError):
        return b""


def _said(raw: bytes) -> str:
    """Bytes that are words, as text."""
    try:
        plain = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return plain if all(c.isprintable() or c.isspace() for c in plain) else ""


def _escapes(text: str) -> str:
    if not _ESCAPE.search(text):
        return ""
    plain = _CODE.sub(lambda found: chr(int(found[1] or found[2], 16)), unquote(html.unescape(text)))
    return plain if plain != text else ""


def _apart(text: str) -> str:
    """Letters with a space or a mark between them; one of a text that has both is enough."""
    if _DOTTED.search(text):
        return _APART_BY.sub(r"\1", _WORD.sub(_undotted, text))
    return _APART.sub(lambda found: found[0].replace(" ", ""), text) if _SPELT.search(text) else ""


def _undotted(found: re.Match[str]) -> str:
    """A word in which every other character is the same mark, without it: punctuation is apart as letters are."""
    word = found[0]
    for first in (0, 1):
        marks = word[1 - first :: 2]
        if marks[:1] in _MARKS and not marks.strip(marks[0]):
            return word[first::2]
    return word


def _leet(text: str) -> str:
    """The lines with words in leet; in code there is one now and then, so it must be several."""
    if len(_DIGIT.findall(text)) < LEET:
        return ""
    told, words = list[str](), 0
    for line in text.split("\n"):
        plain, count = _LEET.subn(lambda found: found[0].translate(_FROM_LEET), line)
        if count and count >= min(IN_LINE, len(line.split()) / 2):
            words += count
            told.append(_NUMBER.sub(lambda found: found[0].translate(_FROM_LEET), plain))
    return "\n".join(told) if words >= LEET else ""


def _turned(text: str, words: Sequence[str]) -> Iterator[str]:
    said = frozenset(words)
    if len(said & _TURNED) >= WORDS or any(word in text for word in _SAYS_TURNED):
        yield text[::-1]
    if len(said & _ROTATED) >= WORDS or any(word in text for word in _SAYS_ROTATED):
        yield codecs.encode(text, "rot13")
