"""A virtual model as an upstream: runs a contest's tasks at once and gives the answer that comes of it.

Every task is an exchange of its own: its answer is checked while the others still run, and only what its
gate let go is a candidate, is shown to a judge, or is followed. The request's own exchange holds all of it
until the question is cleared, and closing it ends every task.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.config.model import Fan, House
from gateway.core.exchange import Exchange
from gateway.core.tally import State
from gateway.core.terms import Call, Decision, Delta, Document, Examine, Finding, Headers, Side, Spot, Verdict
from gateway.fanout.base import Facts
from gateway.fanout.contest import (
    Answer,
    Began,
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
from gateway.server.record import Look, Receipt
from gateway.server.upstream import CUT, CallRecord, CandidatesStopped, Upstream, UpstreamError
from gateway.wire.canonical import Malformed
from gateway.wire.endpoints import CHAT
from gateway.wire.rewrite import copied, write

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


class Part:
    """One task's part of the receipt."""

    def __init__(self, receipt: Receipt, key: str) -> None:
        self._receipt = receipt
        self._key = key
        self.id = receipt.id
        self.calls = receipt.calls

    @property
    def late(self) -> int:
        return self._receipt.late

    @late.setter
    def late(self, value: int) -> None:
        self._receipt.late = value

    def look(self, examine: Examine) -> Look:
        look = self._receipt.look(examine)
        look.of = self._key
        return look

    def found(self, look: Look, finding: Finding) -> None:
        self._receipt.found(look, finding)

    def note(self, finding: Finding, paths: tuple[str, ...]) -> None:
        self._receipt.note(finding, paths)
        self._receipt.looks[-1].of = self._key

    def close(self, verdict: Verdict) -> None:
        """The verdict on one task is not that on the request."""

    def late_ended(self) -> None:
        self._receipt.late_ended()


@dataclass
class Candidate:
    """Takes what the gate of one task lets go, and tells the contest."""

    task: Task
    stream: bool
    tell: Callable[[Event], Any]  # a coroutine function
    grew: Callable[[str], Any]
    frames: list[Document] = field(default_factory=list)
    followed: bool = False
    told: int = 0  # frames that are passed on
    size: int = 0
    spoke: float | None = None  # when its first cleared words came
    finding: Finding | None = None
    verdict: Verdict | None = None
    ended: float | None = None
    started: float = field(default_factory=time.monotonic)
    work: asyncio.Task[None] | None = None
    _began: bool = False

    streaming = False

    def send(self, delta: Delta, changes: Sequence[tuple[Spot, str]] = ()) -> None:
        if delta.frame is None:
            return
        if changes:
            write(delta.frame, changes)
        self.frames.append(delta.frame)
        self.size += delta.size
        if self.spoke is None and _speaks(delta.frame):
            self.spoke = time.monotonic()

    async def flush(self) -> None:
        if self.size > MOST_HELD and not self.followed:
            raise UpstreamError(CUT)
        if self.spoke is not None and not self._began:
            self._began = True
            await self.tell(Began(self.task.key))
        if self.followed and self.told < len(self.frames):
            await self.grew(self.task.key)

    async def keep_alive(self) -> None:
        """Nobody listens."""

    async def close(self, verdict: Verdict) -> None:
        self.verdict, self.ended = verdict, time.monotonic()
        key = self.task.key
        match verdict.decision:
            case Decision.RELEASED | Decision.MASKED:
                await self.flush()
                answer = self.answer()
                await self.tell(Finished(key, answer) if answer is not None else Lost(key, "upstream_malformed"))
            case Decision.BLOCKED:
                self.finding = verdict.by
                await self.tell(Lost(key, "blocked", blocked=True))
            case _:
                fault = verdict.fault
                await self.tell(Lost(key, fault.code if fault else "left", retryable=not fault or fault.status >= 429))

    def answer(self) -> Answer | None:
        """The whole that its frames make."""
        try:
            whole = CHAT.whole([copied(frame) for frame in self.frames]) if self.stream else self.frames[0]
            choice = whole["choices"][0]
        except (Malformed, IndexError, KeyError):
            return None
        return Answer(choice.get("message") or {}, choice.get("finish_reason"))


