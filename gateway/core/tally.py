"""Counts ballots: who leads, whether it is decided, whether waiting could still change it. Pure: no clock, no network.

Everything is computed from ballots in the order of the members, never of their arrival, so the same set
of ballots has the same winner however it came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

Z95 = 1.959963984540054


class State(StrEnum):
    """What became of a member's vote."""

    VALID = "valid"
    ABSTAIN = "abstain"
    INVALID = "invalid"  # unreadable, refused, cut short, or blocked by a check
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    NOT_SENT = "not_sent"


class Ballot(NamedTuple):
    """One member's vote. `answer` is the canonical form, equal for answers that mean the same."""

    member: str
    order: int  # of the member in the configuration
    model: str
    weight: float
    state: State
    answer: str | None = None
    accuracy: float = 0.0  # of the member, from a calibration; 0: not known


class Group(NamedTuple):
    """Ballots with the same answer."""

    answer: str
    weight: float
    ballots: tuple[Ballot, ...]

    @property
    def models(self) -> int:
        return len({ballot.model for ballot in self.ballots})

    @property
    def representative(self) -> Ballot:
        """A real ballot: of the heaviest member, then the first."""
        return min(self.ballots, key=lambda b: (-b.weight, b.order))


Same = Callable[[str, str], bool]
TIES: dict[str, Callable[[Group], float]] = {
    "distinct_models": lambda group: -group.models,
    "weight": lambda group: -sum(ballot.accuracy for ballot in group.ballots),
    "order": lambda group: min(ballot.order for ballot in group.ballots),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """When a vote is decided. A `min_share` of one half asks for more than half."""

    quorum: int = 1
    min_share: float = 0.5
    tie: tuple[str, ...] = ("distinct_models", "weight", "order")
    abstain_counts: bool = False  # an abstention counts against every answer

    def enough(self, share: float) -> bool:
        return share > 0.5 if self.min_share == 0.5 else share >= self.min_share - 1e-12


@dataclass(frozen=True, slots=True)
class Tally:
    """The count of the ballots that are in."""

    rules: Rules
    groups: tuple[Group, ...]  # the leader first
    valid: int
    voted: float  # weight of what counts in a share
    configured: float  # weight of all members

    @property
    def leader(self) -> Group | None:
        return self.groups[0] if self.groups else None

    @property
    def share(self) -> float:
        return self.groups[0].weight / self.voted if self.groups and self.voted else 0.0

    @property
    def margin(self) -> float:
        second = self.groups[1].weight if len(self.groups) > 1 else 0.0
        return (self.groups[0].weight - second) / self.voted if self.groups and self.voted else 0.0

    @property
    def coverage(self) -> float:
        return self.voted / self.configured if self.configured else 0.0

    @property
    def has_quorum(self) -> bool:
        return self.valid >= self.rules.quorum

    @property
    def decided(self) -> bool:
        """Whether the leader wins by the ballots that are in."""
        if not self.groups or not self.has_quorum or not self.rules.enough(self.share):
            return False
        return bool(self.rules.tie) or len(self.groups) == 1 or self.groups[0].weight > self.groups[1].weight

    def is_won(self, outstanding: float) -> bool:
        """The leader wins whatever ballots of this weight are still to come."""
        if not self.groups or not self.has_quorum:
            return False
        second = self.groups[1].weight if len(self.groups) > 1 else 0.0
        lead = self.groups[0].weight - second
        return lead > outstanding + 1e-12 and self.rules.enough(self.groups[0].weight / (self.voted + outstanding))

    def is_lost(self, outstanding: float, count: int) -> bool:
        """No answer can win any more, whatever `count` ballots of this weight are still to come."""
        if self.valid + count < self.rules.quorum:
            return True
        best = max((group.weight for group in self.groups), default=0.0)
        whole = self.voted + outstanding
        return whole > 0 and not self.rules.enough((best + outstanding) / whole)


def tally(ballots: Sequence[Ballot], rules: Rules, configured: float, same: Same | None = None) -> Tally:
    """Count. `same` says whether two answers mean the same where equality is not enough (a tolerance)."""
    ordered = sorted(ballots, key=lambda ballot: ballot.order)
    valid = [ballot for ballot in ordered if ballot.state is State.VALID and ballot.answer is not None]
    groups: dict[str, list[Ballot]] = {}
    for ballot in valid:
        assert ballot.answer is not None
        answer = ballot.answer
        if same is not None and answer not in groups:
            answer = next((known for known in groups if same(known, answer)), answer)
        groups.setdefault(answer, []).append(ballot)
    counted = [Group(answer, sum([b.weight for b in some]), tuple(some)) for answer, some in groups.items()]
    abstained = sum(b.weight for b in ordered if b.state is State.ABSTAIN) if rules.abstain_counts else 0.0

    def place(group: Group) -> tuple[float | str, ...]:
        return (-group.weight, *(TIES[name](group) for name in rules.tie), group.answer)

    if len(counted) > 1:
        counted.sort(key=place)
    return Tally(rules, tuple(counted), len(valid), sum([b.weight for b in valid]) + abstained, configured)


def beta(first: int, second: int) -> float:
    """P(the leader is preferred | its count and the next one's), with a uniform prior."""
    n = first + second
    return float(sum(math.comb(n + 1, j) for j in range(first + 1)) / 2 ** (n + 1))


def evidence(first: int, second: int) -> float:
    """The e-value that the leader is preferred to the next: valid at any time for a fixed pair."""
    n = first + second
    log_beta = math.lgamma(first + 1) + math.lgamma(second + 1) - math.lgamma(n + 2)
    return float(2 ** (n + 1) * math.exp(log_beta) * beta(first, second))


def wilson(count: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` in `n`."""
    if n == 0:
        return 0.0, 1.0
    share = count / n
    scale = 1 + Z95**2 / n
    centre = (share + Z95**2 / (2 * n)) / scale
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def log_odds(correct: int, n: int, labels: int = 2) -> float:
    """The weight of a member that was right so often; 0 for one that is no better than chance."""
    accuracy = (correct + 1) / (n + 2)
    return max(0.0, math.log((labels - 1) * accuracy / (1 - accuracy)))


def effective(votes: int, correlation: float) -> float:
    """How many independent votes these are worth."""
    return votes / (1 + (votes - 1) * correlation)
