"""What a text says beneath a disguise: letters apart, leet, backwards, ROT13, base64, hex, escapes, tag characters.

A cheap look tells whether a text may wear one, and what is beneath is read once: the time is in proportion to the text.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterator, Sequence
from itertools import product
from operator import add
from urllib.parse import unquote

from gateway.checks.hurry import takes
from gateway.checks.vocabulary import Vocabulary, rotated

LEET = 3  # digits and the like before a letter, and words with them, or twice as many in fewer words
IN_LINE = 2  # such words in a line, or half of a shorter one
UNSURE = 4  # characters of a word in leet that may be one of two letters, at most
IN_ROW, IN_WORD = 17, 6  # letters that are no one word; that may be more than one
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
    r"(?<![\w@$!])(?=[^\W\d_]*[0134578@$!])(?=[0134578@$!]*[^\W\d_])"
    r"(?:[^\W\d_]|[0134578@$!])*(?:[^\W\d_]|[0134578@$])(?![\w@$]|\.\w)"
)  # no address of mail
_NUMBER = re.compile(r"(?<![\w@$!.,:-])[0134578@$]{1,3}(?![\w@$!]|[.,:-]\d)")
_FROM_LEET = str.maketrans("0134578@$!", "oieastbasi")
_SURE = {mark: letter for mark, letter in _FROM_LEET.items() if letter != ord("i")}
_I_OR_L = re.compile("[1!]")
_L = re.compile(
    r"[1!](?=[1!](?![1!]))|(?<=\w[1!])[1!]|(?<![cst])[1!](?=[ao])|[1!](?=[euy])|(?<=[aeou])[1!]$", re.IGNORECASE
)  # rather an l than an i: doubled, before a vowel, at the end
_ROW = re.compile(rf"[^\W\d_]{{{IN_ROW},}}")
_LONG = re.compile(rf"[^\W\d_]{{{IN_WORD},}}")
_SPOKEN = re.compile(r"\S+")
_SAYS_TURNED = ("backward", "Backward", "BACKWARD")
_SAYS_ROTATED = ("rot13", "Rot13", "ROT13", "rot-13", "ROT-13")


def readings(text: str, vocabulary: Vocabulary) -> Iterator[str]:
    """The text, and what it says beneath each disguise that it seems to wear."""
    words = text.split()
    takes((len(words) - len(frozenset(words))) // 3)  # words said again and again have something to do with each other
    yield text
    for plain in _beneath(text, words, vocabulary):
        takes(len(plain) // 40)
        if plain:
            yield plain


def _beneath(text: str, words: Sequence[str], vocabulary: Vocabulary) -> Iterator[str]:
    """What it says beneath each disguise; empty where it wears none."""
    respelt = _respelt(text, vocabulary)
    yield respelt
    yield _leet(respelt or text, vocabulary)
    yield _packed(words)
    yield from _turned(text, vocabulary)


def _respelt(text: str, vocabulary: Vocabulary) -> str:
    """With every disguise undone that stands in the place of its letters; empty if it wears none."""
    plain = text
    for undo in (_tags, _escapes):
        plain = undo(plain) or plain
    plain = _parted(_apart(plain), vocabulary) or plain
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
    if not any(sign in text for sign in "%&\\") or not _ESCAPE.search(text):
        return ""
    plain = _CODE.sub(lambda found: chr(int(found[1] or found[2], 16)), unquote(html.unescape(text)))
    return plain if plain != text else ""


def _apart(text: str) -> str:
    """Letters with a space or a mark between them; one of a text that has both is enough."""
    if _DOTTED.search(text):
        return _APART_BY.sub(r"\1", _WORD.sub(_undotted, text))
    return _APART.sub(lambda found: found[0].replace(" ", ""), text) if _SPELT.search(text) else ""


def _parted(joined: str, vocabulary: Vocabulary) -> str:
    """With spaces between words, if letters were put together that had no gap between them."""
    return _LONG.sub(lambda found: f" {vocabulary.parted(found[0])} ", joined) if _ROW.search(joined) else joined


def _undotted(found: re.Match[str]) -> str:
    """A word in which every other character is the same mark, without it: punctuation is apart as letters are."""
    word = found[0]
    for first in (0, 1):
        marks = word[1 - first :: 2]
        if marks[:1] in _MARKS and not marks.strip(marks[0]):
            return word[first::2]
    return word


def _leet(text: str, vocabulary: Vocabulary) -> str:
    """The lines with words in leet; in code there is one now and then, so it must be several."""
    if len(_DIGIT.findall(text)) < LEET:
        return ""
    told, words, marks = list[str](), 0, 0
    for line in text.split("\n"):
        plain, count = _LEET.subn(lambda found: _spelt(found[0], vocabulary), line)
        if count and count >= min(IN_LINE, len(line.split()) / 2):
            words += count
            marks += len(_DIGIT.findall(line))
            told.append(_NUMBER.sub(lambda found: _spelt(found[0], vocabulary), plain))
    return "\n".join(told) if words >= LEET or marks >= 2 * LEET else ""


def _spelt(word: str, vocabulary: Vocabulary) -> str:
    """A word in leet in plain letters; what may be an i or an l is likely the one, or the other if that makes a known word."""
    sure = word.translate(_SURE)
    likely = _L.sub("l", sure).translate(_FROM_LEET)
    first, *rest = _I_OR_L.split(sure)
    if not 0 < len(rest) <= UNSURE or vocabulary.knows(likely):
        return likely
    takes(1)
    ways = (first + "".join(map(add, letters, rest)) for letters in product("il", repeat=len(rest)))
    return next(filter(vocabulary.knows, ways), likely)


def _turned(text: str, vocabulary: Vocabulary) -> Iterator[str]:
    if any(word in text for word in _SAYS_TURNED) or vocabulary.is_backwards(text):
        yield text[::-1]
        yield _SPOKEN.sub(lambda found: found[0][::-1], text)
    takes(0)
    if any(word in text for word in _SAYS_ROTATED) or vocabulary.is_rotated(text):
        yield rotated(text)
