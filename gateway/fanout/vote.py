"""Vote: the same task for every member; the answer that most of them give, if enough do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from gateway.core import ballot as reading
from gateway.core.ballot import Abstained
from gateway.core.cluster import clusters, medoid
from gateway.core.tally import Ballot as Vote_
from gateway.core.tally import Rules, State, Tally, beta, tally, wilson
from gateway.core.terms import Document
from gateway.fanout.base import Ballot, Escalate, Facts, Message, Model, Outcome, Panel
from gateway.fanout.contest import Answer, Compose, Contest, Effect, Follow, Run, Task, Timer
from gateway.fanout.fields import assembled

Tie = Literal["distinct_models", "weight", "order", "no_consensus"]


class Beta(Model):
    beta: float = Field(gt=0.5, lt=1)


class Window(Model):
    window: int = Field(ge=2, le=64)


class Vote(Panel):
    """Plurality with quorum, share and ties; stops as soon as the rest cannot change the winner."""

    strategy: Literal["vote"] = "vote"
    ballot: Ballot = Ballot()
    min_share: float = Field(0.5, ge=0, le=1, description="of the weight that voted; 0.5 asks for more than half")
    tie: tuple[Tie, ...] = ("distinct_models", "weight", "order")
    early_stop: Literal["none", "exact"] | Beta | Window = "exact"
    abstain: Literal["ignore", "against"] = "ignore"
    on_no_consensus: Outcome = "error"
    calibration: str | None = Field(None, description="a file that `outrider replay votes` wrote")

    @model_validator(mode="after")
    def _reachable(self) -> Vote:
        if len(self.tie) > 1 and "no_consensus" in self.tie:
            raise ValueError("'tie: [no_consensus]' stands alone")
        return self

    @cached_property
    def rules(self) -> Rules:
        tie = () if "no_consensus" in self.tie else self.tie
        return Rules(self.least, self.min_share, tie, abstain_counts=self.abstain == "against")

    @property
    def puts_together(self) -> bool:
        return self.ballot.type == "json" and self.ballot.json_mode == "fields"

    def models(self) -> Mapping[str, str]:
        cluster = self.ballot.cluster
        return {**super().models(), **({"ballot.cluster.model": cluster.model} if cluster else {})}

    def traps(self) -> list[str]:
        found = super().traps()
        models = {member.model for member in self.members}
        if self.ballot.type == "tool_calls" and len(models) < self.size:
            found.append("samples of one model agree on their mistakes: a vote on tool calls gains nothing from them")
        if len(models) == 1 and self.size > 1:
            found.append("all members are one model: they agree also where they are wrong")
        weights = [member.weight for member in self.members for _ in range(member.samples)]
        if self.size > 1 and not self.rules.enough((sum(weights) - min(weights)) / sum(weights)):
            found.append("'min_share' is reached only if all agree: one member that differs prevents a decision")
        if self.size == 1:
            found.append("a vote of one is no vote")
        return found

    def contest(self, asked: Document, facts: Facts) -> VoteContest:
        return VoteContest(self, asked, facts)


class VoteContest(Contest):
    def __init__(self, vote: Vote, asked: Document, facts: Facts) -> None:
        tasks = vote.tasks(asked)
        super().__init__(tasks, max_calls=vote.budget.max_calls)
        self._vote = vote
        self._asked = asked
        self._facts = facts
        self._tasks = tasks
        self._rules = vote.rules
        self._reading = vote.ballot.reading
        self._same = reading.same(self._reading)
        self._configured = sum(task.weight for task in tasks)
        self._round = vote.early_stop.window if isinstance(vote.early_stop, Window) else None
        self._known: dict[str, tuple[State, str | None]] = {}  # what a text is as a ballot: equal ones are read once
        self._accuracies = _accuracies(facts.calibration)
        self._window: list[str | None] = []
        self._grace = False
        self._clusters: dict[str, str] | None = None  # a text -> the text that stands for its like
        self._alike: list[Vote_] = []
        self._middles: dict[str, str] = {}  # that text -> the member that said what is most like the others
        self.report.deterministic = vote.early_stop in ("none", "exact")

    def start(self) -> list[Effect]:
        return [Timer("deadline", self._vote.deadline), *self.open_waiting(self._round), *self._count()]

    def finished(self, run: Run) -> list[Effect]:
        if run.task.role == "escalation":
            return []
        if run.task.role == "embeddings":
            return self._clustered(run)
        run.state = self._state(run)
        self._window.append(run.ballot)
        return self._count()

    def lost(self, run: Run) -> list[Effect]:
        if run.task.role == "escalation":
            return self.fail("escalation_failed", "The model that was to decide gave no answer")
        if run.task.role == "embeddings":
            return self._clustered(run)
        if run.blocked and self._vote.on_blocked_candidate == "fail":
            return self.fail("candidate_blocked", "An answer was stopped by a policy", 400)
        self._window.append(None)
        return self._count()

    def rang(self, name: str) -> list[Effect]:
        if self._clusters is not None:
            return []
        if name == "grace" and not self._tally().has_quorum:
            return []
        self.report.stopped = name
        self._waiting = []
        return [*self.give_up(State.TIMEOUT), *self._conclude()]

    def _state(self, run: Run) -> State:
        assert run.answer is not None
        if not run.answer.counts:
            run.why = run.answer.ended
            return State.INVALID
        state, run.ballot = self._read(run.answer)
        if state is State.INVALID:
            run.why = "unreadable"
        return state

    def _read(self, answer: Answer) -> tuple[State, str | None]:
        """What an answer is as a ballot."""
        if self._reading.kind == "tool_calls":
            return self._read_anew(answer)
        if answer.text not in self._known:
            self._known[answer.text] = self._read_anew(answer)
        return self._known[answer.text]

    def _read_anew(self, answer: Answer) -> tuple[State, str | None]:
        try:
            found = reading.read(answer.text, self._reading, answer.message)
        except Abstained:
            return State.ABSTAIN, None
        return (State.INVALID if found is None else State.VALID), found

    def ballots(self) -> list[Vote_]:
        return [self._ballot(order, task) for order, task in enumerate(self._tasks)]

    def _ballot(self, order: int, task: Task) -> Vote_:
        run = self.runs.get(task.key)
        state = State.NOT_SENT if run is None else run.state or State.CANCELLED
        answer = run.ballot if run else None
        if self._clusters and answer is not None:
            answer = self._clusters.get(answer, answer)
        return Vote_(task.key, order, task.model, task.weight, state, answer, self._accuracies.get(task.model, 0.0))

    def _tally(self) -> Tally:
        return tally(self.ballots(), self._rules, self._configured, self._same)

    def _outstanding(self) -> tuple[float, int]:
        """Weight and number of the ballots that may still come."""
        left = [run.task for run in self.running] + list(self._waiting)
        if self._calls_left is not None:
            left = left[: len(self.running) + self._calls_left]
        return sum(task.weight for task in left), len(left)

    def _count(self) -> list[Effect]:
        weight, number = self._outstanding()
        if not number:
            return self._conclude()
        early = self._vote.early_stop
        if early == "none":
            return self._wait(sum([run.state is State.VALID for run in self.runs.values()]))
        count = self._tally()
        if self._vote.ballot.cluster is not None and not _outweighs(count, self._configured):
            early = "none"  # the likes of others may still join
        if early == "exact":
            if count.is_won(weight):
                self.report.stopped = "exact"
                return self._win(count)
            if count.is_lost(weight, number):
                self.report.stopped = "exact"
                return self._conclude()
        elif isinstance(early, Beta) and count.decided and self._is_sure(count, early.beta):
            self.report.stopped = "beta"
            return self._win(count)
        elif isinstance(early, Window) and not self.running:
            return self._next_round(count)
        return self._wait(count.valid)

    def _wait(self, valid: int) -> list[Effect]:
        """For the others: as long as it takes, or once these ballots are a quorum, for their grace."""
        if valid >= self._rules.quorum and not self._grace:
            self._grace = True
            return [Timer("grace", self._vote.grace)]
        return []

    def _is_sure(self, count: Tally, bound: float) -> bool:
        counts = [len(group.ballots) for group in count.groups] + [0]
        return beta(counts[0], counts[1]) >= bound

    def _next_round(self, count: Tally) -> list[Effect]:
        said = [one for one in self._window if one is not None]
        self._window = []
        if said and len(set(said)) == 1 and count.decided:
            self.report.stopped = "window"
            return self._win(count)
        return self.open_waiting(self._round)

    # --- outcomes

    def _conclude(self) -> list[Effect]:
        count = self._tally()
        if (
            self._vote.ballot.cluster is not None
            and self._clusters is None
            and count.has_quorum
            and len(count.groups) > 1
        ):
            return self._ask_what_is_alike(count)
        if count.decided:
            return self._win(count)
        if not count.has_quorum:
            return self._otherwise(
                "no_quorum", self._vote.on_no_quorum, count, "Too few answers came that can be counted", 502
            )
        return self._otherwise("no_consensus", self._vote.on_no_consensus, count, "The answers do not agree", 422)

    def _win(self, count: Tally, decision: str = "decided") -> list[Effect]:
        leader = count.leader
        assert leader is not None
        self._tell(decision, count)
        if self._vote.ballot.type == "json" and self._vote.ballot.json_mode == "fields":
            made = assembled(
                [run for run in self.runs.values() if run.state is State.VALID], self._asked, self._reading
            )
            self.report.said |= made.said
            if made.text is not None:
                self.report.winner = None
                return self.end(Compose(made.text))
            return self._follow(made.key)
        return self._follow(self._middles.get(leader.answer, leader.representative.member))

    def _ask_what_is_alike(self, count: Tally) -> list[Effect]:
        cluster = self._vote.ballot.cluster
        assert cluster is not None
        self._clusters = {}
        self._alike = [group.representative for group in count.groups]
        runs = [self.runs[ballot.member] for ballot in self._alike]
        texts = [run.answer.text for run in runs if run.answer]
        opened = self.open(Task("embeddings", cluster.model, {"input": texts}, role="embeddings", checked=False))
        return opened or self._conclude()

    def _clustered(self, run: Run) -> list[Effect]:
        """The groups of texts that mean the same; without vectors only equal ones do."""
        cluster = self._vote.ballot.cluster
        vectors = run.answer.message.get("vectors") if run.answer else None
        if cluster is None or not vectors or len(vectors) != len(self._alike):
            self.report.said["cluster_error"] = run.why or "unreadable"
            return self._conclude()
        found: dict[str, str] = {}
        for group in clusters(vectors, cluster.threshold):
            middle = self._alike[medoid(group, vectors)]
            for number in group:
                found[self._alike[number].answer or ""] = middle.answer or ""
            self._middles[middle.answer or ""] = middle.member
        self._clusters = found
        return self._conclude()

    def _follow(self, key: str) -> list[Effect]:
        self.report.winner = key
        return self.end(Follow(key))

    def _otherwise(self, decision: str, outcome: Outcome, count: Tally, message: str, status: int) -> list[Effect]:
        self._tell(decision, count)
        if isinstance(outcome, Message):
            return self.end(Compose(outcome.message))
        if isinstance(outcome, Escalate):
            return self._escalate(outcome.escalate, message)
        if outcome == "best_effort" and count.leader is not None:
            return self._win(count, "degraded")
        return self.fail(decision, message, status)

    def _escalate(self, model: str, message: str) -> list[Effect]:
        task = Task("escalation", model, self._asked, role="escalation", live=True)
        opened = self.open(task)
        if not opened:
            return self.fail("no_budget", f"{message}, and nothing is left of the budget")
        self.report.decision, self.report.escalated_to, self.report.winner = "escalated", model, "escalation"
        return [*self.end(keep="escalation"), *opened, Follow("escalation")]

    def _tell(self, decision: str, count: Tally) -> None:
        report, leader = self.report, count.leader
        report.decision = decision
        votes = len(leader.ballots) if leader else 0
        report.votes = f"{votes}/{count.valid}"
        report.public = self._vote.ballot.type in {"label", "bool"}
        table = _calibrated(self._facts.calibration, count, len(self._tasks))
        report.confidence = table if table is not None else None
        report.said |= {
            "answer": leader.answer if leader else None,
            "share": round(count.share, 4),
            "margin": round(count.margin, 4),
            "coverage": round(count.coverage, 4),
            "wilson_low": round(wilson(votes, count.valid)[0], 4),
            "confidence": report.confidence,
            "calibrated": table is not None,
            "tally": [
                {"answer": g.answer, "weight": g.weight, "members": [b.member for b in g.ballots]} for g in count.groups
            ],
        }


def _accuracies(calibration: Mapping[str, Any]) -> dict[str, float]:
    """How often each model was right, by a calibration file."""
    members = calibration.get("members", {})
    return {model: known.get("accuracy", 0.0) for model, known in members.items() if isinstance(known, dict)}


def _outweighs(count: Tally, configured: float) -> bool:
    """Equal answers have more than half of all weight: no other texts together can have more."""
    return count.leader is not None and count.leader.weight > configured / 2


def _calibrated(calibration: Mapping[str, Any], count: Tally, of: int) -> float | None:
    """How often an agreement like this was right, by a calibration file."""
    rows: Sequence[Any] = calibration.get("agreement", ())
    leader = count.leader
    if leader is None or not isinstance(rows, list):
        return None
    row = next((r for r in rows if (r.get("votes"), r.get("of")) == (len(leader.ballots), of)), None)
    return float(row["accuracy"]) if row is not None and "accuracy" in row else None
