"""What every strategy of fan-out is: a contest of model calls. Events in, effects out; it never waits.

A contest opens tasks (calls to models of the house), hears what became of them, and ends with one
effect: follow a task (its answer is the answer), compose a text, or fail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.core.tally import State
from gateway.core.terms import Document, Fault

UNSOLVED = "fanout_error"
FINISHES = frozenset({"stop", "length", "content_filter", "tool_calls", "function_call"})


class Task(NamedTuple):
    """One call to a model."""

    key: str  # unique in the contest
    model: str  # a name of the house
    document: Document  # without its model
    role: str = "member"  # member, judge, aggregator, escalation, section, criterion
    checked: bool = True  # its answer may reach the client or another model, so it is checked
    weight: float = 1.0
    live: bool = False  # its answer is asked for as the client asked for it: streamed


class Answer(NamedTuple):
    """A complete and cleared answer."""

    message: Mapping[str, Any]
    finish: str | None = None

    @property
    def text(self) -> str:
        content = self.message.get("content")
        return content if isinstance(content, str) else ""

    @property
    def ended(self) -> str:
        """Why it ended, in a word of the protocol."""
        return self.finish if self.finish in FINISHES else "other"

    @property
    def counts(self) -> bool:
        """Whether it is whole: neither refused nor cut short."""
        return self.finish not in {"length", "content_filter"} and not self.message.get("refusal")


# --- events


class Began(NamedTuple):
    """The first words of a task have been cleared."""

    key: str


class Finished(NamedTuple):
    key: str
    answer: Answer


class Lost(NamedTuple):
    """A task has no answer."""

    key: str
    why: str  # a code
    blocked: bool = False  # a check stopped it
    retryable: bool = True


class Rang(NamedTuple):
    """A timer has run out."""

    name: str


Event = Began | Finished | Lost | Rang


# --- effects


class Open(NamedTuple):
    task: Task


class Cancel(NamedTuple):
    key: str


class Timer(NamedTuple):
    name: str
    seconds: float


class Follow(NamedTuple):
    """The answer of this task is the answer, from its beginning."""

    key: str


class Compose(NamedTuple):
    """A part of the answer in these words; the last one ends it."""

    text: str
    last: bool = True


class Fail(NamedTuple):
    fault: Fault


Effect = Open | Cancel | Timer | Follow | Compose | Fail


@dataclass(slots=True)
class Run:
    """What became of a task."""

    task: Task
    state: State | None = None  # None: it runs
    answer: Answer | None = None
    ballot: str | None = None
    why: str = ""
    blocked: bool = False


@dataclass(slots=True)
class Report:
    """What a contest tells of itself: the strategy's part of the `outrider` object."""

    decision: str = ""
    deterministic: bool = True
    winner: str | None = None
    stopped: str | None = None
    escalated_to: str | None = None
    confidence: float | None = None
    votes: str | None = None
    public: bool = False  # its ballots are words of the configuration, not of a model
    said: dict[str, Any] = field(default_factory=dict)  # more of this strategy's own


class Contest:
    """The bookkeeping that all strategies share; a strategy decides in `began`, `finished`, `lost` and `rang`."""

    def __init__(self, tasks: Sequence[Task], *, max_calls: int | None = None) -> None:
        self.runs: dict[str, Run] = {}
        self.report = Report()
        self.over = False
        self._waiting = list(tasks)
        self._calls_left = max_calls

    # --- what a strategy says

    def start(self) -> list[Effect]:
        return self.open_waiting()

    def began(self, run: Run) -> list[Effect]:
        return []

    def finished(self, run: Run) -> list[Effect]:
        raise NotImplementedError

    def lost(self, run: Run) -> list[Effect]:
        raise NotImplementedError

    def rang(self, name: str) -> list[Effect]:
        return []

    # --- what the shell calls

    @property
    def hears_beginnings(self) -> bool:
        """Whether a `Began` can change anything: most strategies wait for whole answers."""
        return type(self).began is not Contest.began

    def take(self, event: Event) -> list[Effect]:
        if isinstance(event, Rang):
            return [] if self.over else self.rang(event.name)
        run = self.runs.get(event.key)
        if run is None or run.state is not None:
            return []
        if isinstance(event, Began):
            return [] if self.over else self.began(run)
        if isinstance(event, Finished):
            run.state, run.answer = State.VALID, event.answer
            return [] if self.over else self.finished(run)
        run.state, run.why, run.blocked = State.INVALID if event.blocked else State.ERROR, event.why, event.blocked
        return [] if self.over else self.lost(run)

    # --- what strategies share

    def open(self, task: Task) -> list[Effect]:
        """Ask, as far as the budget goes."""
        run = self.runs[task.key] = Run(task)
        if self._calls_left is not None:
            if self._calls_left <= 0:
                run.state, run.why = State.NOT_SENT, "budget"
                return []
            self._calls_left -= 1
        return [Open(task)]

    def open_waiting(self, most: int | None = None) -> list[Effect]:
        going, self._waiting = self._waiting[:most], self._waiting[most:] if most is not None else []
        return [effect for task in going for effect in self.open(task)]

    @property
    def running(self) -> list[Run]:
        return [run for run in self.runs.values() if run.state is None]

    def end(self, *last: Effect, keep: str | None = None, state: State = State.CANCELLED) -> list[Effect]:
        """The outcome: everything else that still runs is dropped."""
        self.over = True
        dropped = [run for run in self.running if run.task.key != keep]
        for run in dropped:
            run.state = state
        for task in self._waiting:
            self.runs[task.key] = Run(task, State.NOT_SENT)
        self._waiting = []
        return [*(Cancel(run.task.key) for run in dropped), *last]

    def give_up(self, state: State) -> list[Effect]:
        """Wait for nothing more, without an outcome yet."""
        dropped = self.running
        for run in dropped:
            run.state = state
        return [Cancel(run.task.key) for run in dropped]

    def fail(self, decision: str, message: str, status: int = 502) -> list[Effect]:
        """No answer. Where checks took the answers away it is a block, which nobody should try again."""
        self.report.decision = decision
        blocked = [run for run in self.runs.values() if run.blocked]
        reasons = ", ".join(
            f"{run.task.key}: {run.why or run.state}" for run in self.runs.values() if run.state is not State.VALID
        )
        if blocked and not any(run.state in {State.ERROR, State.TIMEOUT} for run in self.runs.values()):
            return self.end(
                Fail(
                    Fault(
                        400,
                        "Every answer was stopped by a policy.",
                        "content_filter",
                        "invalid_request_error",
                        headers=FINAL,
                    )
                )
            )
        headers = FINAL if status < 500 else {}
        return self.end(
            Fail(
                Fault(
                    status, f"{message} ({reasons})." if reasons else f"{message}.", decision, UNSOLVED, headers=headers
                )
            )
        )


FINAL = {"x-should-retry": "false"}


def seed_of(document: Document) -> str:
    """A number that belongs to the request: permutations are the same for the same question."""
    return hashlib.sha256(repr(document).encode("utf-8", "replace")).hexdigest()[:16]
