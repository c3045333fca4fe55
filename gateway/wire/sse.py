"""Server-sent events: bytes cut anywhere to events, and events to bytes in the one canonical form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

DONE = b"data: [DONE]\n\n"


class TooLong(ValueError):
    """One event is longer than may be held."""


class Event(NamedTuple):
    name: str  # "" or "message" for an ordinary one
    data: bytes


class Parser:
    """Reads every legal framing: LF, CR, CRLF, comments, multi-line data, any cut of the bytes.

    An event is what ends with a blank line; what is unfinished at the end of the stream is
    returned by `eof`, since some upstreams leave the last blank line out.
    """

    def __init__(self, max_event: int = 1_048_576) -> None:
        self._max = max_event  # bytes
        self._rest: list[bytes] = []  # of a line that has not ended yet
        self._rest_size = 0
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._first = True
        self._after_cr = False

    def feed(self, data: bytes) -> list[Event]:
        """Events that are complete with these bytes. Raises TooLong."""
        if self._after_cr and data:  # the LF of a CRLF that was cut between two reads
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if self._is_one(data):
            self._first = False
            return [Event("", data[6:-2])]
        if b"\n" not in data and b"\r" not in data:  # no line ends here: keep the read as it is
            return self._keep(data)
        buffer = b"".join((*self._rest, data))
        self._rest, self._rest_size = [], 0
        if self._first:
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        events: list[Event] = []
        if b"\r" in buffer:
            self._after_cr = buffer.endswith(b"\r")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif not self._data and not self._name and (end := buffer.rfind(b"\n\n")) >= 0:
            events = self._whole(buffer[:end])
            buffer = buffer[end + 2 :]
        lines = buffer.split(b"\n")
        self._keep(lines.pop())
        return [*events, *(event for line in lines if (event := self._line(line)) is not None)]

    def _is_one(self, data: bytes) -> bool:
        """Whether these bytes are one event of one line and nothing else, as most reads of a slow stream are."""
        return (
            data.startswith(b"data: ")
            and data.find(b"\n") == len(data) - 2
            and data.endswith(b"\n")
            and not (self._rest_size or self._data or self._name)
            and b"\r" not in data
            and len(data) - 7 <= self._max
        )

    def _whole(self, buffer: bytes) -> list[Event]:
        """Events that came as wholes, each of most a line by itself."""
        blocks = buffer.split(b"\n\n")
        alike = buffer.startswith(b"data: ") and buffer.count(b"\n\ndata: ") == len(blocks) - 1
        if alike and buffer.count(b"\n") == 2 * (len(blocks) - 1) and max(map(len, blocks)) - 5 <= self._max:
            return [Event("", block[6:]) for block in blocks]
        events: list[Event] = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block and len(block) - 5 <= self._max:
                events.append(Event("", block[6:]))
                continue
            lines = (*block.split(b"\n"), b"")
            events += [event for line in lines if (event := self._line(line)) is not None]
        return events

    def _keep(self, data: bytes) -> list[Event]:
        self._rest_size += len(data)
        if self._rest_size + self._size > self._max:
            raise TooLong
        self._rest.append(data)
        return []

    def eof(self) -> list[Event]:
        """What the stream left unfinished."""
        events = []
        rest = b"".join(self._rest)
        self._rest, self._rest_size = [], 0
        if rest and (event := self._line(rest)) is not None:
            events.append(event)
        if (event := self._dispatch()) is not None:
            events.append(event)
        return events

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value) + 1
            if self._size > self._max:
                raise TooLong
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        data, name = self._data, self._name
        self._data, self._name, self._size = [], "", 0
        return Event(name, b"\n".join(data)) if data else None


def frame(data: bytes, name: str = "") -> bytes:
    """One event; `name` is a plain word of ours, never an upstream's bytes."""
    if name:
        return b"event: " + name.encode("ascii") + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


def frames(data: Sequence[bytes]) -> bytes:
    """Several ordinary ones."""
    return b"data: " + b"\n\ndata: ".join(data) + b"\n\n"


def comment(text: str) -> bytes:
    return b": " + text.encode("ascii", "replace") + b"\n\n"
