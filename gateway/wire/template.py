"""A chunk that is one before with another text: read by comparing bytes instead of parsing and walking it again.

The bytes before and after the text are those of a chunk that was read in full, and between them stands a JSON string,
so the document can only be the same with another text. A chunk may count tokens: then what is counted differs as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, repeat
from typing import Any, NamedTuple, TypeVar

import orjson

from gateway.core.terms import Delta, Document, Piece, Place, Spot
from gateway.wire import canonical
from gateway.wire.ordinary import is_numbers
from gateway.wire.rewrite import copied
from gateway.wire.walk import HOLDERS, PAYLOAD_KEYS, Steps, says

CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs"})
CALL = frozenset({"index", "id", "type", "function"})
USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
OBJECT = re.compile(rb"\{(?:[^{}]|\{[^{}]*\})*\}")
DIGITS = b"0123456789"
LONGEST = 16_384  # bytes of a chunk: a stream keeps several, and nobody counts them
LONGEST_KEY = 64  # characters
SAMPLE = "text"  # stands for a text where bytes are parted around it

T = TypeVar("T")
Way = tuple[str | int, ...]


class Ends(NamedTuple):
    """What stands before a text, and behind it: up to the usage and behind that, if a chunk tells it."""

    head: bytes
    tail: bytes
    rest: bytes | None = None

    def around(self, text: str, usage: Any = None) -> bytes:
        told = b"" if self.rest is None else canonical.dump(usage) + self.rest
        return b"".join((self.head, canonical.dump(text)[1:-1], self.tail, told))


@dataclass(slots=True)
class Template:
    """A chunk without its text. For as long as a stream takes its bytes are kept, and a document only if one was needed."""

    came: Ends
    usage: bytes | None  # what stands between `tail` and `rest` as it comes, without digits
    made: Ends  # of its frame, in its canonical form
    sample: Any  # one usage, if it is told
    channel: str
    place: Place
    steps: Steps
    way: Way  # to the object that holds the text
    key: str  # under which it does
    others: tuple[Spot, ...]  # strings of the frame itself that stand in every such chunk
    before: tuple[Piece, ...]  # which mark that they do, in front of the text
    behind: tuple[Piece, ...]
    group: str | None
    _frame: Document | None = None

    @property
    def frame(self) -> Document:
        """Its frame with some text; nobody changes it."""
        if self._frame is None:
            self._frame = canonical.parse_answer(self.made.around("", self.sample))
        return self._frame

    def ends(self, shown: Document) -> Ends:
        """Those of what is made of its frame for somebody, in its canonical form."""
        return self.made if shown is self._frame else ends_of(shown, self.way, self.key)

    def text(self, data: bytes) -> str | None:
        """The text of a chunk that fits, of those that count nothing; None for any other."""
        head, tail, _ = self.came
        if not (data.startswith(head) and data.endswith(tail)):
            return None
        middle = data[len(head) : -len(tail)]
        return said(middle) if middle and len(data) >= len(head) + len(tail) else None

    def counted(self, data: bytes) -> tuple[str, Any] | None:
        """The text and the usage of a chunk that fits, of those that tell it."""
        head, tail, rest = self.came
        assert rest is not None
        assert self.usage is not None
        end, until = data.rfind(tail), len(data) - len(rest)
        if end <= len(head) or not (data.startswith(head) and data.endswith(rest)):
            return None
        usage = numbers(data[end + len(tail) : max(until, 0)], self.usage)
        text = said(data[len(head) : end])
        return None if usage is None or text is None else (text, usage)

    def texts(self, data: Sequence[bytes]) -> tuple[Sequence[str], Sequence[Any]]:
        """The texts of those of the first chunks that fit, and the usage of each, if they tell it."""
        if self.usage is not None:
            fit = _until_none(map(self.counted, data))
            return [text for text, _ in fit], [usage for _, usage in fit]
        if len(data) == 1:
            return () if (only := self.text(data[0])) is None else (only,), ()
        head, tail, _ = self.came
        least, begin, end = len(head) + len(tail), len(head), -len(tail)
        middles: list[bytes] = []
        for one in data:
            if not (one.startswith(head) and one.endswith(tail)) or len(one) <= least:
                break
            middles.append(one[begin:end])
        joined = b"".join(middles)  # mostly all of them are plain, and then it is said of all at once
        if b'"' not in joined and b"\\" not in joined:
            with suppress(UnicodeDecodeError):
                texts = list(map(bytes.decode, middles))
                if "".join(texts).isprintable():
                    return texts, ()
        return _until_none(map(self.text, data[: len(middles)])), ()


def _until_none(some: Iterable[T | None]) -> list[T]:
    """Those that come before the first None."""
    found: list[T] = []
    for one in some:
        if one is None:
            break
        found.append(one)
    return found


def said(middle: bytes) -> str | None:
    """What a JSON string says, by the bytes between its quotes; None: it is none."""
    if b'"' not in middle and b"\\" not in middle:
        with suppress(UnicodeDecodeError):
            text = middle.decode()
            if text.isprintable():  # so there is no control character
                return text
    try:
        text = orjson.loads(b'"%s"' % middle)
    except orjson.JSONDecodeError:
        return None
    return text if type(text) is str else None


def numbers(told: bytes, alike: bytes) -> Document | None:
    """What a usage says that differs in its numbers from another, by which bytes it has besides; None: it differs in more."""
    if told.translate(None, DIGITS) != alike:
        return None
    try:
        usage = orjson.loads(told)
    except orjson.JSONDecodeError:
        return None
    exact = canonical.dump(usage) == told.translate(None, canonical.SPACE)
    return usage if exact and is_numbers(usage) else None


class Chunk:
    """Frames that are their template with other texts, one or several. A document is made only for who needs one."""

    __slots__ = ("_counted", "_document", "_piece", "_rewritable", "_start", "data", "template", "texts")

    def __init__(
        self,
        template: Template,
        texts: Sequence[str],
        data: Sequence[bytes],
        start: int,
        piece: Piece,
        *,
        rewritable: bool,
        counted: Sequence[Any] = (),
    ) -> None:
        """`data`: the bytes of each. `start`: where the text begins in its channel; `piece`: all of it.

        `counted`: the usage of each, or nothing.
        """
        self.template = template
        self.texts = texts
        self.data = data
        self._counted = counted
        self._start = start
        self._piece = piece
        self._rewritable = rewritable
        self._document: Document | None = None

    @property
    def text(self) -> str:
        return self._piece.text

    @property
    def delta(self) -> Delta:
        size = len(self.data[0]) if len(self.data) == 1 else sum(map(len, self.data))
        several = self if len(self.texts) > 1 else None
        one = self.template
        pieces = (*one.before, self._piece, *one.behind)
        return Delta(self, pieces, size, one.group, self if self._rewritable else (), several)

    def between(self, ends: Ends) -> Sequence[bytes]:
        """Each in its canonical form between these ends, which `Template.ends` tells; as it came, where that is the same."""
        as_it_came = ends is self.template.came
        if as_it_came and b"\\" not in b"".join(self.data):
            return self.data
        counted = self._counted or repeat(None)
        return [  # of what JSON escapes only these may as well be written otherwise
            one if as_it_came and b"\\u" not in one and b"\\/" not in one else ends.around(text, usage)
            for one, text, usage in zip(self.data, self.texts, counted, strict=False)
        ]

    @property
    def ends(self) -> list[int]:
        return list(accumulate(map(len, self.texts)))

    def parted(self, number: int) -> tuple[Delta, Delta]:
        first = self._part(0, number)
        return first.delta, self._part(number, len(self.texts), len(first.text)).delta

    def singles(self) -> Iterator[Chunk]:
        """Each by itself."""
        start = 0
        for number, text in enumerate(self.texts):
            yield self._part(number, number + 1, start)
            start += len(text)

    def _part(self, first: int, last: int, start: int = 0) -> Chunk:
        texts, data, counted = self.texts[first:last], self.data[first:last], self._counted[first:last]
        piece = replace(self._piece, text="".join(texts))
        start += self._start
        return Chunk(self.template, texts, data, start, piece, rewritable=self._rewritable, counted=counted)

    @property
    def document(self) -> Document:
        """One frame that says all of it."""
        if self._document is None:
            self._document = copied(self.template.frame)
            self._holder[self.template.key] = self.text
            if self._counted:
                self._document["usage"] = self._counted[-1]
        return self._document

    @property
    def _holder(self) -> Any:
        return _at(self._document, self.template.way)

    def __iter__(self) -> Iterator[Spot]:
        """Every string of that frame, and where it stands."""
        one, document = self.template, self.document
        for spot in one.others:
            yield Spot(spot.channel, spot.start, spot.text, spot.steps, document, spot.key)
        yield Spot(one.channel, self._start, self.text, one.steps, self._holder, one.key)


def document_of(frame: Any) -> Any:
    """A frame as a document, whatever it came as."""
    return frame.document if isinstance(frame, Chunk) else frame


def template(data: bytes, delta: Delta) -> Template | None:
    """What the chunks after this one may look like; None where it says more than one running text."""
    frame = delta.frame
    pieces = delta.pieces
    if len(data) > LONGEST:
        return None
    running = [number for number, piece in enumerate(pieces) if piece.text or not piece.closed]
    if len(running) != 1 or len(frame["choices"]) != 1 or not _is_flat(frame):
        return None
    at, choice = running[0], frame["choices"][0]
    piece = pieces[at]
    if not CHOICE.issuperset(choice) or (found := _running(choice["delta"])) is None:
        return None
    below, steps, key, text = found
    if piece.text != text or choice.get("finish_reason") is not None or piece.origin is not None:
        return None
    others = [spot for spot in delta.spots if spot.channel != piece.channel]
    if any(spot.holder is not frame for spot in others):
        return None
    way: Way = ("choices", 0, "delta", *below)
    if (as_it_came := _as_it_came(data, key, text, frame.get("usage"))) is None:
        return None
    came, usage = as_it_came
    return Template(
        came,
        usage,
        came if canonical.dump(frame) == data else ends_of(frame, way, key),
        frame.get("usage"),
        piece.channel,
        piece.place,
        ("choices", f"[{choice['index']}]", "delta", *steps),
        way,
        key,
        tuple([spot._replace(holder=None) for spot in others]),
        pieces[:at],
        pieces[at + 1 :],
        delta.group,
    )


def _as_it_came(data: bytes, key: str, text: str, usage: Any) -> tuple[Ends, bytes | None] | None:
    """The ends of a chunk as it came, and its usage without digits; None: where its text stands cannot be told."""
    found = [*_strings_under(key).finditer(data)]
    if len(found) != 1 or said(found[0][1]) != text:
        return None
    head, tail = data[: found[0].start(1)], data[found[0].end(1) :]
    if usage is None:
        return Ends(head, tail), None
    told = [*USAGE.finditer(tail)]
    counted = OBJECT.match(tail, told[0].end()) if len(told) == 1 else None
    if counted is None or numbers(counted[0], alike := counted[0].translate(None, DIGITS)) != usage:
        return None
    return Ends(head, tail[: counted.start()], tail[counted.end() :]), alike


@lru_cache(64)
def _strings_under(key: str) -> re.Pattern[bytes]:
    return re.compile(rb'%s\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"' % re.escape(canonical.dump(key)))


def ends_of(document: Document, way: Way, key: str) -> Ends:
    """What stands around a text of a document in its canonical form."""
    made = copied(document)
    text = SAMPLE
    while True:
        _at(made, way)[key] = text
        head, mark, tail = canonical.dump(made).partition(canonical.dump(text))
        if mark not in tail:
            break
        text += text  # so that few tries are enough, whatever stands there
    head, tail = head + b'"', b'"' + tail
    if (usage := made.get("usage")) is None:
        return Ends(head, tail)
    name = b'"usage":'
    tail, _, rest = tail.partition(name + canonical.dump(usage))
    return Ends(head, tail + name, rest)


def _at(document: Any, way: Way) -> Any:
    for step in way:
        document = document[step]
    return document


def _running(body: Document) -> tuple[tuple[str | int, ...], Steps, str, str] | None:
    """The one text of a message's part: the way to who holds it, its steps, its key, what it says; None: there is not one."""
    names = [
        name for name, value in body.items() if value is not None and (type(value) is not str or says(name, value))
    ]
    if len(names) != 1:
        return None
    (name,) = names
    value = body[name]
    if name in PAYLOAD_KEYS or len(name) > LONGEST_KEY:  # of the former each tells anew whether it is text
        return None
    if type(value) is str:
        return (), (name,), name, value
    if name != "tool_calls" or type(value) is not list or len(value) != 1 or type(value[0]) is not dict:
        return None
    (call,) = value
    function, index = call.get("function"), call.get("index")
    if (
        not CALL.issuperset(call)
        or type(index) is not int
        or type(function) is not dict
        or [*function] != ["arguments"]
    ):
        return None
    if call.get("id") is not None or call.get("type") not in {None, "function"}:
        return None
    text, way = function["arguments"], (name, 0, "function")
    return (way, (name, f"[{index}]", "function", "arguments"), "arguments", text) if type(text) is str else None


def _is_flat(frame: Document) -> bool:
    """Besides the text it holds nothing that another frame could share with it and change."""
    (choice,) = frame["choices"]
    rest = [
        *(v for k, v in frame.items() if k not in {"choices", "usage"}),
        *(v for k, v in choice.items() if k != "delta"),
    ]
    return not any(isinstance(value, HOLDERS) and not isinstance(value, str) for value in rest)
