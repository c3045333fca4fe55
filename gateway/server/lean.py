"""The lean client: HTTP/1.1 over connections of our own, kept for each place, with no task behind a call.

A request goes again only if the connection had rested and was closed before a byte of an answer came: the
other side had closed it before it could have read the request.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import aiohappyeyeballs

from gateway.server.calling import Late, Request, Unreachable, Unreadable
from gateway.server.connection import Connection
from gateway.server.trust import verifying
from gateway.wire import http1

REST = 15.0  # seconds that a connection may rest before it is closed
MOST_RESTING = 256  # connections to one place
MOST_LINES = 1024  # URLs whose request lines are kept
RESOLVED = 60.0  # seconds that the addresses of a name are kept
_Addresses = list[aiohappyeyeballs.AddrInfoType]


class LeanAnswer:
    """One answer and the connection that it comes over, until that is given back."""

    __slots__ = ("_answer", "_connection", "media", "status")

    def __init__(self, connection: Connection, answer: http1.Answer) -> None:
        self._connection: Connection | None = connection
        self._answer = answer
        self.status = answer.status
        self.media = self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    def forget_headers(self) -> None:
        self._answer.headers = {}

    @property
    def ended(self) -> bool:
        return self._connection is not None and self._connection.drained

    def read(self, until: float) -> Coroutine[Any, Any, bytes]:
        assert self._connection is not None
        return self._connection.read(until)

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class LeanClient:
    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], http1.Line] = {}
        self._addresses: dict[http1.Place, tuple[float, _Addresses]] = {}
        self._resting: dict[http1.Place, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        for connection in tuple(self._open):
            connection.abort()
        if self._sweep is not None:
            self._sweep.cancel()

    async def send(self, request: Request, until: float) -> LeanAnswer:
        try:
            line = self._line(request.method, request.url)
            head = http1.head(line.start, request.headers, request.body)
        except ValueError:
            raise Unreadable from None
        rested = self._rested(line.place)
        if rested is not None:
            try:
                return await _ask(rested, head, request.body, until)
            except Unreachable:
                if rested.begun or self._closed:
                    raise
        connection = await self._connect(line.place, until, request.connect)
        return await _ask(connection, head, request.body, until)

    def _line(self, method: str, url: str) -> http1.Line:
        key = (method, url)
        if (found := self._lines.get(key)) is None:
            if len(self._lines) >= MOST_LINES:
                self._lines.clear()
            found = self._lines[key] = http1.line(method, url)
        return found

    # connections that rest

    def _rested(self, place: http1.Place) -> Connection | None:
        """The one that rested last: it is the likeliest to be open still."""
        resting = self._resting.get(place)
        while resting:
            connection = resting.pop()
            if connection.quiet and time.monotonic() - connection.since < REST:
                return connection
            connection.abort()
        return None

    def rest(self, connection: Connection) -> None:
        resting = self._resting.setdefault(connection.place, [])
        if len(resting) >= MOST_RESTING:
            connection.abort()
            return
        resting.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(REST, self._sweep_up)

    def forget(self, connection: Connection) -> None:
        self._open.discard(connection)

    def _sweep_up(self) -> None:
        self._sweep = None
        old = time.monotonic() - REST
        for place, resting in list(self._resting.items()):
            for connection in resting:
                if connection.since <= old:
                    connection.abort()
            kept = [connection for connection in resting if connection.open]
            if kept:
                self._resting[place] = kept
            else:
                del self._resting[place]
        if self._resting:
            self._sweep = asyncio.get_running_loop().call_later(REST, self._sweep_up)

    # new connections

    async def _connect(self, place: http1.Place, until: float, connect: float) -> Connection:
        if self._closed:
            raise Unreachable
        now = time.monotonic()
        try:
            async with asyncio.timeout(min(until - now, connect)):
                return await self._opened(place)
        except TimeoutError:
            raise Late(connecting=True) from None
        except OSError:
            self._addresses.pop(place, None)
            raise Unreachable from None

    async def _opened(self, place: http1.Place) -> Connection:
        loop = asyncio.get_running_loop()
        sock = await aiohappyeyeballs.start_connection(
            await self._resolved(place), happy_eyeballs_delay=0.25, interleave=1, loop=loop
        )
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(place, self),
                sock=sock,
                ssl=verifying() if place.tls else None,
                server_hostname=place.host if place.tls else None,
            )
        except BaseException:
            sock.close()
            raise
        if self._closed:
            connection.abort()
            raise ConnectionAbortedError
        self._open.add(connection)
        return connection

    async def _resolved(self, place: http1.Place) -> _Addresses:
        kept_until, found = self._addresses.get(place, (0.0, []))
        if time.monotonic() >= kept_until:
            loop = asyncio.get_running_loop()
            found = list(await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM))
            self._addresses[place] = (time.monotonic() + RESOLVED, found)
        return found


async def _ask(connection: Connection, head: bytes, body: bytes | None, until: float) -> LeanAnswer:
    try:
        connection.ask(head, body)
        return LeanAnswer(connection, await connection.headed(until))
    except BaseException:
        connection.abort()
        raise
