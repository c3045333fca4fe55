"""One reading only: strict JSON in, one canonical form out. What is checked is what is forwarded.

Refused, because two readers could differ on it: duplicate keys, NaN and infinities, a byte order
mark, bytes that are not UTF-8, lone surrogates, trailing bytes, excessive depth. Numbers keep
their exact value: one that Python cannot reproduce is carried as its own source text.
"""

from __future__ import annotations

import codecs
import json
from itertools import compress
from operator import ne
from typing import Any, NoReturn

import orjson

from gateway.core.terms import Document
from gateway.wire.errors import BadRequest

MAX_DEPTH = 64
MAX_DIGITS = 1000  # of one number
MAX_VALUES = 300_000  # objects, lists and what they hold; reading costs time for each
SHORT = 4096  # bytes
MOST_PIECES = 100_000  # between quotation marks; more take more memory than they are worth
SPACE = b" \n\r\t"
_INT64 = range(-(2**63), 2**64)


class AsItCame(Document):
    """A document whose canonical form is known: it goes on as those bytes, without being written again.

    Nobody changes one. Whatever says something else is made as a copy, which is a plain object and has to be written.
    """

    __slots__ = ("body",)

    def __init__(self, document: Document, body: bytes) -> None:
        super().__init__(document)
        self.body = body

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise TypeError("what goes on as it came is not changed")


class Malformed(ValueError):
    """An answer of the upstream that has no single reading. The message never quotes it."""


def _integer(text: str) -> Any:
    if len(text) > MAX_DIGITS:
        raise Malformed(f"a number has more than {MAX_DIGITS} digits")
    value = int(text)
    return value if value in _INT64 else orjson.Fragment(text)


def _decimal(text: str) -> Any:
    if len(text) > MAX_DIGITS:
        raise Malformed(f"a number has more than {MAX_DIGITS} digits")
    value = float(text)
    if orjson.dumps(value) == text.encode():
        return value
    return orjson.Fragment(text)


def _constant(text: str) -> NoReturn:
    raise Malformed(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise Malformed("an object has the same key twice")
    return document


_decode = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_decimal, parse_constant=_constant
).decode


def _read(body: bytes, most: int) -> Document:
    """The strict parser."""
    if body.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Malformed("it begins with a byte order mark")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"it is not UTF-8 (byte {error.start})") from None
    try:
        document = _decode(text)
    except RecursionError:
        raise Malformed(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"it is not valid JSON: line {error.lineno}, column {error.colno}") from None
    if not isinstance(document, dict):
        raise Malformed("it is not a JSON object")
    _measure(document, most)
    if "\\u" in text:
        _refuse_lone_surrogates(document)
    return document


def _canonical_already(body: bytes, most: int) -> tuple[Document, bytes] | None:
    """The document whose canonical form these very bytes are but for space, and that form: nothing can be read in two ways.

    A key that stood twice, a number that is not exact, an escape that stands for something else: the dump would
    differ from the bytes. Most clients and servers write JSON just so; what does not is read by the strict parser.
    """
    try:
        document = orjson.loads(body)
        if type(document) is not dict:
            return None
        form = orjson.dumps(document)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # the latter: it is nested too deep to be written
        return None
    if form == body:
        form = body
    elif not _same_but_for_space(body, form):
        return None
    if len(form) > most or not (_few(form, b"{") and _few(form, b"[")):
        _measure(document, most)
    return document, form


def _same_but_for_space(body: bytes, form: bytes) -> bool:
    """Whether a document and the dump of what was read of it differ in white space only.

    Then no key stood twice, for the dump would have fewer values; and each number and string is written as the dump
    writes it. White space within a string would be in both.
    """
    if len(form) >= len(body):
        return False
    pieces, others = body.split(b'"', MOST_PIECES), form.split(b'"', MOST_PIECES)
    if len(pieces) != len(others) or len(pieces) > MOST_PIECES:
        return False
    differ = [*map(ne, pieces, others)]  # mostly what stands between two strings
    ours, theirs = (b'"'.join(compress(some, differ)).translate(None, SPACE) for some in (pieces, others))
    return ours == theirs


def _few(body: bytes, bracket: bytes) -> bool:
    """Whether it opens no more than half as many levels as there may be; in many bytes, finding so few is faster than counting all."""
    if len(body) <= SHORT:
        return body.count(bracket) <= MAX_DEPTH // 2
    at = -1
    for _ in range(MAX_DEPTH // 2 + 1):
        at = body.find(bracket, at + 1)
        if at < 0:
            return True
    return False


def _refuse_lone_surrogates(document: Document) -> None:
    """Only an escape can bring one in; the dump is the one place that sees every string and key."""
    try:
        dump(document)
    except orjson.JSONEncodeError:
        raise Malformed("a string holds half of a surrogate pair") from None


def _measure(document: Any, most: int) -> None:
    """Refuse what is too deep or has too many values, counted without recursion."""
    level = values = 0
    layer = [document]
    while layer:
        level += 1
        values += sum(map(len, layer))
        if level > MAX_DEPTH:
            raise Malformed(f"it is nested deeper than {MAX_DEPTH} levels")
        if values > most:
            raise Malformed(f"it has more than {most} values")
        layer = [
            child
            for node in layer
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]


def parse(body: bytes) -> Document:
    """A client's body. Raises BadRequest, which says what is wrong with it."""
    if not body.strip():
        raise BadRequest("The body is empty; send a JSON object.", code="invalid_json")
    try:
        known = _canonical_already(body, MAX_VALUES)
        return _read(body, MAX_VALUES) if known is None else AsItCame(*known)
    except Malformed as error:
        raise BadRequest(f"The body cannot be read: {error}.", code="invalid_json") from None


def parse_answer(body: bytes, most: int = MAX_VALUES) -> Document:
    """An upstream's document of at most so many values, read as strictly. Raises Malformed."""
    known = _canonical_already(body, most)
    return _read(body, most) if known is None else known[0]


def dump(document: Any) -> bytes:
    """The canonical form: compact UTF-8 JSON, keys in the order they came."""
    return document.body if type(document) is AsItCame else orjson.dumps(document)
