"""Every string of a document: the rule is a walk, not a list, so a new field is seen on its first day.

No recursion here: a hostile document costs time in proportion to its size and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from gateway.wire.fields import AUDIO, ENUMS, KEYS, LINKED, PAYLOADS, SURE, VOCABULARY

MANY = 32  # members of a list
MAX_NESTED = 3  # levels of JSON inside strings
LONGEST_WORD = max(map(len, VOCABULARY))  # a longer string need not be looked up: that costs reading it
MAX_DECODED = 16 * 1024**2  # characters of a string that is read decoded; bodies and answers are shorter
FIRST = 1024  # characters of base64 that are decoded by themselves: whole bytes
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_DATA_URL = re.compile(r"data:([\w.+/-]*)[^,]{0,200}?(;base64)?,", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}\s*\Z", re.ASCII)
_LETTERS = re.compile(r"[A-Za-z0-9+/_-]+", re.ASCII)
_ALL_LETTERS = bytes(code for code in range(128) if _LETTERS.match(chr(code)))
_END = re.compile(rb"={0,2}\s*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_JUNK = re.compile(r"[^A-Za-z0-9+/_-]+", re.ASCII)
_COAT = re.compile(r"\s*[{\[]|data:|[A-Za-z0-9+/_-]{16}")  # how JSON, a data URL and base64 begin
_LINK = re.compile(r"https?://", re.ASCII | re.IGNORECASE)

HOLDERS = (str, dict, list)  # what is a string or may hold one
SCALARS = frozenset({int, float, bool, type(None)})  # most of what does not
Steps = tuple[str, ...]
Step = Callable[[Steps, int, Any], str]


class Leaf(NamedTuple):
    """One string: the steps that lead to it (keys and rendered list steps), and what it says."""

    steps: Steps
    text: str
    holder: Any = None  # the object or list that holds it; None: it stands nowhere as a string
    key: Any = None

    @property
    def path(self) -> str:
        return render(self.steps)


def render(steps: Steps) -> str:
    """`("messages", "[0]", "content")` as `messages[0].content`."""
    path = ""
    for step in steps:
        path += step if step[:1] in "[<" else f".{step}"
    return path.removeprefix(".")


def by_position(_steps: Steps, position: int, _item: Any) -> str:
    return f"[{position}]"


def leaves(
    document: Any, step: Step = by_position, base: Steps = (), holder: Any = None, key: Any = None
) -> Iterator[Leaf]:
    """Every string leaf and every key that the protocol does not define, in document order.

    `document` may be a part of one: then `base` leads to it, and `holder` holds it as `key`.
    """
    stack: list[tuple[Steps, Any, Any, Any]] = [(base, document, holder, key)]
    if isinstance(document, str) and not says(name_of(base), document):
        return
    while stack:
        steps, node, holder, key = stack.pop()
        if isinstance(node, str):
            yield Leaf(steps, node, holder, key)
            continue
        members: Iterable[tuple[Any, Any]] = ()
        if named := isinstance(node, dict):
            if not node.keys() <= KEYS:
                yield from (Leaf((*steps, "<key>"), name) for name in node if name not in KEYS)
            members = node.items()
        elif isinstance(node, list):
            if steps and steps[-1] == "bytes":
                yield Leaf(steps, _from_bytes(node), node if "logprobs" in steps else None)
            if len(node) > MANY and SCALARS.issuperset(map(type, node)):
                continue  # an embedding, which is passed over at once
            members = enumerate(node)
        inner: list[tuple[Steps, Any, Any, Any]] = []  # from its first object or list on; strings before go at once
        for at, value in members:
            if type(value) in SCALARS:
                continue
            said = isinstance(value, str)
            if said and not says(at if named else name_of(steps), value):
                continue
            below = (*steps, at if named else step(steps, at, value))
            if said and not inner:
                yield Leaf(below, value, node, at)
            else:
                inner.append((below, value, node, at))
        stack += reversed(inner)


def name_of(steps: Steps) -> str:
    """The nearest key above a string: of `input[0].text` it is `text`, of `stop[1]` it is `stop`."""
    for step in reversed(steps):
        if step[:1] != "[":
            return step
    return ""


def says(name: str, text: str) -> bool:
    """Whether a string says anything: it is not empty, and no word of the protocol under a key for such words."""
    return text != "" and not (len(text) <= LONGEST_WORD and text in VOCABULARY and name in ENUMS)


def _from_bytes(numbers: list[Any]) -> str:
    """The byte lists of logprobs spell the text again."""
    return bytes(n for n in numbers if type(n) is int and 0 <= n < 256).decode("utf-8", "replace")


class Coded(NamedTuple):
    """What is to be made of a string that may be a payload."""

    unread: str | None  # of it ("an image"; "": nothing; None: it is no payload)
    is_text: bool  # as it stands
    plain: str | None  # what the payload says, if it is text


def coded(leaf: Leaf) -> Coded:
    steps, text = leaf.steps, leaf.text
    what = _payload(steps, text)
    if what is None:
        return Coded(None, True, None)
    if (plain := decoded(text, lenient=True)) is not None:
        return Coded("", True, plain)
    return Coded(what, len(text) < SURE or not _is_base64(text), None)


def texts_of(leaf: Leaf, told: Coded) -> Iterator[tuple[str, str]]:
    """(step, text) of every form in which a string can be read; none where it is certainly no text."""
    if told.is_text:
        yield "", leaf.text
    if told.unread is None:
        yield from hidden(leaf.text)
    elif told.plain is not None:
        yield "<decoded>", told.plain


PAYLOAD_KEYS = LINKED | {*PAYLOADS, "url"}  # under these `coded` has something to decide


def _payload(steps: Steps, text: str) -> str | None:
    """What a string under a payload's key is: "" for numbers; None: text like any other."""
    name = name_of(steps)
    if name in LINKED or (name == "url" and (steps[0] == "data" or not LINKED.isdisjoint(steps))):
        return "an image or a file"
    what, least = PAYLOADS.get(name, (None, 0))
    if what is None or len(text) >= least or (name == "data" and not AUDIO.isdisjoint(steps)):
        return what
    return None


