"""Runs one exchange: one TaskGroup owns its calls and looks; events go in, effects come out.

This file waits and never decides: what happened is told to `core.exchange`, what is to be
done is carried out here. A denial is a value (`Close`), so the group ends cleanly; losers are
cancelled one by one, which closes their connections.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import aclosing

import structlog

from gateway.checks.base import Check
from gateway.core.exchange import Exchange
from gateway.core.terms import (
    Arrived,
    Ask,
    Broke,
    Call,
    Close,
    Delta,
    Drop,
    Effect,
    Elapsed,
    Ended,
    Event,
    Examine,
    Fault,
    Found,
    Headers,
    Left,
    Note,
    Overfull,
    Pause,
    Resume,
    Rewrite,
    Rewritten,
    Send,
    Stopped,
)
from gateway.server.afterwards import Afterwards
from gateway.server.consult import Counsel, look_now, look_once
from gateway.server.record import Book, Look
from gateway.server.release import ClientGone, Outlet
from gateway.server.upstream import CallRecord, CandidatesStopped, Upstream, UpstreamError

log = structlog.get_logger()

TOGETHER = 32_768  # bytes of frames that are looked at together
MAILBOX = 64  # events that may wait; a slow client fills it and so slows the upstream
INLINE = 32_768  # characters that a local check may read on the event loop; more go to a thread
INTERNAL = Fault(500, "The gateway failed while reading the answer.", "internal_error", "server_error")


class Race:
    """One request's calls and looks, racing under one task group."""

    def __init__(
        self,
        exchange: Exchange,
        checks: Mapping[str, Check],
        upstream: Upstream,
        *,
        headers: Headers,
        counsel: Counsel,
        release: Outlet,
        receipt: Book,
        afterwards: Afterwards,
        within: float,
        keepalive: float = 15.0,
        reword: Callable[[Mapping[tuple[str, str], str]], Rewritten] | None = None,
        comment_after: float = 0.0,
    ) -> None:
        """`reword` says the question otherwise; without it no check may rewrite.

        `comment_after`: seconds until a stream whose answer is still being decided gets its first comment; 0: never.
        """
        self._comment_after = comment_after
        self._exchange = exchange
        self._checks = checks
        self._upstream = upstream
        self._headers = headers
        self._counsel = counsel
        self._release = release
        self._receipt = receipt
        self._afterwards = afterwards
        self._within = within  # seconds for the whole exchange
        self._keepalive = keepalive  # seconds of silence in a stream under way
        self._rewording = reword
        self._mailbox: asyncio.Queue[Event] = asyncio.Queue(MAILBOX)
        self._soon: deque[Event] = deque()  # found on the spot by local checks
        self._taken: Event | None = None  # out of the mailbox, and next
        self._coming = 0  # bytes in the mailbox
        self._part = f"answer {id(self)}"
        self._flowing = asyncio.Event()
        self._after: list[tuple[Examine, Look]] = []  # looks of those who only look on, for when the answer is over
        self._running: dict[str, tuple[asyncio.Task[None], Look | None]] = {}

    async def run(self) -> None:
        """Until the verdict is carried out. A client that hangs up cancels everything."""
        self._flowing.set()
        try:
            async with asyncio.TaskGroup() as group:
                deadline = group.create_task(self._deadline())
                await self._until_closed(group)
                deadline.cancel()
        except asyncio.CancelledError:
            self._abandon()
            raise
        finally:
            self._receipt.held.set(self._part, 0)
            for examine, look in self._after:
                self._late(examine, look)

    async def _until_closed(self, group: asyncio.TaskGroup) -> None:
        effects = self._exchange.start()
        while True:
            try:
                await self._carry_out(effects, group)
                if self._exchange.closed:
                    return
                event = await self._next()
            except ClientGone:
                event = Left()
            if isinstance(event, Arrived):
                self._coming -= event.size
            effects = self._exchange.take(event)
            if not self._exchange.closed and not self._fits():
                effects += self._exchange.take(Overfull())

    def _fits(self) -> bool:
        """Count what is held of the answer now; False: it is more than there is room for."""
        return self._receipt.held.set(self._part, self._exchange.held + self._coming)

    async def _next(self) -> Event:
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
        size = event.size
        others: list[Delta] = []
        while size < TOGETHER and not self._mailbox.empty():
            other = self._mailbox.get_nowait()
            if not isinstance(other, Arrived) or other.call != event.call:
                self._taken = other
                break
            others.append(other.delta)
            size += other.size
        return Arrived(event.call, event.delta, tuple(others)) if others else event

    def _patience(self) -> float:
        """Seconds of silence until a comment is due; 0: none may be written."""
        if self._release.streaming:
            return self._keepalive
        return self._comment_after if self._exchange.cleared else 0.0

    async def _carry_out(self, effects: list[Effect], group: asyncio.TaskGroup) -> None:
        for effect in effects:
            match effect:
                case Send(delta=delta, changes=changes):
                    self._release.send(delta, changes)
                case Rewrite(texts=texts):
                    self._soon.append(await self._reword(texts))
                case Examine():
                    self._examine(effect, group)
                case Ask(call=call):
                    self._running[call.name] = (group.create_task(self._pump(call)), None)
                case Drop(what=what):
                    self._drop(what)
                case Note(finding=finding, paths=paths):
                    self._receipt.note(finding, paths)
                case Pause():
                    self._flowing.clear()
                case Resume():
                    self._flowing.set()
                case Close(verdict=verdict):
                    self._receipt.close(verdict)
                    await self._release.close(verdict)

    async def _reword(self, texts: Mapping[tuple[str, str], str]) -> Rewritten:
        """The question said otherwise; a large one on a thread."""
        assert self._rewording is not None
        if sum(map(len, texts.values())) > INLINE:
            return await asyncio.to_thread(self._rewording, texts)
        return self._rewording(texts)

    def _examine(self, examine: Examine, group: asyncio.TaskGroup) -> None:
        look = self._receipt.look(examine)
        check = self._checks[examine.watch.name]
        if examine.watch.shadow:  # it may not cost its client a millisecond
            self._after.append((examine, look))
        elif check.local and sum(len(p.text) for p in examine.passages) <= check.inline:
            finding = look_now(check, examine)
            self._receipt.found(look, finding)
            self._soon.append(Found(finding))
        elif examine.watch.gates:
            self._running[examine.watch.key] = (group.create_task(self._look(examine, look)), look)
        else:
            self._late(examine, look)

    def _late(self, examine: Examine, look: Look) -> None:
        look.started = time.monotonic()
        self._receipt.late += 1
        self._afterwards.start(self._late_look(examine, look), self._receipt.late_ended)

    async def _look(self, examine: Examine, look: Look) -> None:
        finding = await look_once(self._checks[examine.watch.name], examine, self._counsel, look.spent)
        self._receipt.found(look, finding)
        await self._mailbox.put(Found(finding))

    async def _late_look(self, examine: Examine, look: Look) -> None:
        try:
            finding = await look_once(self._checks[examine.watch.name], examine, self._counsel, look.spent)
            self._receipt.found(look, finding)
        finally:
            self._receipt.late_ended()

    async def _pump(self, call: Call) -> None:
        """Read one call to its end and tell what came. Waits while the exchange wants no more."""
        record = CallRecord(call.name, call.upstream, call.model, held=self._receipt.held)
        self._receipt.calls.append(record)
        texts = self._receipt.texts
        over: Event
        try:
            async with aclosing(self._upstream.answer(call, self._headers, record)) as deltas:
                async for delta in deltas:
                    self._coming += delta.size
                    if texts is not None:
                        texts.said(delta.pieces)
                    await self._mailbox.put(Arrived(call.name, delta))
                    await self._flowing.wait()
            over = Ended(call.name)
        except UpstreamError as error:
            over = Broke(call.name, error.fault)
        except CandidatesStopped as error:
            over = Stopped(call.name, error.finding)
        except Exception:  # ours: told to the client as a fault, kept in the log with its trace
            log.exception("pump_failed", id=self._receipt.id)
            over = Broke(call.name, INTERNAL)
        await self._mailbox.put(over)

    def _drop(self, what: str) -> None:
        task, look = self._running.pop(what, (None, None))
        if task is not None:
            task.cancel()
        if look is not None and look.finding is None:
            look.dropped = True

    async def _deadline(self) -> None:
        await asyncio.sleep(self._within)
        await self._mailbox.put(Elapsed())

    def _abandon(self) -> None:
        """The client hung up: the group has cancelled everything; say so on the receipt."""
        if not self._exchange.closed:
            for effect in self._exchange.take(Left()):
                if isinstance(effect, Drop):
                    self._drop(effect.what)
                elif isinstance(effect, Close):
                    self._receipt.close(effect.verdict)
