"""Carries out what an exchange wants done: what `race.py` and `alone.py` share.

Nothing is decided here: what happened is told to `core.exchange`, what is to be done comes back as effects. Local
checks of little text are asked on the spot; how everything else is waited for is what the two differ in.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import NamedTuple

import structlog

from gateway.checks.base import Check
from gateway.checks.hurry import Hurry
from gateway.checks.sieve import CommonSieve
from gateway.core.exchange import Exchange
from gateway.core.terms import (
    Arrived,
    Ask,
    Broke,
    Call,
    CatchUp,
    CaughtUp,
    Close,
    Delta,
    Drop,
    Effect,
    Ended,
    Event,
    Examine,
    Fault,
    Finding,
    Found,
    Headers,
    Left,
    Note,
    Passage,
    Pause,
    Resume,
    Rewrite,
    Rewritten,
    Send,
    Stopped,
)
from gateway.server.afterwards import Afterwards
from gateway.server.consult import Counsel, failed, look_now, look_once, size_of
from gateway.server.record import Book, Look
from gateway.server.release import Outlet
from gateway.server.threads import aside
from gateway.server.upstream import CallRecord, CandidatesStopped, Last, Upstream, UpstreamError

log = structlog.get_logger()

INLINE = 32_768  # characters of a question that are said otherwise on the event loop; more go to a thread
SIFTED = 16_384  # characters of which a sieve reads on the event loop as many as it has time for
HELD = 0.0001  # seconds of CPU after which others have the event loop before another check is asked on it
INTERNAL = Fault(500, "The gateway failed while reading the answer.", "internal_error", "server_error")


class Sifted(NamedTuple):
    """What one pass says of several looks at once."""

    silent: frozenset[str]  # checks that surely find nothing in what those of their watches that gate are shown
    began: float  # monotonic seconds
    ended: float


UNSIFTED = Sifted(frozenset(), 0.0, 0.0)
Reword = Callable[[Mapping[tuple[str, str], str]], Rewritten]


class Carrier(ABC):
    """One exchange on its way."""

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
        within: float | None,
        keepalive: float = 15.0,
        reword: Reword | None = None,
        comment_after: float = 0.0,
        sieve: CommonSieve | None = None,
    ) -> None:
        """`within`: seconds for the whole exchange; None: it is a part of one that has its own.

        `keepalive`: seconds of silence in a stream until a comment is due.
        `reword` says the question otherwise; without it no check may rewrite. `comment_after`: seconds until a
        stream whose answer is still being decided gets its first comment; 0: never. `sieve`: of these checks.
        """
        self._exchange = exchange
        self._checks = checks
        self._upstream = upstream
        self._headers = headers
        self._counsel = counsel
        self._release = release
        self._receipt = receipt
        self._afterwards = afterwards
        self._within = within
        self._keepalive = keepalive
        self._rewording = reword
        self._comment_after = comment_after
        self._sieve = sieve
        self._part = f"answer {id(self)}"
        self._said: list[Finding] = []  # by local checks, on the spot
        self._came: list[Event] = []  # of effects that were waited for
        self._after: list[tuple[Examine, Look]] = []  # looks of those who only look on, for when the answer is over
        self._since = time.thread_time()  # this exchange, or somebody else, has had the event loop
        self._prepare()

    def _prepare(self) -> None:  # noqa: B027 -- not every carrier has something
        """Make what this sort of carrier needs of its own."""

    @abstractmethod
    async def run(self) -> None:
        """Until the verdict is carried out. A client that hangs up cancels everything."""

    @abstractmethod
    async def _ask(self, call: Call) -> None:
        """Begin a call."""

    @abstractmethod
    async def _examine(self, examine: Examine, look: Look) -> None:
        """Ask a check that takes its time and that the answer waits for."""

    @abstractmethod
    async def _catch_up(self, behind: CatchUp) -> None:
        """Let a check read along where nobody waits."""

    @abstractmethod
    async def _drop(self, what: str) -> None:
        """Nobody waits for this call or look any more."""

    @abstractmethod
    def _pause(self) -> None:
        """Read no further from the call for now."""

    @abstractmethod
    def _resume(self) -> None:
        """Read on."""

    async def _carry_out(self, effects: Sequence[Effect]) -> list[Event]:
        """Do all of it, and tell what came of it at once."""
        events: list[Event] = []
        sifted = UNSIFTED if self._sieve is None or len(effects) < 2 else await self._sift(effects, self._sieve)
        for effect in effects:
            match effect:
                case Send(delta=delta, changes=changes):
                    self._release.send(delta, changes)
                case Examine():
                    await self._look(effect, sifted)
                case CatchUp():
                    await self._catch_up(effect)
                case Ask(call=call):
                    await self._ask(call)
                case Note(finding=finding, paths=paths):
                    self._receipt.note(finding, paths)
                case Close(verdict=verdict):
                    self._receipt.close(verdict)
                    await self._release.close(verdict)
                case Drop(what=what):
                    await self._drop(what)
                case Rewrite(texts=texts):
                    events.append(await self._reword(texts))
                case Pause():
                    self._pause()
                case Resume():
                    self._resume()
        events += self._came
        self._came.clear()
        if self._said:
            first, *rest = self._said
            self._said.clear()
            events.append(Found(first, tuple(rest)))
        return events

    def _take(self, event: Event) -> list[Effect]:
        """What follows from an event. What reads an answer along does so here as long as others can wait for it."""
        if type(event) is Arrived or type(event) is Ended:
            with Hurry(time.thread_time) as hurry:
                if type(event) is Arrived:  # an end may be told of in the same go as what came before it
                    self._since = hurry.began
                return self._exchange.take(event)
        return self._exchange.take(event)

    async def _caught_up(self, behind: CatchUp) -> CaughtUp:
        """Read along on a thread, within the deadline of a look."""
        try:
            async with asyncio.timeout(behind.watch.timeout):
                apart = not self._checks[behind.watch.name].built_in
                return CaughtUp(behind.watch, *await aside(behind.size, behind.read, apart=apart))
        except TimeoutError as error:
            return CaughtUp(behind.watch, failed(behind.watch, error))

    async def _reword(self, texts: Mapping[tuple[str, str], str]) -> Rewritten:
        """The question said otherwise; a large one on a thread."""
        assert self._rewording is not None
        size = sum(map(len, texts.values()))
        if size > INLINE:
            return await aside(size, self._rewording, texts)
        return self._rewording(texts)

    async def _sift(self, effects: Sequence[Effect], sieve: CommonSieve) -> Sifted:
        """Ask once for all checks that are to look now: of most texts one pass says that nothing is in them."""
        looks = [one for one in effects if type(one) is Examine and one.watch.gates and one.watch.name in sieve.names]
        if len(looks) < 2:
            return UNSIFTED
        shown = _all_shown([look.passages for look in looks])
        began, size = time.monotonic(), size_of(shown)
        if sieve.ready and size <= SIFTED and (silent := sieve.soon(shown, time.monotonic)) is not None:
            return Sifted(silent, began, time.monotonic())
        silent = frozenset()
        with suppress(TimeoutError):  # then each is asked by itself, and fails in its own way
            async with asyncio.timeout(min([look.watch.timeout for look in looks])):
                silent = await aside(size, sieve.silent, shown)
        return Sifted(silent, began, time.monotonic())

    async def _look(self, examine: Examine, sifted: Sifted) -> None:
        watch = examine.watch
        if watch.name in sifted.silent and watch.gates:
            self._said.append(self._receipt.passed(examine, sifted.began, sifted.ended))
            return
        check, look = self._checks[watch.name], self._receipt.look(examine)
        if watch.shadow:  # it may not cost its client a millisecond
            self._after.append((examine, look))
        elif check.local and size_of(examine.passages) <= check.inline and await self._look_now(check, examine, look):
            return
        elif watch.gates:
            await self._examine(examine, look)
        else:
            self._late(examine, look)

    async def _look_now(self, check: Check, examine: Examine, look: Look) -> bool:
        """Whether it could be asked on the event loop. What others did on it counts as if this exchange had."""
        if time.thread_time() - self._since > HELD:
            await asyncio.sleep(0)
            self._since = time.thread_time()
        finding = look_now(check, examine)
        if finding is None:
            return False
        self._receipt.found(look, finding)
        self._said.append(finding)
        return True

    async def _asked(self, examine: Examine, look: Look) -> Finding:
        finding = await look_once(self._checks[examine.watch.name], examine, self._counsel, look.spends())
        self._receipt.found(look, finding)
        return finding

    def _late(self, examine: Examine, look: Look) -> None:
        look.started = time.monotonic()
        self._receipt.late += 1
        self._afterwards.start(self._late_look(examine, look), self._receipt.late_ended)

    async def _late_look(self, examine: Examine, look: Look) -> None:
        check = self._checks[examine.watch.name]
        try:
            async with self._afterwards.turn if check.local and check.built_in else nullcontext():
                await self._asked(examine, look)
        finally:
            self._receipt.late_ended()

    def _record(self, call: Call) -> CallRecord:
        record = CallRecord(call.name, call.upstream, call.model, held=self._receipt.held)
        self._receipt.calls.append(record)
        return record

    def _arrived(self, call: Call, deltas: Sequence[Delta]) -> Arrived:
        texts = self._receipt.texts
        if texts is not None:
            for delta in deltas:
                texts.said(delta.pieces)
        return Arrived(call.name, deltas[0], tuple(deltas[1:]), last=type(deltas) is Last and not call.stream)

    def _lost(self, call: Call, error: Exception) -> Broke | Stopped:
        """How a call ended that did not come to its end."""
        match error:
            case UpstreamError():
                return Broke(call.name, error.fault)
            case CandidatesStopped():
                return Stopped(call.name, error.finding)
        # ours: told to the client as a fault, kept in the log with its trace
        log.error("pump_failed", id=self._receipt.id, exc_info=error)
        return Broke(call.name, INTERNAL)

    def _fits(self, coming: int = 0) -> bool:
        """Count what is held of the answer now; False: it is more than there is room for."""
        return self._receipt.held.set(self._part, self._exchange.held + coming)

    def _end(self) -> None:
        """The answer is over: those who only look on have their time now."""
        self._receipt.held.set(self._part, 0)
        for examine, look in self._after:
            self._late(examine, look)

    async def _abandon(self) -> None:
        """The client hung up: say so on the receipt."""
        if not self._exchange.closed:
            for effect in self._exchange.take(Left()):
                if isinstance(effect, Drop):
                    await self._drop(effect.what)
                elif isinstance(effect, Close):
                    self._receipt.close(effect.verdict)


def _all_shown(looks: Sequence[Sequence[Passage]]) -> Sequence[Passage]:
    """Each passage once: mostly all are shown the same."""
    first = looks[0]
    if all(passages is first for passages in looks):
        return first
    return [*{id(passage): passage for passages in looks for passage in passages}.values()]
