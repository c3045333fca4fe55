"""A chunk that is the one before with another text: read by comparing bytes instead of parsing and walking it again.

The bytes before and after the text are those of a chunk that was read in full, and the text holds nothing that JSON
could read in another way (no quote, no backslash, no control character), so the document can only be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.core.terms import Delta, Document, Place, Spot
from gateway.wire import canonical
from gateway.wire.walk import HOLDERS, Steps

CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs"})
BEFORE = b'"delta":{"content":'


class Template(NamedTuple):
    """A chunk without its text."""

    head: bytes  # up to the text, its opening quote included
    tail: bytes
    frame: Document
    channel: str
    place: Place
    steps: Steps
    others: tuple[Spot, ...]  # strings of the frame itself that stand in every such chunk
    group: str | None
    faithful: bool  # its bytes are those of its frame, so that they may go on as they came

    def text(self, data: bytes) -> str | None:
        """The text of a chunk that fits; None for any other."""
        if not (data.startswith(self.head) and data.endswith(self.tail)):
            return None
        middle = data[len(self.head) : len(data) - len(self.tail)]
        if not middle or b'"' in middle or b"\\" in middle or len(data) < len(self.head) + len(self.tail):
            return None
        try:
            text = middle.decode()
        except UnicodeDecodeError:
            return None
        return text if text.isprintable() else None  # what is not, control characters among it, is read in full


class Chunk:
    """A frame that is its template with another text. A document is made of it only for who needs one."""

    __slots__ = ("_document", "_start", "data", "template", "text")

    def __init__(self, template: Template, text: str, data: bytes, start: int) -> None:
        """`start`: where the text begins in its channel."""
        self.template = template
        self.text = text
        self.data = data
        self._start = start
        self._document: Document | None = None

    @property
    def document(self) -> Document:
        if self._document is None:
            frame = self.template.frame
            self._document = {**frame, "choices": [{**frame["choices"][0], "delta": {"content": self.text}}]}
        return self._document

    def __iter__(self) -> Iterator[Spot]:
        """Every string of it, and where it stands."""
        one, document = self.template, self.document
        for spot in one.others:
            yield Spot(spot.channel, spot.start, spot.text, spot.steps, document, spot.key)
        holder = document["choices"][0]["delta"]
        yield Spot(one.channel, self._start, self.text, one.steps, holder, "content")


def document_of(frame: Any) -> Any:
    """A frame as a document, whatever it came as."""
    return frame.document if isinstance(frame, Chunk) else frame


def template(document: Document, data: bytes, delta: Delta) -> Template | None:
    """What the chunks after this one may look like; None where it says more than one running text."""
    frame = delta.frame
    if len(delta.pieces) != 1 or len(frame["choices"]) != 1 or not _is_flat(frame):
        return None
    (piece,), choice = delta.pieces, frame["choices"][0]
    text = choice["delta"].get("content")
    if not CHOICE.issuperset(choice) or list(choice["delta"]) != ["content"] or piece.text != text:
        return None
    if frame.get("usage") is not None or choice.get("finish_reason") is not None or piece.origin is not None:
        return None
    mark = BEFORE + canonical.dump(text)
    if data.count(mark) != 1 or canonical.dump(document) != data:
        return None
    at = data.index(mark)
    others = tuple(spot for spot in delta.spots if spot.channel != piece.channel)
    if any(spot.holder is not frame for spot in others):
        return None
    steps = ("choices", f"[{choice['index']}]", "delta", "content")
    return Template(
        data[: at + len(BEFORE) + 1],
        data[at + len(mark) - 1 :],
        frame,
        piece.channel,
        piece.place,
        steps,
        others,
        delta.group,
        canonical.dump(frame) == data,
    )


def _is_flat(frame: Document) -> bool:
    """Besides the text it holds nothing that another frame could share with it and change."""
    (choice,) = frame["choices"]
    rest = [*(v for k, v in frame.items() if k != "choices"), *(v for k, v in choice.items() if k != "delta")]
    return not any(isinstance(value, HOLDERS) and not isinstance(value, str) for value in rest)
