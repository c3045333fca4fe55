"""The tests that stand in a policy file: played offline, through the same exchange and gate as any request.

Each is played plain and streamed; a reply is cut at every place where `stream: every_split` says so.
Local checks judge; what a check that asks a model would say is given.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.checks.base import Check
from gateway.checks.panel import Jury
from gateway.core.exchange import Exchange
from gateway.core.masking import Masks
from gateway.core.terms import (
    Action,
    Arrived,
    Ask,
    Call,
    Close,
    Decision,
    Delta,
    Document,
    Effect,
    Ended,
    Event,
    Examine,
    Finding,
    Found,
    Judgement,
    Note,
    Outcome,
    Request,
    Rewrite,
    Rewritten,
    Send,
    Verdict,
)
from gateway.policy.model import Policy, Trial
from gateway.policy.plan import Plan, plan_for
from gateway.wire import canonical
from gateway.wire.endpoints import CHAT
from gateway.wire.rewrite import write

MAX_HELD = 2**20
MOST_SPLITS = 400
OUTCOMES = {
    "pass": {Decision.RELEASED},
    "block": {Decision.BLOCKED},
    "mask": {Decision.MASKED},
    "redact": {Decision.MASKED},
}


class Unplayable(ValueError):
    """A test that cannot be played as it stands."""


@dataclass
class Played:
    """What came of one way of playing a test."""

    way: str  # plain, streamed, or the places where the reply was cut
    decision: Decision | None = None
    asked: str = ""  # the question as the upstream got it
    told: str = ""  # the answer as the client got it
    actions: dict[str, Action] = field(default_factory=dict)  # by the check's name


@dataclass(frozen=True)
class Failure:
    """One thing that was not as the test expects it."""

    way: str
    message: str


def play(policy: Policy, trial: Trial) -> list[Failure]:
    """Every way of playing the test; empty if all is as it expects. Raises Unplayable."""
    request = _request(trial)
    plan = plan_for(policy, request)
    _check_names(policy, trial)
    failures = []
    for stream, pieces, way in _ways(trial):
        played = _Stage(policy, trial, plan, request, way).played(pieces, stream=stream)
        failures += [Failure(way, message) for message in _wrong(trial, played)]
        if failures:
            break  # the first way that fails says enough
    return failures


def _request(trial: Trial) -> Request:
    messages: Any = trial.messages or [{"role": "user", "content": trial.say if trial.say is not None else "hello"}]
    return CHAT.read(canonical.dump({"model": trial.model, "messages": messages, **trial.request}))


def _check_names(policy: Policy, trial: Trial) -> None:
    known = set(policy.entries) | {
        f"{name}.{member}"
        for name, entry in policy.entries.items()
        if isinstance(entry.check, Jury)
        for member in entry.check.jurors()
    }
    named = [*trial.given, *trial.fail, *(trial.expect if isinstance(trial.expect, dict) else ())]
    for name in named:
        if name not in known:
            raise Unplayable(f"the policy has no check '{name}'")


def _ways(trial: Trial) -> Iterator[tuple[bool, list[str], str]]:
    reply = trial.reply
    yield False, [reply], "plain"
    yield True, [reply], "streamed"
    if trial.stream != "every_split":
        return
    yield True, list(reply), "streamed, every character by itself"
    for place in itertools.islice(range(1, len(reply)), MOST_SPLITS):
        yield True, [reply[:place], reply[place:]], f"streamed, cut after {reply[:place][-12:]!r}"


class _Stage:
    def __init__(self, policy: Policy, trial: Trial, plan: Plan, request: Request, way: str) -> None:
        self._policy = policy
        self._trial = trial
        self._plan = plan
        self._request = request
        self._played = Played(way)
        self._waiting: list[Event] = []
        self._answered = False

    def played(self, pieces: Sequence[str], *, stream: bool) -> Played:
        call = Call("only", "test", self._request.model, self._request.document, stream=stream, rewritable=True)
        masks = Masks(b"test", "test")
        plan, passages = self._plan, self._request.passages
        exchange = Exchange(call, plan.watches, passages, MAX_HELD, plan.follows, masks=masks)
        self._call = call
        self._take(exchange.start())
        while True:
            while self._waiting:
                self._take(exchange.take(self._waiting.pop(0)))
            if exchange.closed or not self._asked or self._answered:
                break
            self._answered = True
            self._waiting = [
                *(Arrived("only", delta) for delta in _deltas(pieces, self._asked, stream=stream)),
                Ended("only"),
            ]
        return self._played

    _asked: Call | None = None

    def _take(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Examine(watch=watch, passages=passages):
                    check = self._plan.checks[watch.name]
                    finding = self._judged(watch.name.partition(".")[2], check, effect)
                    self._note(finding)
                    if watch.gates:
                        self._waiting.append(Found(finding))
                    del passages
                case Note(finding=finding):
                    self._note(finding)
                case Rewrite(texts=texts):
                    request = CHAT.rewritten(self._request, texts)
                    call = Call("only", "test", request.model, request.document, self._call.stream, rewritable=True)
                    self._waiting.append(Rewritten(call, request.passages))
                case Ask(call=call):
                    self._asked = call
                    self._played.asked = canonical.dump(call.document).decode()
                case Send(delta=delta, changes=changes) if delta.frame is not None:
                    write(delta.frame, changes)
                    self._played.told += _words(delta.frame)
                case Close(verdict=verdict):
                    self._close(verdict)

    def _close(self, verdict: Verdict) -> None:
        self._played.decision = verdict.decision
        if verdict.by is not None:
            self._note(verdict.by)

    def _note(self, finding: Finding) -> None:
        name = finding.watch.name.partition(".")[2]
        action = finding.watch.action if finding.outcome is Outcome.HIT and finding.watch.shadow else finding.action
        self._played.actions[name] = max(self._played.actions.get(name, Action.PASS), action)

    def _judged(self, name: str, check: Check, examine: Examine) -> Finding:
        if name in self._trial.fail:
            return Finding(examine.watch, Outcome.FAILED, note="as the test says")
        if name in self._trial.given:
            judgement = _given(self._trial.given[name])
        elif isinstance(check, Jury):
            judgement = self._jury(name, check, examine)
        elif check.local:
            judgement = (check.find if examine.watch.rewrites else check.judge)(examine.passages)
        else:
            raise Unplayable(f"'{name}' asks a model: say under 'given' what it answers")
        return Finding(examine.watch, Outcome.HIT if judgement.hit else Outcome.CLEAR, judgement)

    def _jury(self, name: str, jury: Jury, examine: Examine) -> Judgement:
        said: dict[str, Judgement | None] = {}
        for member, check in jury.jurors().items():
            path = f"{name}.{member}"
            if path in self._trial.fail:
                said[member] = None
            elif path in self._trial.given:
                said[member] = _given(self._trial.given[path])
            elif check.local:
                said[member] = check.judge(examine.passages)
            else:
                raise Unplayable(f"'{path}' asks a model: say under 'given' what it answers")
        return jury.judgement(said)


def _given(word: str) -> Judgement:
    return Judgement(hit=word != "pass", categories=("given",) if word != "pass" else ())


def _deltas(pieces: Sequence[str], call: Call, *, stream: bool) -> Iterator[Delta]:
    reader = CHAT.reader(call.document, stream=stream)
    reader.rewritable = True
    head: Document = {"id": "test", "created": 1, "model": "test"}
    if not stream:
        message = {"role": "assistant", "content": "".join(pieces)}
        yield reader.delta({**head, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    else:
        for piece in pieces:
            yield reader.delta({**head, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        yield reader.delta({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if closing := reader.closing():
        yield Delta(None, closing)


def _words(frame: Document) -> str:
    said = [choice.get("delta") or choice.get("message") or {} for choice in frame["choices"]]
    return "".join(one.get("content") or "" for one in said)


def _wrong(trial: Trial, played: Played) -> Iterator[str]:
    expect = trial.expect
    if isinstance(expect, str):
        if expect == "flag":
            if Action.FLAG not in played.actions.values():
                yield "expected a flag, and there is none"
        elif played.decision not in OUTCOMES[expect]:
            yield f"expected {expect}, and it was {played.decision}{_by(played)}"
    else:
        for name, action in expect.items():
            found = played.actions.get(name, Action.PASS).name.lower()
            if found != action:
                yield f"expected '{name}' to {action}, and it was {found}"
    yield from _holds(
        "the question that the upstream got", played.asked, trial.upstream_contains, trial.upstream_not_contains
    )
    yield from _holds("the answer that the client got", played.told, trial.client_contains, trial.client_not_contains)


def _by(played: Played) -> str:
    hit = [f"{name}: {action.name.lower()}" for name, action in played.actions.items() if action is not Action.PASS]
    return f" ({', '.join(hit)})" if hit else ""


def _holds(what: str, text: str, wanted: Sequence[str], unwanted: Sequence[str]) -> Iterator[str]:
    for one in wanted:
        if one not in text:
            yield f"{what} does not hold {one!r}: {text[:200]!r}"
    for one in unwanted:
        if one in text:
            yield f"{what} holds {one!r}: {text[:200]!r}"


def results(policy: Policy) -> Mapping[int, list[Failure]]:
    """The number of each test -> what was not as it expects."""
    found = {}
    for number, trial in enumerate(policy.head.tests):
        try:
            found[number] = play(policy, trial)
        except Unplayable as error:
            found[number] = [Failure("", str(error))]
    return found