def _speaks(frame: Document) -> bool:
    """Whether a frame holds words: content, reasoning, a refusal or a tool call."""
    for choice in frame.get("choices", ()):
        said = choice.get("delta") or choice.get("message") or {}
        if any(said.get(name) for name in said if name not in {"role", "index"}):
            return True
    return False


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
        self._timers: list[asyncio.Task[None]] = []
        self._started = time.monotonic()
        self._decided: float | None = None
        self._seed = ""

    async def ask(self, endpoint: str, model: str, body: Document) -> Document:
        """Checks do not ask virtual models."""
        raise UpstreamError(CUT)

    async def close(self) -> None:
        """Everything ends with its request."""

    async def answer(self, call: Call, headers: Headers, record: CallRecord) -> AsyncGenerator[Delta, None]:
        """The answer that the contest comes to, its frames as if one model had said them."""
        strategy = self._fan.strategy
        fraction = getattr(strategy, "max_hedged_fraction", 1.0)
        self._seed = seed_of(call.document)
        facts = Facts(
            seed=self._seed,
            calibration=self._fan.calibration,
            p95=self._pace.p95,
            may_hedge=self._pace.asked(fraction),
        )
        asked = {key: value for key, value in call.document.items() if key != "model"}
        contest = strategy.contest(asked, facts)
        reader = CHAT.reader(call.document, stream=call.stream)
        reader.rewritable = call.rewritable
        failure: Exception | None = None
        self._receipt.fanout = {"strategy": strategy.strategy}
        try:
            async with asyncio.TaskGroup() as group:
                self._carry_out(contest.start(), contest, call, group)
                try:
                    async for frame in self._frames(contest, call, group, record):
                        delta = self._extended(reader.delta(frame, len(str(frame))), contest)
                        record.first_delta = record.first_delta or time.monotonic()
                        yield delta
                    if closing := reader.closing():
                        yield Delta(None, closing)
                except (UpstreamError, CandidatesStopped) as error:
                    failure = error
                finally:
                    self._end(contest)
        finally:
            record.ended = time.monotonic()
            self._write(contest)
        if failure is not None:
            raise failure

    # --- the contest

    def _carry_out(self, effects: Sequence[Effect], contest: Contest, call: Call, group: asyncio.TaskGroup) -> None:
        for effect in effects:
            match effect:
                case Open(task=task):
                    candidate = Candidate(task, call.stream and task.live, self._mailbox.put, self._mailbox.put)
                    self._candidates[task.key] = candidate
                    candidate.work = group.create_task(self._work(candidate, call))
                case Cancel(key=key):
                    self._cancel(key)
                case Timer(name=name, seconds=seconds):
                    self._timers.append(group.create_task(self._ring(name, seconds)))
                case Follow() | Compose() | Fail():
                    self._outcome.append(effect)
                    self._decided = self._decided or time.monotonic()
                    self._tell_headers(contest)

    async def _ring(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._mailbox.put(Rang(name))

    async def _work(self, candidate: Candidate, call: Call) -> None:
        """One task: an exchange of its own, without the question's checks, which run once for all."""
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
        watches = [w for w in self._planned.watches if w.side is Side.OUTPUT] if task.checked else []
        exchange = Exchange(member, watches, (), self._max_held, self._planned.follows)
        try:
            await self._race(exchange, self._upstreams[route.upstream], Part(self._receipt, task.key), candidate)
        except* UpstreamError:
            await self._mailbox.put(Lost(task.key, "upstream_too_large"))

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
        for task in self._timers:
            task.cancel()
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
        record.usage = self._usage(contest)
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
        record.usage = usage = self._usage(contest)
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
        return replace(delta, frame={**frame, "outrider": {"fanout": self._told(contest)}})

    # --- what is told of it

    def _usage(self, contest: Contest) -> Document:
        """Of all calls, or of the one that is followed."""
        sums: Document = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        winner = contest.report.winner if self._fan.strategy.usage == "winner" else None
        for record in self._records(winner):
            used = record.usage or {}
            for name in sums:
                sums[name] += used[name] if type(used.get(name)) is int else 0
        return sums

    def _records(self, key: str | None = None) -> list[CallRecord]:
        mine = [record for record in self._receipt.calls if record.name in self._candidates]
        return [record for record in mine if record.name == key] if key is not None else mine

    def _told(self, contest: Contest) -> Document:
        report, full = contest.report, self._fan.strategy.expose == "full"
        said: Document = {
            "strategy": self._fan.strategy.strategy,
            "decision": report.decision,
            "deterministic": report.deterministic,
            "winner": report.winner,
            **(report.said if full or report.public else _summary(report.said)),
            "members": [self._member(run, full=full) for run in contest.runs.values()],
            "stopped": report.stopped,
            "cancelled": sum(run.state is State.CANCELLED for run in contest.runs.values()),
            "escalated_to": report.escalated_to,
            "usage_total": self._usage_of(None),
            "usage_winner": self._usage_of(report.winner),
        }
        return said

    def _usage_of(self, key: str | None) -> Document | None:
        sums: Document = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        records = self._records(key) if key is not None else self._records()
        for record in records:
            for name in sums:
                value = (record.usage or {}).get(name)
                sums[name] += value if type(value) is int else 0
        return sums if records else None

    def _member(self, run: Run, *, full: bool) -> Document:
        candidate = self._candidates.get(run.task.key)
        record = next(iter(self._records(run.task.key)), None)
        ended = candidate.ended if candidate and candidate.ended else self._decided or time.monotonic()
        said: Document = {
            "name": run.task.key,
            "model": run.task.model,
            "role": run.task.role,
            "status": str(run.state or ("valid" if candidate and candidate.followed else "running")),
            "latency_ms": round((ended - candidate.started) * 1000) if candidate else None,
            "finish_reason": run.answer.ended if run.answer else None,
            "usage": {k: v for k, v in (record.usage or {}).items() if type(v) is int}
            if record and record.usage
            else None,
            "check": candidate.finding.watch.name if candidate and candidate.finding else None,
        }
        if run.why:
            said["why"] = run.why
        if run.state is State.CANCELLED and candidate is not None and not said["usage"]:
            said["estimated"] = _estimated(candidate)
        if full:
            said["ballot"] = run.ballot
        return said

    def _tell_headers(self, contest: Contest) -> None:
        report, runs = contest.report, list(contest.runs.values())
        states = [str(run.state or "running") for run in runs if run.task.role in {"member", "section", "criterion"}]
        counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        headers = {
            "x-outrider-strategy": self._fan.strategy.strategy,
            "x-outrider-members": f"{len(self._candidates)} sent, {counted}" if counted else "0 sent",
            "x-outrider-calls": str(len(self._candidates)),
            "x-outrider-decided-ms": str(round(((self._decided or 0) - self._started) * 1000)),
        }
        if report.decision:
            headers["x-outrider-outcome"] = report.decision
        if report.votes:
            headers["x-outrider-votes"] = report.votes
        if report.confidence is not None:
            headers["x-outrider-confidence"] = f"{report.confidence:.3f}"
        if report.winner and self._fan.strategy.expose != "none":
            headers["x-outrider-winner"] = report.winner.encode("ascii", "replace").decode()
        self._receipt.fanout_headers = headers

    def _write(self, contest: Contest) -> None:
        """What the receipt keeps: no text of an answer."""
        for candidate in self._candidates.values():
            if candidate.spoke is not None and candidate.task.role == "member":
                self._pace.times.append(candidate.spoke - candidate.started)
        if getattr(contest, "hedged", False):
            self._pace.hedged()
        self._receipt.fanout = {
            key: value
            for key, value in self._told(contest).items()
            if key in {"strategy", "decision", "deterministic", "winner", "share", "margin", "coverage", "members",
                       "stopped", "cancelled", "escalated_to", "usage_total", "judge", "judge_error"}
        }  # fmt: skip
        self._receipt.fanout["ballots"] = [_hashed(run) for run in contest.runs.values() if run.ballot is not None]
        self._receipt.fanout["seed"] = self._seed


def _vectors(answer: Document) -> list[list[float]] | None:
    """The vectors of an answer of /embeddings, in the order of the texts."""
    try:
        data = sorted(answer["data"], key=lambda one: int(one["index"]))
        return [[float(x) for x in one["embedding"]] for one in data]
    except (KeyError, TypeError, ValueError):
        return None


def _hashed(run: Run) -> Document:
    """A ballot that says nothing and can still be counted again."""
    digest = hashlib.sha256((run.ballot or "").encode("utf-8", "replace")).hexdigest()[:12]
    return {"member": run.task.key, "weight": run.task.weight, "answer": digest}


def _summary(said: Mapping[str, Any]) -> Document:
    """Without the texts of ballots."""
    shown = {key: value for key, value in said.items() if key not in {"answer", "tally"}}
    tally = said.get("tally")
    if isinstance(tally, list):
        shown["tally"] = [{key: value for key, value in row.items() if key != "answer"} for row in tally]
    return shown


def _estimated(candidate: Candidate) -> Document:
    """Tokens of a call that was cut off, by the rule of thumb of four characters each."""
    asked = sum(len(str(message.get("content") or "")) for message in candidate.task.document.get("messages", ()))
    said = sum(
        len(str((choice.get("delta") or {}).get("content") or ""))
        for frame in candidate.frames
        for choice in frame.get("choices", ())
    )
    return {"prompt_tokens": asked // 4 + 1, "completion_tokens": said // 4}
