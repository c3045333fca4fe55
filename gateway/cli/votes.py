"""What a vote of models would have been worth, replayed on recorded answers. Pure: figures in, figures out."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.core import ballot
from gateway.core.ballot import Abstained, Reading
from gateway.core.tally import effective, wilson

KINDS = ("literal", "number", "date", "json", "bool", "text")
MOST_PANELS = 3000


class Recorded(NamedTuple):
    """One question: the right answer, and what each model said."""

    truth: str
    ballots: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Answers:
    """All questions, each answer as the number of its group; 0 is the right one, None is no valid answer."""

    models: tuple[str, ...]  # the best first
    said: Mapping[str, Sequence[int | None]]

    @property
    def questions(self) -> int:
        return len(next(iter(self.said.values()), ()))

    def correct(self, model: str) -> int:
        return sum(one == 0 for one in self.said[model])

    def accuracy(self, model: str) -> float:
        return self.correct(model) / self.questions if self.questions else 0.0


def kind_of(records: Sequence[Recorded]) -> str:
    """The strictest reading by which at least nine of ten right answers can be read."""
    for kind in ("number", "date", "literal"):
        readable = sum(_read(record.truth, Reading(kind, select="whole")) is not None for record in records)
        if records and readable >= 0.9 * len(records):
            return kind
    return "text"


def _read(text: str | None, reading: Reading) -> str | None:
    if text is None:
        return None
    try:
        return ballot.read(str(text), reading)
    except Abstained:
        return None


def grouped(records: Sequence[Recorded], reading: Reading, told: Callable[[int], None] = lambda _: None) -> Answers:
    """Which answers mean the same. What a reading cannot read is compared as text: it is still an answer."""
    names = sorted({name for record in records for name in record.ballots})
    said: dict[str, list[int | None]] = {name: [] for name in names}
    same = ballot.same(reading)
    for number, record in enumerate(records):
        known: list[str] = [_canonical(record.truth, reading) or ""]
        for name in names:
            answer = _canonical(record.ballots.get(name), reading)
            said[name].append(None if answer is None else _group(answer, known, same))
        told(number + 1)
    order = sorted(names, key=lambda name: (-sum(one == 0 for one in said[name]), name))
    return Answers(tuple(order), said)


def _canonical(text: str | None, reading: Reading) -> str | None:
    found = _read(text, reading)
    if found is not None or text is None:
        return found
    if reading.kind == "literal":  # a string without its quotes
        return ballot.canonical(text, reading)
    plain = _read(text, Reading("text", select="whole"))
    return None if plain is None else f"text:{plain}"


def _group(answer: str, known: list[str], same: Any) -> int:
    for number, other in enumerate(known):
        both = not answer.startswith("text:") and not other.startswith("text:")
        if answer == other or (same is not None and both and same(other, answer)):
            return number
    known.append(answer)
    return len(known) - 1


# --- panels


class Panel(NamedTuple):
    """What a panel of models is worth."""

    members: tuple[str, ...]
    mean: float
    best: float
    vote: float
    correlation: float  # of the members' mistakes
    effective: float  # independent votes that they are worth


def winner(votes: Iterable[int | None]) -> tuple[int | None, int, int]:
    """(group, its votes, valid votes) of one question; a tie goes to the earlier member."""
    counts: Counter[int] = Counter()
    for one in votes:
        if one is not None:
            counts[one] += 1
    if not counts:
        return None, 0, 0
    best = max(counts, key=lambda group: counts[group])  # of equals the first that was said
    return best, counts[best], sum(counts.values())


def judged(answers: Answers, members: Sequence[str], questions: Sequence[int] | None = None) -> Panel:
    chosen = range(answers.questions) if questions is None else questions
    columns = [[answers.said[name][q] for q in chosen] for name in members]
    right = [[one == 0 for one in column] for column in columns]
    accuracies = [sum(column) / max(1, len(chosen)) for column in right]
    votes = sum(winner(row)[0] == 0 for row in zip(*columns, strict=True)) / max(1, len(chosen))
    rho = correlation(right)
    mean = sum(accuracies) / len(members)
    return Panel(tuple(members), mean, max(accuracies), votes, rho, effective(len(members), max(0.0, rho)))


def correlation(right: Sequence[Sequence[bool]]) -> float:
    """The mean over all pairs of the correlation of being right."""
    found = [phi(one, two) for one, two in itertools.combinations(right, 2)]
    known = [one for one in found if one is not None]
    return sum(known) / len(known) if known else 0.0


def phi(one: Sequence[bool], two: Sequence[bool]) -> float | None:
    n = len(one)
    a, b = sum(one), sum(two)
    both = sum(x and y for x, y in zip(one, two, strict=True))
    spread = a * (n - a) * b * (n - b)
    return None if not spread else (n * both - a * b) / math.sqrt(spread)


def panels(models: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """Every panel of this size, as far as their number allows."""
    return itertools.islice(itertools.combinations(models, size), MOST_PANELS)


class Agreement(NamedTuple):
    votes: int
    of: int
    accuracy: float
    n: int
    low: float  # Wilson, 95 %
    high: float


def agreements(answers: Answers, some: Iterable[Sequence[str]]) -> list[Agreement]:
    """How often an agreement of so many of a panel is right, over these panels."""
    seen: Counter[tuple[int, int]] = Counter()
    right: Counter[tuple[int, int]] = Counter()
    for members in some:
        for question in range(answers.questions):
            group, votes, _ = winner(answers.said[name][question] for name in members)
            if votes:
                seen[votes, len(members)] += 1
                right[votes, len(members)] += group == 0
    return [
        Agreement(votes, of, right[votes, of] / n, n, *wilson(right[votes, of], n))
        for (votes, of), n in sorted(seen.items(), key=lambda item: (-item[0][1], item[0][0]))
    ]


class Cascade(NamedTuple):
    """Members that must all agree, or one model decides."""

    members: tuple[str, ...]
    then: str
    accuracy: float
    escalated: float


def cascade(answers: Answers, members: Sequence[str], then: str) -> Cascade:
    right = escalated = 0
    for question in range(answers.questions):
        group, votes, _ = winner(answers.said[name][question] for name in members)
        if votes < len(members):
            escalated += 1
            group = answers.said[then][question]
        right += group == 0
    n = max(1, answers.questions)
    return Cascade(tuple(members), then, right / n, escalated / n)


class Advice(NamedTuple):
    panel: tuple[str, ...]
    chosen_on: float  # vote accuracy on the questions that chose it
    held_out: float  # and on the others
    threshold: int | None  # votes from which it is right as often as wanted
    target: float


def advice(answers: Answers, some: Sequence[Sequence[str]], target: float) -> Advice | None:
    """The panel that votes best on every other question, and what it is worth on the rest."""
    if not some or answers.questions < 2:
        return None
    half, other = range(0, answers.questions, 2), range(1, answers.questions, 2)
    best = max(some, key=lambda members: judged(answers, members, half).vote)
    rows = agreements(answers, [best])
    enough = [row.votes for row in rows if row.of == len(best) and row.low >= target]
    here, there = judged(answers, best, half).vote, judged(answers, best, other).vote
    return Advice(tuple(best), here, there, min(enough, default=None), target)


def calibration(answers: Answers, members: Sequence[str], rows: Sequence[Agreement]) -> dict[str, Any]:
    """What `calibration` of a vote reads."""
    return {
        "kind": "outrider calibration",
        "questions": answers.questions,
        "members": {
            name: {
                "accuracy": round(answers.accuracy(name), 4),
                "correct": answers.correct(name),
                "n": answers.questions,
            }
            for name in answers.models
        },
        "panel": list(members),
        "agreement": [
            {**row._asdict(), **{k: round(getattr(row, k), 4) for k in ("accuracy", "low", "high")}} for row in rows
        ],
    }
