"""A whole answer in one write, or a stream piece by piece, without what the server works out for answers of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time
from multidict import CIMultiDict

from gateway.server.connection import COPIED
from gateway.wire import http1

AT_ONCE = 32_768  # bytes that may wait to be sent before a write waits as well: half of what the loop lets gather
REASONS = {status.value: status.phrase for status in HTTPStatus}


class Answered(web.StreamResponse):
    """What the server is told of an answer that is out already: there is nothing left to do but to keep the connection, or not."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._eof_sent = True
        self._keep_alive = keep_alive


STAYS, CLOSES = Answered(keep_alive=True), Answered(keep_alive=False)
CLOSE = {"connection": "close"}


def answered(http: web.BaseRequest) -> Answered | None:
    """What the server will be told of an answer that is written here; None: another HTTP than 1.1, which is not."""
    if http.version != HttpVersion11:
        return None
    return STAYS if http.keep_alive else CLOSES


def say(http: web.BaseRequest, status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Write the answer to a request of HTTP/1.1 other than HEAD. `headers`: with the content type.

    False: the client is gone.
    """
    start = f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\ndate: {rfc822_formatted_time()}\r\n"
    head = http1.head(start.encode(), headers if http.keep_alive else {**headers, **CLOSE}, body)
    transport, writer = http.transport, http.writer
    if transport is None or transport.is_closing():
        return False
    writer.output_size += len(head) + len(body)  # something is out: no other answer may follow
    if len(body) > COPIED:
        transport.writelines((head, body))
    else:
        transport.write(head + body)
    return True


async def begin(http: web.BaseRequest, headers: Mapping[str, str]) -> None:
    """Begin a stream with status 200, as `say`; the head goes with the first bytes that are written to `http.writer`."""
    http.writer.enable_chunking()
    head = CIMultiDict(headers if http.keep_alive else {**headers, **CLOSE})
    head["transfer-encoding"] = "chunked"
    head["date"] = rfc822_formatted_time()
    await http.writer.write_headers("HTTP/1.1 200 OK", head)


def go_on(http: web.BaseRequest, data: bytes) -> bool:
    """Write the next piece of such a stream, once its head is out. False: it has to wait, or the client is gone."""
    transport = http.transport
    if transport is None or transport.is_closing() or http.protocol.writing_paused:
        return False
    if not data:  # which would be the end of the stream
        return True
    if transport.get_write_buffer_size() + len(data) >= AT_ONCE:
        return False
    http.writer.buffer_size += len(
        data
    )  # the server's writer waits for the client by what was written since it last did
    http.writer.output_size += len(data)
    transport.write(b"%x\r\n%b\r\n" % (len(data), data))
    return True
