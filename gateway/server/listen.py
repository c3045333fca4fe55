"""The sockets: aiohttp's low-level server with the limits it leaves to its user, and a clean end.

A client that does not finish its headers is cut; a malformed request gets OpenAI's error shape;
what aiohttp would log of it (header lines, keys among them) is never logged. SIGTERM drains.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.policy.warm import warm
from gateway.server.admin import Admin, watch_loop
from gateway.server.app import Gateway
from gateway.server.heap import give_back
from gateway.server.reload import Reloader
from gateway.server.siblings import Siblings
from gateway.settings import Settings
from gateway.wire import errors

log = structlog.get_logger()

HEAD_LIMIT = 65_536  # bytes of one header line; OpenAI documents 64 KiB for all
BACKLOG = 128
ADMIN_CONNECTIONS = 64
# What of a head needs to be read before anything is said.
SPECIAL = (b"transfer-encoding", b"expect:", b"upgrade", b"origin:", b"connection: close")
KEEPALIVE = 75.0  # seconds
GRACE_AFTER_DRAIN = 2.0  # seconds that cancelled requests get to end

_mute = logging.getLogger("gateway.muted")
_mute.addHandler(logging.NullHandler())
_mute.propagate = False


def is_whole(data: bytes) -> bool:
    """Whether these bytes are exactly one plain request that wants nothing special of its connection."""
    end = data.find(b"\r\n\r\n")
    head = data[:end].lower()
    if end < 0 or not head.startswith(b"post /") or head.count(b"content-length") != 1:
        return False
    if b" http/1.1\r\n" not in head or any(map(head.__contains__, SPECIAL)):
        return False
    _, found, rest = head.partition(b"\r\ncontent-length:")
    length = rest.partition(b"\r\n")[0].strip()
    return bool(found) and length.isdigit() and len(length) < 9 and end + 4 + int(length) == len(data)


class Few(list[Any]):
    """What waits on one connection, mostly nothing: an empty deque takes ten times the memory."""

    __slots__ = ()

    def popleft(self) -> Any:
        return self.pop(0)


class Connection(RequestHandler):
    """One client connection, with a deadline for every head and errors in OpenAI's shape."""

    __slots__ = ("_between", "_head_timeout", "_head_timer", "_shed")

    def __init__(self, manager: Any, *, head_timeout: float, shed: Callable[[], bytes | None], **kwargs: Any) -> None:
        """`shed` answers a whole request at once where it would be sent away anyway."""
        super().__init__(manager, **kwargs)
        self._messages: Any = Few()
        self._shed = shed
        self._between = True  # what came so far were whole requests, each by itself
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_timeout = head_timeout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._keepalive_handle is not None:  # before the first request there is no other to wait for
            self._keepalive_handle.cancel()
            self._keepalive_handle = None
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if not data:  # what has come before is to be read on; nothing new has come
            super().data_received(data)
            return
        heads = self._request_count
        self._between = self._between and is_whole(data)
        if self._between and self._idle and self._send_away():
            return
        super().data_received(data)
        if self._request_count != heads:
            self._stop_timer()
        elif self._head_timer is None and not self._request_in_progress:
            self._expect_head()  # the beginning of a further request

    def _send_away(self) -> bool:
        """Answer with 503 before anything is parsed, if that is what would come of it."""
        answer = self._shed()
        if answer is None or self.transport is None:
            return False
        self._stop_timer()
        self._expect_head()
        self.transport.write(answer)
        return True

    @property
    def _idle(self) -> bool:
        """Nothing is under way: the loop of requests waits for the next."""
        return self._waiter is not None and not self._waiter.done() and not self._force_close and not self._close

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(self._head_timeout, self._cut_if_no_head, self._request_count)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_if_no_head(self, heads: int) -> None:
        self._head_timer = None
        if self._request_count == heads and not self._request_in_progress:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that is not HTTP, or a fault of ours: said without quoting a byte of it."""
        log.warning("http_refused", status=status, error=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way and cannot be replaced")
        text = "The request is not valid HTTP." if status < 500 else "The gateway failed."
        kind = "invalid_request_error" if status < 500 else "server_error"
        body = errors.error_body(text, kind=kind, code="bad_http" if status < 500 else None, param=None)
        response = web.Response(status=status, body=body, content_type="application/json")
        response.force_close()
        return response


class Listener(web.Server):
    """aiohttp's server with our connections: no access log, no decompression, cancelled on hang-up."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        head_timeout: float,
        most: int,
        shed: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._shed = shed
        self._head_timeout = head_timeout
        self._most = most  # connections at a time; one more is closed at once

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._connections) > self._most:
            transport.abort()

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            head_timeout=self._head_timeout,
            shed=self._shed,
            loop=self._loop,
            access_log=None,
            logger=_mute,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
        )


