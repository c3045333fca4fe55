"""Best of n: candidates, then a judge that chooses one of them, blind and if wanted in two orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from gateway.core.ballot import Reading, read
from gateway.core.tally import State
from gateway.core.terms import Document
from gateway.fanout import prompts
from gateway.fanout.base import Escalate, Facts, Message, Model, Outcome, Panel
from gateway.fanout.contest import Compose, Contest, Effect, Follow, Run, Task, Timer


class Judge(Model):
    model: str = Field(min_length=1)
    orders: int = Field(1, ge=1, le=4, description="how often it is asked, each time in another order; all must agree")
    criteria: str = Field("", description="what makes an answer the best")


class BestOf(Panel):
    """The judge's choice; a judge that fails or disagrees with itself is never replaced by chance."""

    strategy: Literal["best_of"] = "best_of"
    judge: Judge
    on_judge_error: Literal["fail", "first", "vote"] | Escalate = "fail"

    def models(self) -> Mapping[str, str]:
        found = {**super().models(), "judge.model": self.judge.model}
        if isinstance(self.on_judge_error, Escalate):
            found["on_judge_error.escalate"] = self.on_judge_error.escalate
        return found

    def traps(self) -> list[str]:
        found = super().traps()
        if self.judge.model in {member.model for member in self.members}:
            found.append("the judge is among the candidates: models prefer their own answers")
        if self.size == 1:
            found.append("the best of one is that one")
        return found

    def contest(self, asked: Document, facts: Facts) -> BestOfContest:
        return BestOfContest(self, asked, facts)


class Collecting(Contest):
    """Waits for candidates: all, or a quorum and a time of grace; then `chosen` goes on with those that count."""

    def __init__(self, panel: Panel, asked: Document, facts: Facts) -> None:
        super().__init__(panel.tasks(asked), max_calls=panel.budget.max_calls)
        self._panel = panel
        self._asked = asked
        self._facts = facts
        self._grace = False
        self._collected = False

    def start(self) -> list[Effect]:
        return [Timer("deadline", self._panel.deadline), *self.open_waiting(), *self._count()]

    def finished(self, run: Run) -> list[Effect]:
        assert run.answer is not None
        if run.task.role != "member":
            return self.second(run)
        if not run.answer.counts or not (run.answer.text.strip() or run.answer.message.get("tool_calls")):
            run.state, run.why = State.INVALID, run.answer.ended
        return self._count()

    def lost(self, run: Run) -> list[Effect]:
        if run.task.role != "member":
            return self.second(run)
        if run.blocked and self._panel.on_blocked_candidate == "fail":
            return self.fail("candidate_blocked", "An answer was stopped by a policy", 400)
        return self._count()

    def rang(self, name: str) -> list[Effect]:
        if not self._collected:
            self.report.stopped = name
            return [*self.give_up(State.TIMEOUT), *self._conclude()]
        return self.late() if name == "deadline" else []

    def second(self, run: Run) -> list[Effect]:
        """A judge or an aggregator has answered or failed."""
        raise NotImplementedError

    def chosen(self, candidates: list[Run]) -> list[Effect]:
        raise NotImplementedError

    def late(self) -> list[Effect]:
        return self.fail("deadline", "The answer was not ready in time", 504)

    @property
    def candidates(self) -> list[Run]:
        return [run for run in self.runs.values() if run.task.role == "member" and run.state is State.VALID]

    def _count(self) -> list[Effect]:
        if not self.running:
            return self._conclude()
        if len(self.candidates) >= self._panel.least and not self._grace:
            self._grace = True
            return [Timer("grace", self._panel.grace)]
        return []

    def _conclude(self) -> list[Effect]:
        self._collected = True
        found = self.candidates
        self.report.votes = None
        if len(found) >= self._panel.least:
            return self.chosen(found)
        outcome: Outcome = self._panel.on_no_quorum
        message = "Too few answers came"
        if isinstance(outcome, Message):
            self.report.decision = "no_quorum"
            return self.end(Compose(outcome.message))
        if isinstance(outcome, Escalate):
            return self.escalate(outcome.escalate, message)
        if outcome == "best_effort" and found:
            self.report.decision = "degraded"
            return self.chosen(found)
        return self.fail("no_quorum", message)

    def escalate(self, model: str, message: str) -> list[Effect]:
        opened = self.open(Task("escalation", model, self._asked, role="escalation", live=True))
        if not opened:
            return self.fail("no_budget", f"{message}, and nothing is left of the budget")
        self.report.decision, self.report.escalated_to, self.report.winner = "escalated", model, "escalation"
        return [*self.end(keep="escalation"), *opened, Follow("escalation")]


