"""Follows one answer and says every text that it adds, however often and in whatever pieces it comes.

A *channel* is one running text: choice 0's content, an item's arguments. A string relates to its
channel in one of three manners: it goes on (a delta), it says the whole again (`.done` and
`completed` repeat what the deltas said), or it is said once (ids, names). What is repeated is not
read twice, but its frame waits for the verdict on the text that it repeats; what only pretends to
repeat is a text of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

from gateway.core.pieces import joined
from gateway.core.terms import Delta, Document, Piece, Place, Spot
from gateway.wire import walk
from gateway.wire.canonical import Malformed, parse_answer
from gateway.wire.coats import Coat
from gateway.wire.rewrite import copied
from gateway.wire.walk import MAX_DECODED, Leaf, Steps, hidden, hides, render

FEW = 4  # pieces of one frame: mostly each is of another channel
MAX_CHANNELS = 10_000  # of one stream
MOST_PLACES, LONGEST_PLACE = 4096, 80  # paths that are kept for the next answer, and characters of one


class UpstreamErrorFrame(ValueError):
    """The upstream sent an error object where an answer was expected."""


@dataclass(slots=True)
class Raw:
    """A part of an answer that is not JSON: its media type, rendered anew, and its bytes."""

    media: str
    data: bytes


class Manner(Enum):
    RUNS = auto()
    JOINS = auto()  # goes on, and may as well be complete: a field that nobody has heard of
    WHOLE = auto()
    ONCE = auto()


class Said(NamedTuple):
    leaf: Leaf
    place: Place
    manner: Manner


class Reader:
    """Reads one upstream answer, frame by frame or whole, and keeps what its end needs."""

    repeats = False  # texts are said again as wholes, so what was said is kept
    marks_again = False  # a frame may overtake the one that said the same first, so it is marked as well

    def __init__(self, asked: Document, *, stream: bool) -> None:
        self.asked = asked  # the request that is answered
        self.stream = stream
        self.usage: Document | None = None
        self.rewritable = False  # keep where the texts of each frame stand
        self._spots: list[Spot] = []
        self._lengths: dict[str, int] = {}  # of rewritable channels
        self._once: dict[tuple[str, str], int] = {}  # what was said once, and where in its channel
        self._wrapped: dict[str, _Wrapped] = {}  # by channel
        self._running: dict[str, _Running] = {}  # by channel
        self._unread: dict[str, None] = {}  # channels; an empty set would be larger than what most readers keep
        self._ended = False

    @property
    def finished(self) -> bool:
        """The frames themselves say that the answer is complete."""
        return self._ended or not self.stream

    @property
    def ended(self) -> bool:
        """A frame has come after which nothing follows."""
        return self._ended

    def fit(self, document: Document) -> Document:
        """The frame as a client may have it. Raises Malformed, UpstreamErrorFrame."""
        raise NotImplementedError

    def said(self, frame: Document) -> Iterator[Said]:
        """Every string of a frame with its place and manner."""
        raise NotImplementedError

    def delta(self, document: Document, size: int = 0, *, ours: bool = False) -> Delta:
        """One frame, with every text that it adds. Raises Malformed, UpstreamErrorFrame.

        `ours`: nobody else holds any of the document, so what is cut out may be cut out of it.
        """
        frame = self.fit(copied(document) if self.rewritable and not ours else document)
        if (known := self.known(frame, size)) is not None:
            return known
        pieces = self._pieces(frame)
        if len(pieces) > FEW:
            pieces = joined(pieces)
        if not self.rewritable:
            return Delta(frame, tuple(pieces), size, self.group(frame))
        spots, self._spots = tuple(self._spots), []
        return Delta(frame, tuple(pieces), size, self.group(frame), spots)

    def known(self, frame: Document, size: int) -> Delta | None:
        """A frame of a shape whose strings are known without a walk, as the walk would read it; None: it has to be walked."""
        return None

    def event(self, data: bytes) -> Delta:
        """One event of a stream, as `delta` reads it."""
        return self.delta(parse_answer(data), len(data))

    def events(self, data: Sequence[bytes]) -> Iterator[Delta]:
        """Events that came together, each as it is read or several as one, in their order."""
        return map(self.event, data)

    def group(self, frame: Document) -> str | None:
        """The frames that this one keeps its order with; None: all."""
        return None

    def raw(self, media: str, data: bytes) -> Delta:
        """A part of an answer that is not JSON. Raises Malformed where none is expected."""
        raise Malformed("it is not JSON")

    def closing(self) -> tuple[Piece, ...]:
        """Texts that are only readable at the end: what JSON or base64 says once it is complete."""
        return tuple(
            Piece(channel + step, kept.place, text, origin=Coat(channel, kept.text, step))
            for channel, kept in self._wrapped.items()
            if kept.kept
            for step, text in hidden(kept.text)
        )

    def _pieces(self, frame: Document) -> list[Piece]:
        pieces: list[Piece] = []
        wholes: dict[tuple[str, Place], list[Leaf]] = {}
        for leaf, place, manner in self.said(frame):
            channel, payload = _PLACES.get(leaf.steps) or _place(leaf.steps)
            if payload and place not in _RUNNING_TEXT:
                told = walk.coded(leaf)
                if told.unread:
                    pieces.append(self._left_unread(channel, told.unread))
                if not told.is_text:
                    continue
            if manner is Manner.RUNS:
                pieces.append(self._run(channel, place, leaf.text, (leaf,)))
            elif manner is Manner.JOINS:
                start = self._spot(channel, (leaf,))
                pieces.append(Piece(channel, place, leaf.text, fixed=leaf.holder is None))
                for step, other in hidden(leaf.text) if hides(leaf.text) else ():
                    origin = Coat(channel, leaf.text, step, start, lead=1)
                    pieces.append(Piece(channel + step, place, f"\n{other}", closed=True, origin=origin))
            elif manner is Manner.WHOLE:
                wholes.setdefault((channel, place), []).append(leaf)
            else:
                pieces += self._say_once(channel, place, leaf.text, (leaf,))
        for (channel, place), leaves in wholes.items():
            pieces += self._again(channel, place, "".join(leaf.text for leaf in leaves), leaves)
        return pieces

    def _spot(self, channel: str, leaves: Sequence[Leaf], start: int | None = None, ahead: int = 0) -> int:
        """Keep where these strings stand, one after the other from `start` of their channel; absent: its end."""
        if not self.rewritable:
            return 0
        length = self._lengths.get(channel, 0)
        first = at = length + ahead if start is None else start
        for leaf in leaves:
            if leaf.holder is not None:
                self._spots.append(Spot(channel, at, leaf.text, leaf.steps, leaf.holder, leaf.key))
            at += len(leaf.text)
        self._lengths[channel] = max(length, at)
        return first

    def _left_unread(self, channel: str, what: str) -> Piece:
        new = channel not in self._unread
        self._unread[channel] = None
        return Piece(channel, Place.UNREAD_OUTPUT, what if new else "", fixed=True)

    def _run(self, channel: str, place: Place, text: str, leaves: Sequence[Leaf], start: int | None = None) -> Piece:
        """Go on with a channel, and keep what may turn out to be wrapped: arguments, JSON, base64.

        Without leaves, where it stands is known elsewhere.
        """
        if self.repeats:
            kept_text = self._running.setdefault(channel, _Running(place))
            if kept_text.place is not place:  # the same place of the answer under another name
                channel = f"{channel}<{place}>"
                kept_text = self._running.setdefault(channel, _Running(place))
            kept_text.add(text)
        kept = self._wrapped.get(channel)
        if kept is None:
            if self.stream and len(self._wrapped) >= MAX_CHANNELS:
                raise Malformed("it has too many parts")
            kept = self._wrapped[channel] = _Wrapped(place)
        kept.add(text)
        if not leaves:
            return Piece(channel, place, text, wrapped=kept.kept)
        self._spot(channel, leaves, start)
        fixed = leaves[0].holder is None  # strings of one channel stand alike
        return Piece(channel, place, text, wrapped=kept.kept, fixed=fixed)

    def _say_once(self, channel: str, place: Place, text: str, leaves: Sequence[Leaf]) -> list[Piece]:
        start = self._once.get((channel, text))
        again = start is not None
        start = self._once[channel, text] = self._spot(channel, leaves, start, ahead=1)
        if again and not self.marks_again:
            return []  # its frame waits behind the one that said it first
        fixed = leaves[0].holder is None  # strings of one channel stand alike
        pieces = [Piece(channel, place, "" if again else f"\n{text}", closed=True, fixed=fixed)]
        for step, other in hidden(text) if hides(text) else ():
            origin = Coat(channel, text, step, start, lead=1)
            pieces.append(Piece(channel + step, place, "" if again else f"\n{other}", closed=True, origin=origin))
        return pieces

    def _again(self, channel: str, place: Place, text: str, leaves: Sequence[Leaf]) -> list[Piece]:
        known = self._running.get(channel)
        if known is None or (known.place is place and known.begins(text)):
            return [self._run(channel, place, text[known.size :] if known else text, leaves, 0)]
        wrapped = channel in self._wrapped and self._wrapped[channel].kept
        waits = Piece(channel, place, "", wrapped=wrapped)  # its frame waits for what it claims to repeat
        return [waits, *self._say_once(f"{channel}<again>", place, text, leaves)]


_PLACES: dict[
    Steps, tuple[str, bool]
] = {}  # of the paths that all answers have: channel, and whether it may be a payload


def _place(steps: Steps) -> tuple[str, bool]:
    channel = render(steps)
    found = channel, walk.name_of(steps) in walk.PAYLOAD_KEYS
    if len(_PLACES) < MOST_PLACES and len(channel) <= LONGEST_PLACE:
        _PLACES[steps] = found
    return found


# Ordinary text of a model: never a payload, whatever it looks like.
_RUNNING_TEXT = frozenset({Place.CONTENT, Place.REASONING, Place.REFUSAL, Place.TRANSCRIPT, Place.TOOL_CALL})


class _Running:
    """What one channel has said so far, for a comparison that costs no more than what is compared."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.size = 0
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        self.size += len(text)
        self._texts.append(text)

    def begins(self, text: str) -> bool:
        """Whether `text` is what was said, or that and more."""
        if len(text) < self.size:
            return False
        self._texts = ["".join(self._texts)]
        return text.startswith(self._texts[0])