async def serve(
    gateway: Gateway,
    started: Callable[[], None] | None = None,
    reloader: Reloader | None = None,
    siblings: Siblings | None = None,
) -> None:
    """Listen until SIGTERM or SIGINT, then drain: refuse new requests, finish those in flight, write their receipts."""
    if gateway.keeper is None:
        await _serve(gateway, started, reloader, siblings)
        return
    failed: OSError | None = None
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.keeper.run())
        try:
            await _serve(gateway, started, reloader, siblings)
        except OSError as error:  # told by itself, not as one of a group
            failed = error
        finally:
            gateway.keeper.close(GRACE_AFTER_DRAIN)
    if failed is not None:
        raise failed


async def _serve(
    gateway: Gateway, started: Callable[[], None] | None, reloader: Reloader | None, siblings: Siblings | None
) -> None:
    settings = gateway.settings
    # Generators of ours are closed by who began them, or have nothing to wait for at their end: the loop need not keep
    # a list of those that have begun.
    sys.set_asyncgen_hooks(None, None)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if reloader is not None:  # before anybody is told that there is something to reload
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)
    listener = Listener(
        gateway.handle, head_timeout=settings.header_timeout, most=settings.max_connections, shed=gateway.shed
    )
    runner = web.ServerRunner(listener)
    admin = web.ServerRunner(
        Listener(
            Admin(gateway, settings.admin_token, siblings).handle,
            head_timeout=settings.header_timeout,
            most=ADMIN_CONNECTIONS,
        )
    )
    await runner.setup()
    await admin.setup()
    try:
        shared = siblings is not None
        await _listen(runner, settings.host, settings.port, "OUTRIDER_PORT", shared=shared)
        if settings.admin_port:
            await _listen(admin, settings.admin_host, settings.admin_port, "OUTRIDER_ADMIN_PORT", shared=shared)
        log.info("listening", host=settings.host, port=settings.port)
        if started is not None:
            started()
        async with asyncio.TaskGroup() as group:
            lag = group.create_task(watch_loop(gateway))
            warming = group.create_task(_warm(gateway))
            line = group.create_task(siblings.run(gateway, stop.set)) if siblings is not None else None
            reloading = group.create_task(reloader.run(gateway)) if reloader is not None else None
            await stop.wait()
            lag.cancel()
            warming.cancel()
            if reloading is not None:
                reloading.cancel()
            await _drain(gateway, settings.drain)
            if line is not None:
                line.cancel()
    finally:
        await _end(gateway, runner)
        await admin.cleanup()


async def _warm(gateway: Gateway) -> None:
    await asyncio.to_thread(warm, gateway.policies)
    give_back()  # what compiling patterns took


class Taken(OSError):
    """An address that cannot be listened on; says which, and the setting that chooses another."""


def _taken(host: str, port: int, setting: str, error: OSError) -> Taken:
    return Taken(
        f"cannot listen on {host}:{port}: {error.strerror or error}. Is it taken? Choose another with {setting}."
    )


def reserve(settings: Settings) -> list[socket.socket]:
    """Sockets that keep the ports for several processes of ours, and for nobody else's. Raises Taken."""
    kept: list[socket.socket] = []
    asked = [(settings.host, settings.port, "OUTRIDER_PORT")]
    if settings.admin_port:
        asked.append((settings.admin_host, settings.admin_port, "OUTRIDER_ADMIN_PORT"))
    for host, port, setting in asked:
        try:
            kept += _reserved(host, port)
        except OSError as error:
            raise _taken(host, port, setting, error) from None
    return kept


def _reserved(host: str, port: int) -> list[socket.socket]:
    """Bound alone first, which fails where somebody listens, then so that others may join; never listening."""
    kept: list[socket.socket] = []
    flags = socket.AI_PASSIVE
    for family, kind, proto, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags):
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            sock = socket.socket(family, kind, proto)
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            if option == socket.SO_REUSEPORT:
                kept.append(sock)
            else:
                sock.close()
    return kept


async def _listen(runner: web.ServerRunner, host: str, port: int, setting: str, *, shared: bool) -> None:
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_port=shared or None).start()
    except OSError as error:
        raise _taken(host, port, setting, error) from None


async def _drain(gateway: Gateway, within: float) -> None:
    gateway.draining = True
    log.info("draining", in_flight=gateway.in_flight, grace=within)
    try:
        async with asyncio.timeout(within):
            while gateway.in_flight:
                await asyncio.sleep(0.02)
    except TimeoutError:
        log.warning("drain_cut", in_flight=gateway.in_flight)


async def _end(gateway: Gateway, runner: web.ServerRunner) -> None:
    """Cut what is left, then close the upstreams."""
    assert runner.server is not None
    for site in list(runner.sites):
        await site.stop()
    for connection in list(runner.server.connections):
        task = connection._task_handler
        connection.force_close()
        if task is not None:
            task.cancel()
    try:
        async with asyncio.timeout(GRACE_AFTER_DRAIN):
            while gateway.in_flight:
                await asyncio.sleep(0.01)
    except TimeoutError:
        pass
    await gateway.afterwards.drain(GRACE_AFTER_DRAIN)
    await runner.cleanup()
    await gateway.close()