def _is_base64(text: str) -> bool:
    """Whether it is base64 to its end, behind the head of a data URL if it has one."""
    if not text.isascii():
        return False
    payload = text.encode()[payload_start(text) :]
    rest = payload.translate(None, _ALL_LETTERS)  # the fastest way through an image
    return len(rest) < len(payload) and payload.endswith(rest) and _END.fullmatch(rest) is not None


def payload_start(text: str) -> int:
    url = _DATA_URL.match(text)
    return url.end() if url else 0


def hides(text: str) -> bool:
    """Whether a string may hold a text in another coat: of most it is said at once that it does not."""
    return "\\" in text or _COAT.match(text) is not None


def hidden(text: str) -> Iterator[tuple[str, str]]:
    """Texts that a string holds in another coat: (step, text) of JSON, unicode escapes, data URLs, base64."""
    if len(text) > MAX_DECODED:
        return
    head = text.lstrip()[:1]
    if head in {"{", "["} and (found := _json_strings(text)):
        yield "<json>", "\n".join(found)
    elif "\\" in text and "\\u" in text:  # the former is found at the speed of memory
        yield "<unescaped>", ESCAPE.sub(lambda m: chr(int(m[1], 16)), text).encode("utf-8", "replace").decode()
    if (plain := decoded(text)) is not None:
        yield "<decoded>", plain


def _pairs(pairs: list[tuple[str, Any]]) -> list[Any]:
    """An object as a flat list, so that neither of two equal keys is lost."""
    return [side for pair in pairs for side in pair]


def _json_strings(text: str) -> list[str]:
    """Every key and string of a JSON text, JSON inside its strings included; empty if it is not JSON."""
    found: list[str] = []
    layer = [text]
    for _ in range(MAX_NESTED):
        strings = [s for one in layer for s in strings_of(one)]
        found += strings
        layer = [s for s in strings if ("{" in s or "[" in s) and s.lstrip()[:1] in {"{", "["}]
        if not layer:
            break
    return found


_decode = json.JSONDecoder(object_pairs_hook=_pairs, strict=False).decode


def strings_of(text: str) -> list[str]:
    """Every key and string of a JSON text, in document order; empty if it is not JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return _loosely(text)
    if "\\" not in text:  # so each quotation mark begins a string or ends one
        return text.split('"')[1::2]
    return [orjson.loads(one) if "\\" in one else one[1:-1] for one in _STRING.findall(text)]


def _loosely(text: str) -> list[str]:
    """The same of what JSON does not allow and many take: line breaks and half surrogates in strings, NaN."""
    try:
        document = _decode(text)
    except (ValueError, RecursionError):
        return []
    found: list[str] = []
    stack = [document]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            found.append(node)
        elif isinstance(node, list):
            stack += reversed(node)
    return [one.encode("utf-8", "replace").decode() for one in found]


def decoded(text: str, *, lenient: bool = False) -> str | None:
    """The text inside a data URL or a base64 payload; None where there is none to read.

    Lenient: like decoders that skip what is not base64. For strings that some decoder will get.
    """
    start = payload_start(text)
    if start and not text[:start].endswith(";base64,"):
        return text[start:]
    if _begins_binary(text[start : start + FIRST]):
        return None
    payload = text[start:]
    if _BASE64.match(payload):
        payload = payload.strip()
    elif lenient and not _LINK.match(text):
        payload = _JUNK.sub("", payload)
    else:
        return None
    try:
        raw = base64.b64decode(payload.translate(_URL_SAFE) + "=" * (-len(payload) % 4))
    except (binascii.Error, ValueError):
        return None
    return readable(raw) if raw else None


def _begins_binary(payload: str) -> bool:
    """Whether base64 that begins so is no text, whatever follows: of most images the beginning tells."""
    if len(payload) < FIRST or not _LETTERS.fullmatch(payload):
        return False
    try:
        codecs.utf_8_decode(base64.b64decode(payload.translate(_URL_SAFE)))  # a character may be cut at its end
    except UnicodeDecodeError:
        return True
    return False


def readable(raw: bytes) -> str | None:
    """Bytes that are text, as text; None for anything else."""
    try:
        plain = raw.decode("utf-8")
    except ValueError:
        return None
    return plain if plain.isprintable() or "\n" in plain else None


_URL_SAFE = str.maketrans("-_", "+/")
