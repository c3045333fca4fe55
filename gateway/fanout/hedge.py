"""Hedge: the next member starts when the first is late; whoever says the first cleared words goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from gateway.core.terms import Document
from gateway.fanout.base import Facts, HedgeDelay, Member, Strategy, bounded
from gateway.fanout.contest import Contest, Effect, Follow, Run, Task, Timer

FIXED = 2.0  # seconds that stand for p95 until it is known


class Hedge(Strategy):
    """The first cleared words win; `delay: 0s` is a race of all."""

    strategy: Literal["hedge"] = "hedge"
    members: list[Member] = Field(min_length=2, max_length=16)
    delay: HedgeDelay = 1.0
    max_hedged_fraction: float = Field(
        0.1, ge=0, le=1, description="of all requests that may ask a second member for being late"
    )

    @model_validator(mode="after")
    def _told_apart(self) -> Hedge:
        names = [member.named for member in self.members]
        if len(set(names)) < len(names):
            raise ValueError("two members have the same name; give one of them a 'name'")
        return self

    def models(self) -> Mapping[str, str]:
        return {f"members.{n}.model": member.model for n, member in enumerate(self.members)}

    def traps(self) -> list[str]:
        if any(member.samples > 1 for member in self.members):
            return ["'samples' say nothing in a hedge"]
        return []

    def contest(self, asked: Document, facts: Facts) -> HedgeContest:
        return HedgeContest(self, asked, facts)


class HedgeContest(Contest):
    def __init__(self, hedge: Hedge, asked: Document, facts: Facts) -> None:
        tasks = [
            Task(m.named, m.model, bounded(m.document(asked, 0), hedge.budget, len(hedge.members)), live=True)
            for m in hedge.members
        ]
        super().__init__(tasks, max_calls=hedge.budget.max_calls)
        self._hedge = hedge
        self._facts = facts
        self._delay = hedge.delay if isinstance(hedge.delay, float) else facts.p95 or FIXED
        self.hedged = False
        self.report.deterministic = False

    def start(self) -> list[Effect]:
        timer = Timer("deadline", self._hedge.deadline)
        if self._delay == 0:
            return [timer, *self.open_waiting()]
        return [timer, *self._next()]

    def began(self, run: Run) -> list[Effect]:
        self.report.decision, self.report.winner = "decided", run.task.key
        return self.end(Follow(run.task.key), keep=run.task.key)

    def finished(self, run: Run) -> list[Effect]:
        assert run.answer is not None
        return self._without(run, "empty")

    def lost(self, run: Run) -> list[Effect]:
        return self._without(run, run.why)

    def rang(self, name: str) -> list[Effect]:
        if name == "deadline":
            return self.fail("deadline", "No member answered in time", 504)
        if not self._facts.may_hedge:
            return []
        self.hedged = True
        return self._next()

    def _without(self, run: Run, why: str) -> list[Effect]:
        """A member has no answer: the next starts at once."""
        run.why = why
        opened = self._next()
        if opened or self.running:
            return opened
        return self.fail("all_failed", "No member answered")

    def _next(self) -> list[Effect]:
        opened = self.open_waiting(1)
        if opened and self._waiting:
            opened.append(Timer(f"hedge {len(self._waiting)}", self._delay))
        return opened
