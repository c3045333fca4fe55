"""One connection of the lean client: a request out, its answer in, no task of its own.

Whoever waits, waits on one future; one timer stands behind it and is moved only when it would ring
too late. Reading pauses while more lies here than one is likely to take at once.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Awaitable
from typing import Protocol, cast

from gateway.server.calling import BrokenOff, CallLost, Late, Unreachable, Unreadable
from gateway.wire import http1

MOST_HELD = 131_072  # bytes of an answer that lie here before reading pauses
COPIED = 16_384  # bytes of a body up to which one copy is cheaper than two writes
LINGER = 1.0  # seconds that the end of an answer may take which nobody reads any more


class Owner(Protocol):
    """Who keeps connections."""

    def rest(self, connection: Connection) -> None:
        """It is good for another request."""
        ...

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        ...


class Connection(asyncio.Protocol):
    """To one place."""

    def __init__(self, place: http1.Place, owner: Owner) -> None:
        self.place = place
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._lost: CallLost | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._until = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._rings = 0.0
        self._lingers = False
        self.answer: http1.Answer | None = None  # None: it rests
        self.since = 0.0  # when it began to rest

    @property
    def open(self) -> bool:
        return self._transport is not None

    @property
    def quiet(self) -> bool:
        """It is open, and nothing has come while it rested: not its end, not what nobody asked for."""
        if self._transport is None:
            return False
        arrivals = select.poll()  # sees what the loop has not got round to yet
        arrivals.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not arrivals.poll(0)

    @property
    def begun(self) -> bool:
        """Something of an answer has come."""
        return self.answer is not None and self.answer.begun

    @property
    def drained(self) -> bool:
        """All of an answer has come and was taken."""
        return self.answer is not None and self.answer.complete and not self.answer.held

    def ask(self, head: bytes, body: bytes | None) -> None:
        """Raises Unreachable."""
        if self._transport is None:
            raise Unreachable  # closed, or spoken over, as soon as it was made
        self.answer = http1.Answer()
        if body is not None and len(body) > COPIED:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body if body else head)

    async def headed(self, until: float) -> http1.Answer:
        """Once the head of the answer has come. Raises CallLost."""
        assert self.answer is not None
        while not self.answer.headed:
            await self._arrival(until)
        return self.answer

    async def read(self, until: float) -> bytes:
        """What there is of the body, or nothing at its end. Raises CallLost."""
        assert self.answer is not None
        while not self.answer.held:
            if self.answer.complete:
                return b""
            await self._arrival(until)
        data = self.answer.take()
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def _arrival(self, until: float) -> Awaitable[None]:
        """What is done when something has come. Raises CallLost, now or then."""
        if self._lost is not None:
            raise self._lost
        self._set(until)
        self._waiter = self._loop.create_future()
        return self._waiter

    @property
    def _waited_for(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def release(self) -> None:
        """Its answer was wanted until here."""
        assert self.answer is not None
        if self.answer.complete:
            self._rest()
        elif self.open and self.answer.reusable and not self._paused:
            self._lingers = True
            self._set(time.monotonic() + LINGER)
        else:
            self.abort()

    def close(self) -> None:
        """Its answer is not wanted any more, unless all of it was."""
        if self.drained:
            self._rest()
        else:
            self.abort()

    def abort(self) -> None:
        self._cut(Unreachable())

    def _rest(self) -> None:
        assert self.answer is not None
        transport, self._lingers = self._transport, False
        if transport is None:
            return
        if self.answer.reusable and not self._paused and not transport.get_write_buffer_size():
            self.answer = None
            self.since = time.monotonic()
            self._owner.rest(self)
        else:
            self.abort()

    def _leave(self, why: CallLost) -> None:
        """Nothing comes any more."""
        self._transport = None
        self._lost = why
        if self.answer is not None:
            self.answer.stop()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._wake()
        self._owner.forget(self)

    # time

    def _set(self, until: float) -> None:
        self._until = until
        if self._alarm is not None and self._rings <= until:
            return  # it rings in time, and looks again then
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings = until
        self._alarm = self._loop.call_later(until - time.monotonic(), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if not self._lingers and not self._waited_for:
            return
        if self._until - time.monotonic() > 0.001:
            self._set(self._until)
        elif self._lingers:
            self.abort()
        elif self._waiter is not None:
            self._waiter.set_exception(Late())

    def _wake(self) -> None:
        if self._waiter is not None and self._waited_for:
            self._waiter.set_result(None)

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self.answer is None:
            self.abort()  # nobody asked for anything
            return
        try:
            self.answer.feed(data)
        except http1.Broken:
            self._cut(Unreadable())
            return
        if self._lingers:
            self._linger()
        elif self.answer.held > MOST_HELD and not self._paused and not self.answer.complete:
            self._paused = True
            self._transport.pause_reading()
        if self.answer is not None and self.answer.headed:
            self._wake()

    def _linger(self) -> None:
        assert self.answer is not None
        if self.answer.complete:
            self._rest()
        elif self.answer.held > MOST_HELD:
            self.abort()

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(error)

    def _ended(self, error: Exception | None) -> None:
        if self.answer is None or self._lingers:
            self.abort()
        elif error is not None and not self.answer.complete:
            self._cut(self._early())
        else:
            try:
                self.answer.end()
            except http1.Broken:
                self._cut(self._early())
            else:
                self.abort()  # whoever reads has all of it here

    def _early(self) -> CallLost:
        assert self.answer is not None
        return BrokenOff() if self.answer.headed else Unreachable()

    def _cut(self, why: CallLost) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._leave(why)
