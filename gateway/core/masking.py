"""Placeholders for values on their way out, and the values again on their way back, also in pieces.

A placeholder is a label and a few hex digits of a keyed hash of the conversation and the value: the
same value keeps it over the turns of a conversation, and says nothing to who does not hold the key.
The table of values lives as long as its request, and belongs to no other.
"""

from __future__ import annotations

import bisect
import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from gateway.core.edits import Edit, Edits
from gateway.core.terms import Action, Lane, Piece, Place, Side, Watch

DIGITS = 4  # hex digits of a placeholder; more where two values would share one
MOST = 64  # characters between the brackets of a placeholder

UNSEEN = frozenset({"invisible"})  # categories of what has no look

_NOT_NAME = re.compile(r"[^A-Z0-9]+")
_LOOSE = re.compile(r"[\s_-]+")
_WHOLE = re.compile(rf"(?:<|&lt;|\\u003[cC])([\w\s-]{{3,{MOST}}})(?:>|&gt;|\\u003[eE])")
_FORMING = re.compile(
    rf"(?:<|&lt;|\\u003[cC])[\w\s-]{{0,{MOST}}}(?:&(?:g(?:t)?)?|\\(?:u(?:0(?:0(?:3)?)?)?)?)?\Z"
    r"|&(?:l(?:t)?)?\Z|\\(?:u(?:0(?:0(?:3)?)?)?)?\Z"
)
_OURS = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_[0-9A-F]{4,}\Z")
_LINK = re.compile(r"//|\\\\|https?:|data:|www\.", re.IGNORECASE)
_TAIL = MOST + 16  # characters in which a placeholder may still be forming
_RUN = 2048  # characters of an unbroken run that are looked at for the beginning of a link


def label(category: str) -> str:
    """What stands for a category: capitals, digits, underscores."""
    return _NOT_NAME.sub("_", category.upper()).strip("_") or "REDACTED"


def redacted(category: str) -> str:
    """What stands where something was cut out; nothing where nothing could be seen."""
    return "" if category in UNSEEN else f"[{label(category)}]"


def _canonical(inner: str) -> str:
    """The one spelling of what stands between the brackets, whatever a model made of case and spacing."""
    return _LOOSE.sub("_", inner.strip()).upper()


def _normal(value: str) -> str:
    return "".join(unicodedata.normalize("NFKC", value).casefold().split())


class _Value(NamedTuple):
    text: str
    places: frozenset[Place]


class Masks:
    """The placeholders of one request."""

    def __init__(self, key: bytes, *scope: str) -> None:
        """`scope` stands for the conversation: its values have their placeholders to themselves."""
        self._secret, self._scope = key, scope
        self._values: dict[str, _Value] = {}  # by what stands between the brackets, in its one spelling
        self._names: dict[str, str] = {}  # normal value -> what stands between the brackets

    @cached_property
    def _key(self) -> bytes:
        """Made when the first placeholder is: most requests need none."""
        return hashlib.sha256(self._secret + "\0".join(self._scope).encode("utf-8", "replace")).digest()

    def placeholder(self, category: str, value: str) -> str:
        """What stands for a value; nothing is kept of it."""
        return f"<{self._name(category, value)}>"

    def hide(self, category: str, value: str, places: frozenset[Place]) -> str:
        """What stands for a value of the question, which stands again for the value in `places` of the answer."""
        name = self._name(category, value)
        canonical = _canonical(name)
        kept = self._values.get(canonical)
        self._names[_normal(value)] = name
        self._values[canonical] = _Value(kept.text, kept.places & places) if kept else _Value(value, places)
        return f"<{name}>"

    def knows(self, value: str) -> bool:
        """Whether it is a value of the question, which its client may read."""
        return _normal(value) in self._names

    def value(self, inner: str, place: Place) -> str | None:
        kept = self._values.get(_canonical(inner))
        return kept.text if kept is not None and place in kept.places else None

    def hidden(self, text: str) -> str:
        """A text with the placeholders in the place of the question's values."""
        for canonical, kept in sorted(self._values.items(), key=lambda one: -len(one[1].text)):
            name = self._names.get(_normal(kept.text), canonical)
            text = text.replace(kept.text, f"<{name}>")
        return text

    @property
    def places(self) -> frozenset[Place]:
        """Where any value stands again."""
        return frozenset(place for kept in self._values.values() for place in kept.places)

    def _name(self, category: str, value: str) -> str:
        normal = _normal(value)
        known = self._names.get(normal)
        if known is not None:
            return known
        digest = hmac.new(self._key, f"{category}\0{normal}".encode("utf-8", "replace"), "sha256").hexdigest()
        size = DIGITS
        while (name := f"{label(category)}_{digest[:size]}").upper() in self._values:
            size += 1
        return name


