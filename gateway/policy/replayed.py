"""A kept receipt under other policies: what they would have found, and whether the request would have ended otherwise.

Local checks read the kept texts. What a check that asks a model would say is taken from the receipt, where a check
of that name looked at the time, or is asked again; else it is not known, and counts as no hit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.checks.base import Check
from gateway.core.history import last_question, parted
from gateway.core.terms import (
    Action,
    Examine,
    Finding,
    History,
    Judgement,
    Outcome,
    Passage,
    Place,
    Request,
    Side,
    Watch,
)
from gateway.core.verdict import strongest
from gateway.policy.model import PolicySet
from gateway.policy.plan import plan

EXAMPLES = 5  # requests that a report names for each check and for each change

Receipt = Mapping[str, Any]
AskAgain = Callable[[Check, Examine], Finding]


class NoText(Exception):
    """The receipt does not hold the texts of its exchange."""


@dataclass(frozen=True)
class Seen:
    """What one check found: at the time, and now. None: it did not look; for now also that nobody can know."""

    before: str | None
    now: str | None


@dataclass(frozen=True)
class Replayed:
    """One request: what was done with it, and what would be."""

    id: str
    before: Action
    now: Action
    checks: Mapping[str, Seen]  # by policy.check/side
    unknown: tuple[str, ...] = ()  # checks of which nobody knows what they would say


def replayed(receipt: Receipt, policies: PolicySet, again: AskAgain | None = None) -> Replayed:
    """Play one receipt. `again` asks checks that call a model; without it the receipt answers for them. Raises NoText."""
    request, answer = exchange_of(receipt)
    models = (request.model, *(str(call.get("model", "")) for call in receipt.get("calls", ())))
    planned = plan(
        policies, models=tuple(dict.fromkeys(models)), endpoint=request.endpoint, key=receipt.get("key")
    ).bound(request)
    before = _recorded(receipt)
    found: dict[str, Finding | None] = {}
    for side, passages in ((Side.INPUT, request.passages), (Side.OUTPUT, answer)):
        for watch in planned.watches:
            if watch.side is side:
                found[watch.key] = _found(watch, planned.checks[watch.name], passages, _Known(request, before, again))
        if strongest(one for one in found.values() if one) is Action.BLOCK:
            break  # the upstream would not have been heard
    return Replayed(
        str(receipt.get("id", "")),
        Action[str(receipt.get("action", "pass")).upper()],
        strongest(one for one in found.values() if one),
        {key: Seen(before.get(key), _told(found.get(key))) for key in dict.fromkeys([*before, *found])},
        tuple(key for key, finding in found.items() if finding is None),
    )


def exchange_of(receipt: Receipt) -> tuple[Request, tuple[Passage, ...]]:
    """The question and the texts of the answer, as they were kept. Raises NoText."""
    texts = receipt.get("texts")
    if not isinstance(texts, dict) or "request" not in texts:
        raise NoText
    question, answer = (tuple(_passages(texts.get(side, ()))) for side in ("input", "output"))
    request = Request(
        str(receipt.get("endpoint", "")),
        str(receipt.get("model", "")),
        bool(receipt.get("stream")),
        texts["request"],
        question,
    )
    return request, answer


def _passages(kept: Iterable[Any]) -> Iterable[Passage]:
    for one in kept:
        if not isinstance(one, dict) or not isinstance(one.get("text"), str):
            raise NoText
        yield Passage(str(one["path"]), Place(one["place"]), one["text"])


def _recorded(receipt: Receipt) -> dict[str, str]:
    """policy.check/side -> the strongest verdict that it came to."""
    order = ("hit", "failed", "clear", "nothing to read")
    said: dict[str, str] = {}
    for look in receipt.get("checks", ()):
        key, verdict = f"{look['check']}/{look['side']}", str(look["verdict"])
        if verdict in order and (key not in said or order.index(verdict) < order.index(said[key])):
            said[key] = verdict
    return said


@dataclass(frozen=True)
class _Known:
    """What checks that call a model are answered from."""

    request: Request
    before: Mapping[str, str]
    again: AskAgain | None


def _found(watch: Watch, check: Check, passages: tuple[Passage, ...], known: _Known) -> Finding | None:
    """What a check finds; None where nobody knows."""
    shown = parted(passages)[1] if watch.side is Side.INPUT and watch.history is History.SKIP else passages
    read = tuple(passage for passage in shown if passage.place in watch.places)
    if not read and not watch.always_asked:
        return Finding(watch, Outcome.NOTHING)
    if check.local:
        judgement = check.judge(read)
        return Finding(watch, Outcome.HIT if judgement.hit else Outcome.CLEAR, judgement)
    if known.again is not None:
        asked = last_question(known.request.passages) if watch.exchange and watch.side is Side.OUTPUT else ()
        return known.again(check, Examine(watch, read, asked))
    recorded = known.before.get(watch.key)
    if recorded is None:
        return None
    outcome = Outcome(recorded)
    return Finding(watch, outcome, Judgement(hit=outcome is Outcome.HIT))


def _told(finding: Finding | None) -> str | None:
    return None if finding is None else str(finding.outcome)


@dataclass
class Tally:
    """What came of many receipts. Tallies of parts add up to that of the whole, in the order of the parts."""

    requests: int = 0
    without_text: int = 0
    changes: dict[str, list[Any]] = field(default_factory=dict)  # "pass -> block": [count, first ids]
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, receipt: Receipt, policies: PolicySet, again: AskAgain | None = None) -> None:
        """Play one more receipt."""
        try:
            played = replayed(receipt, policies, again)
        except NoText:
            self.without_text += 1
            return
        self.requests += 1
        if played.before is not played.now:
            self._change(f"{played.before.name.lower()} -> {played.now.name.lower()}", 1, [played.id])
        for key, seen in played.checks.items():
            row = self._row(key)
            was, now = seen.before == "hit", seen.now == "hit"
            row["hits_before"] += was
            row["hits_now"] += now
            row["unknown"] += key in played.unknown
            for name, applies in (("new", now and not was), ("gone", was and not now)):
                row[name] += applies
                if applies:
                    row[f"{name}_ids"] = [*row[f"{name}_ids"], played.id][:EXAMPLES]

    def add(self, other: Tally) -> None:
        """Count what another part has come to."""
        self.requests += other.requests
        self.without_text += other.without_text
        for change, (count, ids) in other.changes.items():
            self._change(change, count, ids)
        for key, theirs in other.checks.items():
            row = self._row(key)
            for name, value in theirs.items():
                row[name] = (row[name] + value)[:EXAMPLES] if name.endswith("_ids") else row[name] + value

    def _change(self, change: str, count: int, ids: list[str]) -> None:
        kept = self.changes.setdefault(change, [0, []])
        kept[0] += count
        kept[1] = [*kept[1], *ids][:EXAMPLES]

    def _row(self, key: str) -> dict[str, Any]:
        empty = {"hits_before": 0, "hits_now": 0, "new": 0, "gone": 0, "unknown": 0, "new_ids": [], "gone_ids": []}
        return self.checks.setdefault(key, empty)

    @property
    def changed(self) -> int:
        return sum(count for count, _ in self.changes.values())

    def told(self) -> dict[str, Any]:
        """As JSON; the same whatever the parts were."""
        return {
            "requests": self.requests,
            "without_text": self.without_text,
            "changed": self.changed,
            "changes": {name: {"count": count, "ids": ids} for name, (count, ids) in sorted(self.changes.items())},
            "checks": [{"check": key, **row} for key, row in sorted(self.checks.items())],
        }
