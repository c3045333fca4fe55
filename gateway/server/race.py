"""Runs one exchange: one TaskGroup owns its calls and looks; events go in, effects come out.

This file waits and never decides: what happened is told to `core.exchange`, what is to be
done is carried out here. A denial is a value (`Close`), so the group ends cleanly; losers are
cancelled one by one, which closes their connections.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing

from gateway.core.terms import (
    Arrived,
    Call,
    CatchUp,
    Delta,
    Effect,
    Elapsed,
    Ended,
    Event,
    Examine,
    Found,
    Left,
    Overfull,
)
from gateway.server.carrying import Carrier
from gateway.server.record import Look
from gateway.server.release import ClientGone

TOGETHER = 32_768  # bytes of frames that are looked at together
MAILBOX = 64  # events that may wait; a slow client fills it and so slows the upstream


class Race(Carrier):
    """One request's calls and looks, racing under one task group."""

    _group: asyncio.TaskGroup

    def _prepare(self) -> None:
        self._mailbox: asyncio.Queue[Event] = asyncio.Queue(MAILBOX)
        self._soon: deque[Event] = deque()  # what came of effects at once
        self._taken: Event | None = None  # out of the mailbox, and next
        self._elapsed = False
        self._coming = 0  # bytes in the mailbox
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._running: dict[str, tuple[asyncio.Task[None], Look | None]] = {}

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        alarm = None if self._within is None else loop.call_later(self._within, self._ring)
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._until_closed()
        except asyncio.CancelledError:
            await self._abandon()
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
            self._end()

    async def _until_closed(self) -> None:
        effects = self._exchange.start()
        while True:
            try:
                self._soon += await self._carry_out(effects)
                if self._exchange.closed:
                    return
                event = await self._next()
            except ClientGone:
                event = Left()
            effects = self._taken_in(event)

    def _taken_in(self, event: Event) -> list[Effect]:
        if isinstance(event, Arrived):
            self._coming -= event.size
        effects = self._take(event)
        if not self._exchange.closed and not self._fits(self._coming):
            effects += self._exchange.take(Overfull())
        return effects

    async def _next(self) -> Event:
        if self._elapsed:
            return Elapsed()
        if self._soon:
            return self._soon.popleft()
        if self._taken is not None:
            event, self._taken = self._taken, None
            return event
        if self._mailbox.empty():
            await self._release.flush()
            return await self._patiently()
        event = self._mailbox.get_nowait()
        return self._with_others(event) if isinstance(event, Arrived) else event

    async def _patiently(self) -> Event:
        """The next event, however long it takes; a stream under way gets comments meanwhile."""
        while patience := self._patience():
            try:
                async with asyncio.timeout(patience):
                    return await self._mailbox.get()
            except TimeoutError:
                await self._release.keep_alive()
        return await self._mailbox.get()

    def _with_others(self, event: Arrived) -> Arrived:
        """A frame and those that have come since, up to a bound: they are looked at together."""
        size, last = event.size, event.last
        others: list[Delta] = [*event.then]
        while size < TOGETHER and not last and not self._mailbox.empty():
            other = self._mailbox.get_nowait()
            if not isinstance(other, Arrived) or other.call != event.call:
                self._taken = other
                break
            others += (other.delta, *other.then)
            size, last = size + other.size, other.last
        return Arrived(event.call, event.delta, tuple(others), last=last)

    def _patience(self) -> float:
        """Seconds of silence until a comment is due; 0: none may be written."""
        if self._release.streaming:
            return self._keepalive
        return self._comment_after if self._exchange.cleared else 0.0

    async def _ask(self, call: Call) -> None:
        self._running[call.name] = (self._group.create_task(self._pump(call)), None)

    async def _examine(self, examine: Examine, look: Look) -> None:
        self._running[examine.watch.key] = (self._group.create_task(self._told(examine, look)), look)

    async def _told(self, examine: Examine, look: Look) -> None:
        await self._mailbox.put(Found(await self._asked(examine, look)))

    async def _catch_up(self, behind: CatchUp) -> None:
        self._running[behind.watch.key] = (self._group.create_task(self._tell_what(behind)), None)

    async def _tell_what(self, behind: CatchUp) -> None:
        await self._mailbox.put(await self._caught_up(behind))

    async def _pump(self, call: Call) -> None:
        """Read one call to its end and tell what came. Waits while the exchange wants no more."""
        over: Event = Ended(call.name)
        try:
            async with aclosing(self._upstream.answer(call, self._headers, self._record(call))) as batches:
                async for batch in batches:
                    event = self._arrived(call, batch)
                    self._coming += event.size
                    await self._mailbox.put(event)
                    await self._flowing.wait()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is told as the end of the call
            over = self._lost(call, error)
        await self._mailbox.put(over)

    def _pause(self) -> None:
        self._flowing.clear()

    def _resume(self) -> None:
        self._flowing.set()

    async def _drop(self, what: str) -> None:
        task, look = self._running.pop(what, (None, None))
        if task is not None:
            task.cancel()
        if look is not None and look.finding is None:
            look.dropped = True

    def _ring(self) -> None:
        """The time for all of it is over; whoever waits at the mailbox is woken."""
        self._elapsed = True
        if self._mailbox.empty():
            self._mailbox.put_nowait(Elapsed())
