"""Runs an exchange in which nothing takes its time but the call: no task, no mailbox, read and released in one go."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from gateway.core.terms import Call, CatchUp, Delta, Effect, Elapsed, Ended, Event, Examine, Left, Overfull
from gateway.server.carrying import Carrier
from gateway.server.record import Look
from gateway.server.release import ClientGone

Batches = AsyncGenerator[Sequence[Delta], None]


class Alone(Carrier):
    """One request whose gating checks are all local."""

    _deadline: asyncio.Timeout
    _call: Call | None = None  # to be asked
    _batches: Batches | None = None  # what comes of it

    async def run(self) -> None:
        try:
            try:
                async with asyncio.timeout(self._within) as self._deadline:
                    await self._go()
            except TimeoutError:
                await self._on(Elapsed())
        except asyncio.CancelledError:
            await self._abandon()
            raise
        finally:
            self._end()

    async def _go(self) -> None:
        await self._reaching(self._exchange.start())
        if self._exchange.closed or self._call is None:
            return
        call = self._call
        pulse = self._keepalive if call.stream else math.inf
        async with aclosing(self._upstream.answer(call, self._headers, self._record(call), pulse)) as self._batches:
            while not self._exchange.closed:
                event = await self._next(call)
                await (self._quiet() if event is None else self._on(event))
                del event  # it is not kept while the next one is awaited

    async def _next(self, call: Call) -> Event | None:
        """What comes of the call next; None: nothing but time has passed."""
        assert self._batches is not None
        try:
            batch = await anext(self._batches)
        except StopAsyncIteration:
            return Ended(call.name)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is told as the end of the call
            return self._lost(call, error)
        return self._arrived(call, batch) if batch else None

    async def _on(self, event: Event) -> None:
        await self._reaching(self._take(event))

    async def _quiet(self) -> None:
        try:
            if self._release.streaming:
                await self._release.keep_alive()
        except ClientGone:
            await self._on(Left())

    async def _reaching(self, effects: list[Effect]) -> None:
        try:
            await self._through(effects)
            if not self._exchange.closed:
                await self._release.flush()
        except ClientGone:
            await self._through(self._exchange.take(Left()))

    async def _through(self, effects: list[Effect]) -> None:
        """Carry these out, and all that comes of it at once."""
        while True:
            if not self._exchange.closed and not self._fits():
                effects += self._exchange.take(Overfull())
            if self._exchange.closed and not self._deadline.expired():
                self._deadline.reschedule(None)  # what is decided is told to its end
            if not effects or not (events := await self._carry_out(effects)):
                return
            effects = [effect for event in events for effect in self._exchange.take(event)]

    async def _ask(self, call: Call) -> None:
        self._call = call

    async def _examine(self, examine: Examine, look: Look) -> None:
        """A text that is too long for the event loop: nothing else could go on meanwhile."""
        self._said.append(await self._asked(examine, look))

    async def _catch_up(self, behind: CatchUp) -> None:
        self._came.append(await self._caught_up(behind))

    def _pause(self) -> None:
        """Reading waits for writing anyway, and no look is out that could make room."""

    def _resume(self) -> None:
        """The same."""

    async def _drop(self, what: str) -> None:
        if self._batches is not None and self._call is not None and what == self._call.name:
            await self._batches.aclose()
