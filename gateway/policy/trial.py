"""The tests that stand in a policy file: played offline, through the same exchange and gate as any request.

Each is played plain and streamed; a reply is cut at every place where `stream: every_split` says so.
Local checks judge; what a check that asks a model would say is given.
"""

from __future__ import annotations

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
    Passage,
    Request,
    Rewrite,
    Rewritten,
    Send,
    Verdict,
)
from gateway.policy.model import Policy, Trial
from gateway.policy.plan import Plan, plan_for
from gateway.policy.replies import read as _read
from gateway.policy.replies import said_in, ways
from gateway.wire import canonical
from gateway.wire.endpoints import CHAT
from gateway.wire.rewrite import write
from gateway.wire.template import document_of

MAX_HELD = 2**20
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

    way: str  # plain, streamed, or the place where the reply was cut
    decision: Decision | None = None
    asked: str | None = None  # the question as the upstream got it
    told: dict[str, str] = field(default_factory=dict)  # the answer as the client got it, by channel
    actions: dict[str, Action] = field(default_factory=dict)  # by the check's name
    looks: dict[str, list[str]] = field(default_factory=dict)  # what each look of a check said, in words

    @property
    def answer(self) -> str:
        return "\n".join(self.told.values())


@dataclass(frozen=True)
class Failure:
    """One thing that was not as the test expects it, and all that happened."""

    way: str
    message: str
    expected: str = ""
    got: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)  # what each check said
    upstream: str | None = None  # the question as it was asked; None: it was not
    client: str | None = None  # what the client got; None: nothing


def play(policy: Policy, trial: Trial) -> list[Failure]:
    """Every way of playing the test; empty if all is as it expects. Raises Unplayable."""
    request = _request(trial)
    plan = plan_for(policy, request)
    failures: list[Failure] = []
    for stream, deltas, way in ways(trial.reply, cut=trial.stream == "every_split"):
        played = _Stage(policy, trial, plan, request, way).played(deltas, stream=stream)
        failures += _failures(policy, trial, played)
        if failures:
            break  # the first way that fails says enough
    return failures


def _failures(policy: Policy, trial: Trial, played: Played) -> list[Failure]:
    checks = {name: ", ".join(played.looks.get(name, ["was not asked"])) for name in policy.entries}
    return [
        Failure(played.way, message, expected, got, checks, played.asked, played.answer if played.told else None)
        for message, expected, got in _wrong(trial, played)
    ]


def _request(trial: Trial) -> Request:
    messages: Any = trial.messages or [{"role": "user", "content": trial.say if trial.say is not None else "hello"}]
    return CHAT.read(canonical.dump({"model": trial.model, "messages": messages, **trial.request}))


class _Stage:
    def __init__(self, policy: Policy, trial: Trial, plan: Plan, request: Request, way: str) -> None:
        self._policy = policy
        self._trial = trial
        self._plan = plan
        self._request = request
        self._played = Played(way)
        self._waiting: list[Event] = []
        self._answered = False

    def played(self, deltas: Sequence[Document], *, stream: bool) -> Played:
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
                *(Arrived("only", delta) for delta in _read(deltas, self._asked, stream=stream)),
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
                    self._note(finding, passages)
                    if watch.gates:
                        self._waiting.append(Found(finding))
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
                    frame = document_of(delta.frame)
                    write(frame, changes)
                    for channel, text in said_in(frame):
                        self._played.told[channel] = self._played.told.get(channel, "") + text
                case Close(verdict=verdict):
                    self._close(verdict)

    def _close(self, verdict: Verdict) -> None:
        self._played.decision = verdict.decision
        if verdict.by is not None:
            self._note(verdict.by)

    def _note(self, finding: Finding, passages: Sequence[Passage] = ()) -> None:
        name = finding.watch.name.partition(".")[2]
        action = finding.watch.action if finding.outcome is Outcome.HIT and finding.watch.shadow else finding.action
        self._played.actions[name] = max(self._played.actions.get(name, Action.PASS), action)
        looks = self._played.looks.setdefault(name, [])
        known = not passages and any(look.split()[0] == action.name.lower() for look in looks)
        if not known and (said := _in_words(finding, action, passages)) not in looks:
            looks.append(said)

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


def _in_words(finding: Finding, action: Action, passages: Sequence[Passage]) -> str:
    """What one look said: its action, its side, why."""
    judgement = finding.judgement
    named = ", ".join(judgement.categories) if judgement is not None and judgement.hit else finding.note
    shadow = "in shadow, " if finding.watch.shadow else ""
    why = f" ({shadow}{named})" if named else f" ({shadow.removesuffix(', ')})" if shadow else ""
    failed = "failed: " if finding.outcome is Outcome.FAILED else ""
    hit = finding.outcome is not Outcome.CLEAR
    at = (
        "+".join(dict.fromkeys(str(p.place) for p in passages if judgement and p.path in judgement.paths))
        if hit
        else ""
    )
    return f"{failed}{action.name.lower()} on {at or finding.watch.side}{why}"


def _wrong(trial: Trial, played: Played) -> Iterator[tuple[str, str, str]]:
    """The message, what was expected, what there was instead."""
    expect = trial.expect
    if isinstance(expect, str):
        if expect == "flag":
            if Action.FLAG not in played.actions.values():
                yield "expected a flag, and there is none", "a flag", f"{played.decision}{_by(played)}"
        elif played.decision not in OUTCOMES[expect]:
            got = f"{played.decision}{_by(played)}"
            yield f"expected {expect}, and it was {got}", expect, got
    else:
        for name, action in expect.items():
            found = played.actions.get(name, Action.PASS).name.lower()
            if found != action:
                yield f"expected '{name}' to {action}, and it was {found}", f"{name}: {action}", f"{name}: {found}"
    upstream, client = "the question that the upstream got", "the answer that the client got"
    yield from _holds(upstream, played.asked or "", trial.upstream_contains, trial.upstream_not_contains)
    yield from _holds(client, played.answer, trial.client_contains, trial.client_not_contains)


def _by(played: Played) -> str:
    hit = [f"{name}: {action.name.lower()}" for name, action in played.actions.items() if action is not Action.PASS]
    return f" ({', '.join(hit)})" if hit else ""


def _holds(what: str, text: str, wanted: Sequence[str], unwanted: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for one in wanted:
        if one not in text:
            yield f"{what} does not hold {one!r}: {text[:200]!r}", f"{what} holds {one!r}", "it does not"
    for one in unwanted:
        if one in text:
            around = excerpt(text, one)
            yield f"{what} holds {one!r}: {around!r}", f"{what} does not hold {one!r}", f"it does: {around!r}"


def excerpt(text: str, one: str) -> str:
    """A little around the place where it stands."""
    at = text.index(one)
    start, end = max(0, at - 40), at + len(one) + 40
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def results(policy: Policy) -> Mapping[int, list[Failure]]:
    """The number of each test -> what was not as it expects."""
    found = {}
    for number, trial in enumerate(policy.head.tests):
        try:
            found[number] = play(policy, trial)
        except Unplayable as error:
            found[number] = [Failure("", str(error))]
    return found
