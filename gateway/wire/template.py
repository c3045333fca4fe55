"""A chunk that is the one before with another text: read by comparing bytes instead of parsing and walking it again.

The bytes before and after the text are those of a chunk that was read in full, and the text is a JSON string in its
canonical form, which can be read in one way only, so the document can only be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import orjson

from gateway.core.terms import Delta, Document, Piece, Place, Spot
from gateway.wire import canonical
from gateway.wire.rewrite import copied
from gateway.wire.walk import HOLDERS, PAYLOAD_KEYS, Steps, says

CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs"})
CALL = frozenset({"index", "id", "type", "function"})


@dataclass(slots=True)
class Template:
    """A chunk without its text. For as long as a stream takes its bytes are kept, and a document only if one was needed."""

    head: bytes  # up to the text, its opening quote included
    tail: bytes
    made: bytes | None  # its frame, where that is not what came
    channel: str
    place: Place
    steps: Steps
    way: tuple[str | int, ...]  # to the object that holds the text
    key: str  # under which it does
    others: tuple[Spot, ...]  # strings of the frame itself that stand in every such chunk
    group: str | None
    _frame: Document | None = None

    @property
    def faithful(self) -> bool:
        """Whether its bytes are those of its frame, so that they may go on as they came."""
        return self.made is None

    @property
    def frame(self) -> Document:
        """Its frame with some text; nobody changes it."""
        if self._frame is None:
            self._frame = self.read()
        return self._frame

    def read(self) -> Document:
        """The same, made anew."""
        return canonical.parse_answer(self.head + self.tail if self.made is None else self.made)

    def text(self, data: bytes) -> str | None:
        """The text of a chunk that fits; None for any other."""
        if not (data.startswith(self.head) and data.endswith(self.tail)):
            return None
        middle = data[len(self.head) : len(data) - len(self.tail)]
        return said(middle) if middle and len(data) >= len(self.head) + len(self.tail) else None

    def texts(self, data: Sequence[bytes]) -> list[str]:
        """The texts of those of the first chunks that fit."""
        if len(data) == 1:
            return [] if (only := self.text(data[0])) is None else [only]
        head, tail = self.head, self.tail
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
                    return texts
        texts = []
        for one in data[: len(middles)]:
            if (text := self.text(one)) is None:
                break
            texts.append(text)
        return texts


def said(middle: bytes) -> str | None:
    """What a JSON string says, by the bytes between its quotes; None: it is none, or not in its canonical form."""
    if b'"' not in middle and b"\\" not in middle:
        with suppress(UnicodeDecodeError):
            text = middle.decode()
            if text.isprintable():  # so there is no control character
                return text
    quoted = b'"%s"' % middle
    try:
        text = orjson.loads(quoted)
        return text if type(text) is str and canonical.dump(text) == quoted else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


class Chunk:
    """Frames that are their template with other texts, one or several. A document is made only for who needs one."""

    __slots__ = ("_document", "_piece", "_rewritable", "_start", "data", "template", "texts")

    def __init__(
        self,
        template: Template,
        texts: Sequence[str],
        data: Sequence[bytes],
        start: int,
        piece: Piece,
        *,
        rewritable: bool,
    ) -> None:
        """`data`: the bytes of each. `start`: where the text begins in its channel; `piece`: all of it."""
        self.template = template
        self.texts = texts
        self.data = data
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
        return Delta(self, (self._piece,), size, self.template.group, self if self._rewritable else (), several)

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
        texts, data = self.texts[first:last], self.data[first:last]
        piece = replace(self._piece, text="".join(texts))
        return Chunk(self.template, texts, data, self._start + start, piece, rewritable=self._rewritable)

    @property
    def document(self) -> Document:
        """One frame that says all of it."""
        if self._document is None:
            self._document = copied(self.template.frame)
            self._holder[self.template.key] = self.text
        return self._document

    @property
    def _holder(self) -> Any:
        holder: Any = self._document
        for step in self.template.way:
            holder = holder[step]
        return holder

    def __iter__(self) -> Iterator[Spot]:
        """Every string of that frame, and where it stands."""
        one, document = self.template, self.document
        for spot in one.others:
            yield Spot(spot.channel, spot.start, spot.text, spot.steps, document, spot.key)
        yield Spot(one.channel, self._start, self.text, one.steps, self._holder, one.key)


def document_of(frame: Any) -> Any:
    """A frame as a document, whatever it came as."""
    return frame.document if isinstance(frame, Chunk) else frame


def template(document: Document, data: bytes, delta: Delta) -> Template | None:
    """What the chunks after this one may look like; None where it says more than one running text."""
    frame = delta.frame
    if len(delta.pieces) != 1 or len(frame["choices"]) != 1 or not _is_flat(frame):
        return None
    (piece,), choice = delta.pieces, frame["choices"][0]
    if not CHOICE.issuperset(choice) or (found := _running(choice["delta"])) is None:
        return None
    way, steps, key, text = found
    if piece.text != text:
        return None
    if frame.get("usage") is not None or choice.get("finish_reason") is not None or piece.origin is not None:
        return None
    before = canonical.dump(key) + b":"
    mark = before + canonical.dump(text)
    if data.count(mark) != 1 or canonical.dump(document) != data:
        return None
    at = data.index(mark)
    others = [spot for spot in delta.spots if spot.channel != piece.channel]
    if any(spot.holder is not frame for spot in others):
        return None
    made = canonical.dump(frame)
    return Template(
        data[: at + len(before) + 1],
        data[at + len(mark) - 1 :],
        None if made == data else made,
        piece.channel,
        piece.place,
        ("choices", f"[{choice['index']}]", "delta", *steps),
        ("choices", 0, "delta", *way),
        key,
        tuple([spot._replace(holder=None) for spot in others]),
        delta.group,
    )


def _running(body: Document) -> tuple[tuple[str | int, ...], Steps, str, str] | None:
    """The one text of a message's part: the way to who holds it, its steps, its key, what it says; None: there is not one."""
    names = [
        name for name, value in body.items() if value is not None and (type(value) is not str or says(name, value))
    ]
    if len(names) != 1:
        return None
    (name,) = names
    value = body[name]
    if name in PAYLOAD_KEYS:  # whether it is text is told by each string anew
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
    rest = [*(v for k, v in frame.items() if k != "choices"), *(v for k, v in choice.items() if k != "delta")]
    return not any(isinstance(value, HOLDERS) and not isinstance(value, str) for value in rest)