@dataclass(slots=True)
class _Channel:
    pending: str = ""  # it may still become a placeholder
    decided: int = 0  # characters of the channel before that
    run: str = ""  # what came last without white space or quotes between
    said: int = 0  # characters decided that are no white space
    wrapped: bool = False  # JSON: a value is escaped
    edits: list[Edit] = field(default_factory=list)
    beyond: list[int] = field(default_factory=list)  # where the restored channel is after each edit


class Restorer:
    """Gives one answer its values back: what a client reads, as it comes."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._places = masks.places
        self._channels: dict[str, _Channel] = {}
        self._of: dict[str, Place] = {}
        self._edits = Edits()
        self.watch = Watch("restore", Side.OUTPUT, self._places, Action.MASK, lane=Lane.EXACT, local=False)
        self.unknown = 0  # placeholders that the model made up

    def read(self, pieces: Iterable[Piece]) -> list[Piece]:
        """These pieces as the client will read them; what may become a placeholder comes later."""
        return [self._read(piece) if piece.place in self._places else piece for piece in pieces]

    def end(self) -> list[Piece]:
        """The answer is complete: what was no placeholder after all."""
        return [
            Piece(name, self._of[name], self._decide(name, channel, len(channel.pending)))
            for name, channel in self._channels.items()
            if channel.pending
        ]

    def decided(self, channels: Iterable[str]) -> dict[str, int]:
        return {name: self._channels[name].decided for name in channels if name in self._channels}

    def place(self, channel: str, at: int) -> int:
        """Where in the restored channel a place of the channel is; inside a placeholder: behind its value."""
        kept = self._channels.get(channel)
        if kept is None or not kept.edits:
            return at
        number = bisect.bisect_left(kept.edits, at, key=lambda edit: edit.start)
        if not number:
            return at
        return kept.beyond[number - 1] + max(0, at - kept.edits[number - 1].end)

    def stands(self, channel: str, start: int, end: int) -> bool:
        """Whether a value stands among these characters of the restored channel."""
        kept = self._channels.get(channel)
        if kept is None or not kept.edits:
            return False
        number = bisect.bisect_right(kept.beyond, start)
        return number < len(kept.edits) and kept.beyond[number] - len(kept.edits[number].text) < end

    def origin(self, channel: str, start: int, end: int) -> tuple[int, int]:
        """Which characters of the channel stand behind these of the restored one."""
        kept = self._channels.get(channel)
        if kept is None or not kept.edits:
            return start, end
        return self._back(kept, start, last=False), self._back(kept, end, last=True)

    def applied(self, channel: str, start: int, text: str) -> str:
        return self._edits.applied(channel, start, text)

    @staticmethod
    def _back(kept: _Channel, at: int, *, last: bool) -> int:
        number = bisect.bisect_left(kept.beyond, at) if last else bisect.bisect_right(kept.beyond, at)
        edit = kept.edits[number] if number < len(kept.edits) else None
        behind = kept.edits[number - 1].end - kept.beyond[number - 1] if number else 0
        if edit is not None and kept.beyond[number] - len(edit.text) < at:  # inside a value
            return edit.end if last else edit.start
        return at + behind

    def _read(self, piece: Piece) -> Piece:
        channel = self._channels.get(piece.channel)
        if channel is None:
            channel = self._channels[piece.channel] = _Channel()
            self._of[piece.channel] = piece.place
        channel.pending += piece.text
        if not channel.said and (head := channel.pending.lstrip()[:1]):
            channel.wrapped = head in "{[" and not piece.channel.endswith(">")
            channel.said = 1
        return replace(piece, text=self._found(piece.channel, channel, piece))

    def _found(self, name: str, channel: _Channel, piece: Piece) -> str:
        said: list[str] = []
        while (match := _WHOLE.search(channel.pending)) is not None:
            said.append(self._decide(name, channel, match.start()))
            said.append(self._restored(name, channel, match, piece.place))
        size = len(channel.pending)
        tail = max(0, size - _TAIL)
        forming = None if piece.closed else _FORMING.search(channel.pending, tail)
        said.append(self._decide(name, channel, forming.start() if forming else size))
        return "".join(said)

    def _decide(self, _name: str, channel: _Channel, size: int) -> str:
        """So many characters are no placeholder."""
        text, channel.pending = channel.pending[:size], channel.pending[size:]
        channel.decided += size
        channel.run = re.split(r"[ \"'`]", channel.run + text)[-1][-_RUN:]
        return text

    def _restored(self, name: str, channel: _Channel, match: re.Match[str], place: Place) -> str:
        size = len(match[0])
        value = self._masks.value(match[1], place)
        if value is None and _OURS.match(_canonical(match[1])):
            self.unknown += 1
        if value is None or _LINK.search(channel.run):  # a link would carry the value away
            return self._decide(name, channel, size)
        if channel.wrapped:
            value = json.dumps(value, ensure_ascii=False)[1:-1]
        start = channel.decided
        self._decide(name, channel, size)
        edit = Edit(start, start + size, value)
        at = self.place(name, start)
        channel.edits.append(edit)
        channel.beyond.append(at + len(value))
        self._edits.add(name, edit)
        return value