class BestOfContest(Collecting):
    def __init__(self, best: BestOf, asked: Document, facts: Facts) -> None:
        super().__init__(best, asked, facts)
        self._best = best
        self._orders: dict[str, list[int]] = {}  # by the judge's task: its order of the candidates
        self._shown: list[Run] = []
        self._picks: list[str | None] = []

    def chosen(self, candidates: list[Run]) -> list[Effect]:
        if len(candidates) == 1:
            return self._win(candidates[0].task.key, "decided" if not self.report.decision else self.report.decision)
        self._shown = candidates
        seed, judge = self._facts.seed, self._best.judge
        opened: list[Effect] = []
        for number in range(judge.orders):
            order = prompts.shuffled(len(candidates), seed, number)
            key = f"judge#{number + 1}"
            self._orders[key] = order
            texts = [_shown(candidates[place]) for place in order]
            document = prompts.judge(self._asked, texts, criteria=judge.criteria, seed=seed)
            opened += self.open(Task(key, judge.model, document, role="judge", checked=False))
        return opened if len(opened) == judge.orders else [*self.give_up(State.CANCELLED), *self._unjudged("no_budget")]

    def second(self, run: Run) -> list[Effect]:
        if run.task.role == "escalation":
            return [] if run.answer else self.fail("escalation_failed", "The model that was to decide gave no answer")
        order = self._orders[run.task.key]
        place = prompts.choice(run.answer.text, len(order)) if run.answer else None
        if place is None:
            run.state, run.why = State.INVALID, run.why or "unreadable"
        self._picks.append(None if place is None else self._shown[order[place]].task.key)
        if self.running:
            return []
        if None in self._picks:
            return self._unjudged("judge_failed")
        if len(set(self._picks)) > 1:
            return self._unjudged("judge_disagreed")
        assert self._picks[0] is not None
        return self._win(self._picks[0], self.report.decision or "decided")

    def late(self) -> list[Effect]:
        return [*self.give_up(State.TIMEOUT), *self._unjudged("judge_late")]

    def _unjudged(self, why: str) -> list[Effect]:
        """No choice: what the settings say, and the report says so too."""
        self.report.said["judge_error"] = why
        way = self._best.on_judge_error
        if isinstance(way, Escalate):
            return self.escalate(way.escalate, "The judge made no choice")
        if way == "first":
            return self._win(self.candidates[0].task.key, "degraded")
        if way == "vote":
            return self._win(self._most_said(), "degraded")
        return self.fail(why, "The judge made no choice")

    def _most_said(self) -> str:
        """The candidate whose words most candidates said, then the first."""
        reading = _TEXT
        said = {run.task.key: read(run.answer.text, reading) for run in self.candidates if run.answer}
        counts = Counter(said.values())
        return max(said, key=lambda key: counts[said[key]])

    def _win(self, key: str, decision: str) -> list[Effect]:
        self.report.decision, self.report.winner = decision, key
        self.report.said["judge"] = {"model": self._best.judge.model, "orders": len(self._orders), "picks": self._picks}
        return self.end(Follow(key))


def _shown(run: Run) -> str:
    assert run.answer is not None
    calls = run.answer.message.get("tool_calls")
    return f"{run.answer.text}\n[tool calls: {calls}]" if calls else run.answer.text


_TEXT = Reading("text")
