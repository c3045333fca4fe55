"""HTTP/1.1 as a client speaks it: the bytes before a body, and an answer read from whatever pieces it comes in.

The rule: what is given out as body is of the answer's body, whatever comes; and a connection is good for
another request only when the answer ended where its own framing says, with nothing behind it. The parser
is llhttp in its strict mode; what that leaves open (codings, versions, sizes) is narrowed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import httptools
from yarl import URL

HEAD_LIMIT: Final = 65_536  # bytes of all heads of one answer, those with 1xx included
MOST_FIELDS: Final = 256  # header fields of one answer, trailers included
FRAMING: Final = 16  # bytes of framing for each byte of a chunked body, beyond HEAD_LIMIT
_OPENING: Final = b"HTTP/"
_END: Final = b"\r\n\r\n"
_LAST: Final = b"0\r\n\r\n"
_DECIDE_THE_BODY: Final = frozenset({"content-length", "transfer-encoding"})
_BODILESS: Final = frozenset({204, 304})


class Broken(Exception):
    """These bytes are no answer that can be relied on."""


class Place(NamedTuple):
    """Where a connection goes."""

    host: str
    port: int
    tls: bool


class Line(NamedTuple):
    """What every request to one URL begins with."""

    place: Place
    start: bytes


def line(method: str, address: str) -> Line:
    """Raises ValueError when no request can be made of it."""
    url = URL(address, encoded=True)  # as it was signed
    if url.scheme not in {"http", "https"} or url.raw_host is None or url.port is None:
        raise ValueError("no http URL")
    start = f"{method} {url.raw_path_qs} HTTP/1.1\r\nhost: {url.host_port_subcomponent}\r\n"
    if not address.isprintable() or " " in address:
        raise ValueError("a URL holds no blanks and no control characters")
    return Line(Place(url.raw_host, url.port, url.scheme == "https"), start.encode())


def head(start: bytes, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """All of a message before its body, `start` being its first lines. Raises ValueError when a header would break it."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not fields.count("\r") == fields.count("\n") == len(headers) or "\0" in fields:
        raise ValueError("a header holds no control characters")
    if body is None:
        return b"%b%b\r\n" % (start, fields.encode())
    return b"%b%bcontent-length: %d\r\n\r\n" % (start, fields.encode(), len(body))


class Answer:
    """The answer to one request. What of its body has come lies here until it is taken."""

    def __init__(self) -> None:
        self.begun = False  # anything has come
        self.headed = False  # status and headers are those of the answer
        self.complete = False
        self.reusable = False  # the connection, once the answer is complete
        self.status = 0
        self.headers: dict[str, str] = {}
        self.held = 0  # bytes that wait to be taken
        self._parts: list[bytes] = []
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._opening = b""  # the first bytes of the head that is being read
        self._tail = b""  # its last ones, where its end may have begun
        self._seen = 0  # bytes of heads
        self._fields = 0
        self._over = False  # the parser has seen the end of a head
        self._keeps = False
        self._behind = False  # something follows the answer
        self._left = 0  # bytes of the body that are still to come
        self._by = Answer._counted  # how the body is read
        self._framing = HEAD_LIMIT  # bytes that the framing of chunks may still take

    def take(self) -> bytes:
        parts, self._parts, self.held = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def feed(self, data: bytes) -> None:
        """Raises Broken; what was read of the body before is of it all the same."""
        self.begun = True
        if not self.headed:
            data = self._heads(data)
        if not data:
            return
        if self.complete:
            self.reusable = False
        else:
            self._by(self, data)

    def end(self) -> None:
        """Nothing more will come. Raises Broken unless the answer is whole."""
        self.reusable = False
        if self.headed and self._by is Answer._unbounded:
            self.complete = True
        if not self.complete:
            raise Broken

    def stop(self) -> None:
        """Nothing more is parsed. The parser knows the answer: apart from it, both go without the garbage collector."""
        self._parser = None

    def _heads(self, data: bytes) -> bytes:
        """Reads heads until the one that counts; gives back what follows it."""
        while data and not self.headed:
            self._open(data)
            known = self._tail
            found = (known + data if known else data).find(_END)
            cut = len(data) if found < 0 else found - len(known) + len(_END)
            self._parse(data[:cut])
            self._tail = (known + data)[-3:] if found < 0 else b""
            if self._over != (found >= 0):
                raise Broken
            data = data[cut:]
            if self._over:
                self._close()
        return data

    def _open(self, data: bytes) -> None:
        if len(self._opening) < len(_OPENING):
            self._opening = (self._opening + data[:5])[:5]
            if not _OPENING.startswith(self._opening):
                raise Broken

    def _parse(self, data: bytes) -> None:
        self._seen += len(data)
        if self._seen > HEAD_LIMIT:
            raise Broken
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise Broken from None

    def _close(self) -> None:
        """The end of a head: of the answer's own, or of one that only says that it is on its way."""
        assert self._parser is not None
        version = self._parser.get_http_version()
        if self.status < 100 or self.status == 101 or version not in {"1.1", "1.0"}:
            raise Broken
        if self.status >= 200:
            self.headed = True
            self._frame(version)
            if self._by is not Answer._chunked:
                self.stop()
            return
        self.headers.clear()
        self._opening = b""
        self._over = False

    def _frame(self, version: str) -> None:
        """How the body ends, and whether the connection is good for more after that."""
        coding, length = self.headers.get("transfer-encoding"), self.headers.get("content-length")
        self.reusable = self._keeps
        if self.status in _BODILESS:
            self.complete = True
            self.reusable = self._keeps and coding is None and length in {None, "0"}
        elif coding is not None:
            if coding.lower() != "chunked":
                raise Broken
            self._by = Answer._chunked
            self.reusable = self._keeps and version == "1.1"
        elif length is not None:
            self._left = int(length)  # the parser has seen to its digits
            self.complete = self._left == 0
        else:
            self._by = Answer._unbounded

    def _counted(self, data: bytes) -> None:
        if len(data) > self._left:
            data = data[: self._left]
            self.reusable = False
        self._left -= len(data)
        self.complete = self._left == 0
        self._keep(data)

    def _unbounded(self, data: bytes) -> None:
        self._keep(data)

    def _chunked(self, data: bytes) -> None:
        assert self._parser is not None
        before = self.held
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.complete:
                raise Broken from None
            self._behind = True
        if self.complete and (self._behind or not data.endswith(_LAST)):
            self.reusable = False  # when in doubt, too: line ends behind an answer go unseen by the parser
        body = self.held - before
        self._framing += FRAMING * body - (len(data) - body)
        if self._framing < 0:
            raise Broken
        if self.complete:
            self.stop()

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self.held += len(data)

    # what the parser calls

    def on_message_begin(self) -> None:
        self._behind = self.headed

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > MOST_FIELDS:
            raise Broken
        if self.headed:
            return  # a trailer
        key = name.decode("latin-1").lower()
        if key in self.headers and key in _DECIDE_THE_BODY:
            raise Broken
        self.headers.setdefault(key, value.decode("latin-1").strip(" \t"))

    def on_headers_complete(self) -> None:
        if not self.headed and self._parser is not None:
            self._over = True
            self.status = self._parser.get_status_code()
            self._keeps = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if not self.headed:
            raise Broken  # the parser has seen another end of the head
        if not self.complete:
            self._keep(data)

    def on_message_complete(self) -> None:
        if self.headed:
            self.complete = True