class _Wrapped:
    """One channel that may be JSON or base64 as a whole, kept until its end; nothing is kept of one that is not."""

    __slots__ = ("_json", "_size", "_spaced", "_texts", "kept", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.kept = True  # it may still be JSON or base64
        self._json = place is Place.TOOL_CALL
        self._size = 0
        self._spaced = False  # it ends with white space
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        if not self.kept:
            return
        if not self._size and (start := text.lstrip()[:1]):
            self._json = self._json or start in "{["
        if not self._json and not self._may_be_base64(text):
            self.kept = False
            self._texts.clear()
            return
        self._size += len(text) if text.strip() or self._size else 0
        if self._size > MAX_DECODED:
            raise Malformed("a wrapped text is too long to be read")
        self._texts.append(text)

    def _may_be_base64(self, text: str) -> bool:
        """One run without white space inside, as far as it has come."""
        bare = text.strip()
        if bare and self._size and (self._spaced or text[0].isspace()):
            return False
        self._spaced = text[-1:].isspace() if text else self._spaced
        return _BASE64.fullmatch(bare) is not None

    @property
    def text(self) -> str:
        """The whole, if it may be wrapped."""
        return "".join(self._texts) if self.kept else ""


_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}", re.ASCII)


def grown(_steps: Steps, _position: int, item: Any) -> str:
    """List elements are told apart by their own `index`; without one they continue each other."""
    index = item.get("index") if isinstance(item, dict) else None
    return f"[{index}]" if type(index) is int else "[]"
