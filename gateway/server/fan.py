"""A virtual model as an upstream: runs a contest's tasks at once and gives the answer that comes of it.

Every task is an exchange of its own: its answer is checked while the others still run, and only what its
gate let go is a candidate, is shown to a judge, or is followed. The request's own exchange holds all of it
until the question is cleared, and closing it ends every task.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from gateway.config.model import Fan, House
from gateway.core.exchange import Exchange
from gateway.core.terms import Call, Delta, Document, Headers
from gateway.fanout.base import Facts
from gateway.fanout.contest import (
    Answer,
    Cancel,
    Compose,
    Contest,
    Effect,
    Event,
    Fail,
    Finished,
    Follow,
    Lost,
    Open,
    Rang,
    Run,
    Task,
    Timer,
    seed_of,
)
from gateway.policy.plan import Plan
from gateway.server.account import Account
from gateway.server.candidate import Candidate, Part
from gateway.server.record import Receipt
from gateway.server.upstream import CUT, CallRecord, CandidatesStopped, Upstream, UpstreamError
from gateway.wire import canonical
from gateway.wire.endpoints import CHAT

log = structlog.get_logger()

MAILBOX = 64  # events that may wait; the one who is followed waits with them
MOST_HELD = 10 * 1024**2  # bytes of one candidate
SEEN = 200  # first words whose times are remembered
LEAST_SEEN = 20


@dataclass
class Pace:
    """How soon the members of one virtual model speak, and how often a second one may be asked for that."""

    times: deque[float] = field(default_factory=lambda: deque(maxlen=SEEN))
    left: float = 1.0

    def asked(self, fraction: float) -> bool:
        """A request has come; whether it may hedge."""
        self.left = min(10.0, self.left + fraction)
        return self.left >= 1.0

    def hedged(self) -> None:
        self.left -= 1.0

    @property
    def p95(self) -> float | None:
        if len(self.times) < LEAST_SEEN:
            return None
        return sorted(self.times)[int(len(self.times) * 0.95)]


class FanOut:
    """One request's contest. It is asked like an upstream, and closed like one."""

    def __init__(
        self,
        name: str,
        fan: Fan,
        house: House,
        *,
        race: Callable[[Exchange, Upstream, Part, Candidate], Any],
        upstreams: Mapping[str, Upstream],
        planned: Plan,
        receipt: Receipt,
        pace: Pace,
        max_held: int,
    ) -> None:
        self._name = name
        self._fan = fan
        self._house = house
        self._race = race
        self._upstreams = upstreams
        self._planned = planned
        self._receipt = receipt
        self._pace = pace
        self._max_held = max_held
        self._mailbox: asyncio.Queue[Event | str] = asyncio.Queue(MAILBOX)
        self._candidates: dict[str, Candidate] = {}
        self._outcome: list[Follow | Compose | Fail] = []
        self._timers: list[asyncio.TimerHandle] = []

    async def ask(self, endpoint: str, model: str, body: Document) -> Document:
        """Checks do not ask virtual models."""
        raise UpstreamError(CUT)

    async def close(self) -> None:
        """Everything ends with its request."""

    async def answer(
        self, call: Call, headers: Headers, record: CallRecord, pulse: float = math.inf
    ) -> AsyncGenerator[Sequence[Delta], None]:
        """The answer that the contest comes to, its frames as if one model had said them."""
        strategy = self._fan.strategy
        fraction = getattr(strategy, "max_hedged_fraction", 1.0)
        seed = seed_of(call.document)
        facts = Facts(
            seed=seed,
            calibration=self._fan.calibration,
            p95=self._pace.p95,
            may_hedge=self._pace.asked(fraction),
        )
        asked = {key: value for key, value in call.document.items() if key != "model"}
        contest = strategy.contest(asked, facts)
        self._account = Account(strategy, contest, self._candidates, self._receipt)
        reader = CHAT.reader(call.document, stream=call.stream)
        reader.rewritable = call.rewritable
        failure: Exception | None = None
        self._receipt.fanout = {"strategy": strategy.strategy}
        try:
            async with asyncio.TaskGroup() as group:
                self._carry_out(contest.start(), contest, call, group)
                try:
                    async for frame in self._frames(contest, call, group, record):
                        delta = self._extended(reader.delta(frame, len(canonical.dump(frame))), contest)
                        record.first_delta = record.first_delta or time.monotonic()
                        yield (delta,)
                    if closing := reader.closing():
                        yield (Delta(None, closing),)
                except (UpstreamError, CandidatesStopped) as error:
                    failure = error
                except GeneratorExit:
                    """Closed: nothing to tell, and the group must not take it for a failure of its own."""
                finally:
                    self._end(contest)
        finally:
            record.ended = time.monotonic()
            self._account.write(seed)
            self._learn(contest)
        if failure is not None:
            raise failure

    def _learn(self, contest: Contest) -> None:
        """How soon the members spoke, and whether a second one was asked for that."""
        for candidate in self._candidates.values():
            if candidate.spoke is not None and candidate.task.role == "member":
                self._pace.times.append(candidate.spoke - candidate.started)
        if getattr(contest, "hedged", False):
            self._pace.hedged()

    # --- the contest

    def _carry_out(self, effects: Sequence[Effect], contest: Contest, call: Call, group: asyncio.TaskGroup) -> None:
        for effect in effects:
            match effect:
                case Open(task=task):
                    live, put = call.stream and task.live, self._mailbox.put
                    candidate = Candidate(task, live, put, put, self._receipt.held, heard=contest.hears_beginnings)
                    self._candidates[task.key] = candidate
                    candidate.work = group.create_task(self._work(candidate, call))
                case Cancel(key=key):
                    self._cancel(key)
                case Timer(name=name, seconds=seconds):
                    loop = asyncio.get_running_loop()
                    self._timers.append(loop.call_later(seconds, self._ring, name, group))
                case Follow() | Compose() | Fail():
                    self._outcome.append(effect)
                    self._account.decided()

    def _ring(self, name: str, group: asyncio.TaskGroup) -> None:
        """A timer has run out: few do, so only then a task waits for room in the mailbox."""
        group.create_task(self._mailbox.put(Rang(name)))

    async def _work(self, candidate: Candidate, call: Call) -> None:
        """One task, whatever becomes of it: it is one less, never the end of its contest."""
        task = candidate.task
        try:
            await self._run(candidate, call)
        except Exception as error:
            known = _is_only(error, UpstreamError)
            if not known:  # ours: the log has its trace
                log.error("candidate_failed", id=self._receipt.id, task=task.key, exc_info=error)
            await self._mailbox.put(Lost(task.key, "upstream_too_large" if known else "internal_error"))

    async def _run(self, candidate: Candidate, call: Call) -> None:
        """An exchange of its own, without the question's checks, which run once for all."""
        task = candidate.task
        route = self._house.route(task.model)
        assert route is not None
        if task.role == "embeddings":
            await self._embed(task, route.upstream, route.model)
            return
        document = {**task.document, "model": route.model}
        document.pop("stream", None)
        document.pop("stream_options", None)
        if candidate.stream:
            document |= {"stream": True, "stream_options": {"include_usage": True}}
        member = Call(task.key, route.upstream, route.model, document, candidate.stream, rewritable=call.rewritable)
        layout = self._planned.layouts_of_candidates[candidate.stream] if task.checked else ()
        exchange = Exchange(member, layout, (), self._max_held)
        await self._race(exchange, self._upstreams[route.upstream], Part(self._receipt, task.key), candidate)

    async def _embed(self, task: Task, upstream: str, model: str) -> None:
        """Vectors of the texts of candidates, in their order."""
        record = CallRecord(task.key, upstream, model)
        self._receipt.calls.append(record)
        event: Event
        try:
            answer = await self._upstreams[upstream].ask("embeddings", model, task.document)
        except UpstreamError as error:
            event = Lost(task.key, error.fault.code)
        else:
            record.usage, record.status = answer.get("usage"), 200
            vectors = _vectors(answer)
            malformed = Lost(task.key, "upstream_malformed")
            event = malformed if vectors is None else Finished(task.key, Answer({"vectors": vectors}))
        record.ended = time.monotonic()
        await self._mailbox.put(event)

    def _cancel(self, key: str) -> None:
        candidate = self._candidates.get(key)
        if candidate is not None and candidate.work is not None:
            candidate.work.cancel()

    def _end(self, contest: Contest) -> None:
        for timer in self._timers:
            timer.cancel()
        for candidate in self._candidates.values():
            if candidate.work is not None:
                candidate.work.cancel()

    # --- the answer

    async def _frames(
        self, contest: Contest, call: Call, group: asyncio.TaskGroup, record: CallRecord
    ) -> AsyncGenerator[Document, None]:
        composed: list[str] = []
        while True:
            while self._outcome:
                outcome = self._outcome[0]
                if isinstance(outcome, Fail):
                    self._fail(outcome, contest)
                if isinstance(outcome, Compose):
                    self._outcome.pop(0)
                    composed.append(outcome.text)
                    for frame in self._composed(outcome, composed, call, contest, record):
                        yield frame
                    if outcome.last:
                        return
                    continue
                assert isinstance(outcome, Follow)
                candidate = self._candidates[outcome.key]
                candidate.followed = True
                run = contest.runs[outcome.key]
                for frame in self._news(candidate, call, contest, record):
                    yield frame
                if candidate.verdict is not None and candidate.told == len(candidate.frames):
                    self._conclude(candidate, run)
                    return
                break
            event = await self._mailbox.get()
            if not isinstance(event, str):
                self._carry_out(contest.take(event), contest, call, group)

    def _news(self, candidate: Candidate, call: Call, contest: Contest, record: CallRecord) -> list[Document]:
        fresh = candidate.frames[candidate.told :]
        candidate.told = len(candidate.frames)
        return [self._dressed(frame, call, contest, record) for frame in fresh]

    def _conclude(self, candidate: Candidate, run: Run) -> None:
        """The one that is followed has ended: well, or with what stopped it."""
        verdict = candidate.verdict
        assert verdict is not None
        if verdict.by is not None:
            raise CandidatesStopped(verdict.by)
        if verdict.fault is not None:
            raise UpstreamError(verdict.fault)

    def _fail(self, outcome: Fail, contest: Contest) -> None:
        findings = [c.finding for c in self._candidates.values() if c.finding is not None]
        if outcome.fault.code == "content_filter" and findings:
            raise CandidatesStopped(findings[0])
        raise UpstreamError(outcome.fault)

    def _dressed(self, frame: Document, call: Call, contest: Contest, record: CallRecord) -> Document:
        """A member's frame as one of the virtual model."""
        made = {**frame, "id": self._id, "created": int(time.time()), "model": self._name}
        made.pop("system_fingerprint", None)
        record.usage = self._account.usage()
        if isinstance(made.get("usage"), dict) and record.usage:
            made["usage"] = record.usage
        return made

    @property
    def _id(self) -> str:
        return f"chatcmpl-{self._receipt.id}"

    def _composed(
        self, outcome: Compose, parts: list[str], call: Call, contest: Contest, record: CallRecord
    ) -> list[Document]:
        """Words of our own as frames: of a plain answer one, at the end."""
        head = {"id": self._id, "created": int(time.time()), "model": self._name}
        record.usage = usage = self._account.usage()
        if not call.stream:
            if not outcome.last:
                return []
            message = {"role": "assistant", "content": "".join(parts), "refusal": None}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            made: Document = {"object": "chat.completion", **head, "choices": [choice], "usage": usage}
            return [made]
        head["object"] = "chat.completion.chunk"
        delta: Document = {"content": outcome.text}
        if len(parts) == 1:
            delta = {"role": "assistant", **delta}
        frames: list[Document] = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}]
        if outcome.last:
            frames.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            frames.append({**head, "choices": [], "usage": usage})
        return frames

    def _extended(self, delta: Delta, contest: Contest) -> Delta:
        """With the `outrider` object, where the answer or its usage ends; what it holds was cleared before."""
        frame: Document = delta.frame
        choices = frame.get("choices") or ()
        ends = "usage" in frame and not choices
        ends = ends or any(choice.get("finish_reason") is not None for choice in choices)
        if self._fan.strategy.expose == "none" or not ends:
            return delta
        return replace(delta, frame={**frame, "outrider": {"fanout": self._account.told()}})


def _is_only(error: Exception, kind: type[Exception]) -> bool:
    """Whether it is one of these, or a group of nothing else."""
    return isinstance(error, kind) or (isinstance(error, ExceptionGroup) and error.split(kind)[1] is None)


def _vectors(answer: Document) -> list[list[float]] | None:
    """The vectors of an answer of /embeddings, in the order of the texts."""
    try:
        data = sorted(answer["data"], key=lambda one: int(one["index"]))
        return [[float(x) for x in one["embedding"]] for one in data]
    except (KeyError, TypeError, ValueError):
        return None
