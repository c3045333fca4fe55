"""One receipt for each request, whatever happens to it: what ran, what it found, when, and why.

A receipt holds no text of the exchange, unless the operator wants it kept (`texts.py`). All times are seconds on the monotonic clock.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import structlog

from gateway.checks.base import NOTHING
from gateway.core.ceiling import Account
from gateway.core.terms import Action, Decision, Examine, Finding, Outcome, Passage, Side, Verdict, Watch
from gateway.core.verdict import as_enforced, strongest
from gateway.server.spending import Spent
from gateway.server.texts import Texts
from gateway.server.upstream import CallRecord
from gateway.wire.fields import KEYS

log = structlog.get_logger()

MOST_PARTS = 100  # paths that a receipt names for each look
FEW_PARTS = 8  # most looks read so few, and the same ones
LONGEST_OF_MANY = 65_536  # characters of many paths that are kept
LONGEST_KNOWN = 400  # characters of paths that are kept: longer ones are made of keys that somebody made up
_STEP = re.compile(r"\[(?:\d{0,7}|\*)\]|<(?:key|json|decoded|unescaped|again|[a-z]+_call)>|[^.\[\]<>]+|<|\[")

ACTIONS = tuple(action.name.lower() for action in Action)  # in the order of the lattice
_RELEASED = frozenset({"", str(Decision.RELEASED), str(Decision.MASKED)})
_SHORT = {outcome: outcome.replace(" ", "-") for outcome in Outcome}


class Ids:
    """Request ids: random for each process, then counted; cheap and unique."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._counter = itertools.count(1)

    def __call__(self) -> str:
        return f"req_{self._prefix}{next(self._counter):08x}"


new_id = Ids()
os.register_at_fork(after_in_child=new_id.renew)


def stamp() -> str:
    """Now, as receipts tell it: UTC, with milliseconds."""
    second, millis = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(second)}.{millis:03d}Z"


@lru_cache(4)
def _second(since_1970: int) -> str:
    return datetime.fromtimestamp(since_1970, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(slots=True)
class Look:
    """One look of one check: what it was shown, when, and what it found."""

    watch: Watch
    paths: tuple[str, ...]
    started: float
    ended: float | None = None
    finding: Finding | None = None
    dropped: bool = False
    spent: Spent | None = None  # by whoever may ask somebody
    of: str = ""  # the call of a fan-out whose answer it read

    def spends(self) -> Spent:
        """Where what it costs is counted, for a check that may ask somebody."""
        self.spent = Spent()
        return self.spent

    @property
    def verdict(self) -> str:
        if self.finding is not None:
            return self.finding.outcome
        return "dropped" if self.dropped else "unfinished"

    @property
    def failed(self) -> bool:
        return self.finding is not None and self.finding.outcome is Outcome.FAILED

    def line(self, since: float) -> dict[str, Any]:
        found = self.finding
        said: dict[str, Any] = {
            "check": self.watch.name,
            "side": str(self.watch.side),
            "verdict": str(self.verdict),
            "start_ms": _ms(self.started - since),
            "read": [*_parts(self.paths)],
        }
        if self.ended is not None:
            said["ms"] = _ms(self.ended - self.started)
        if self.of:
            said["call"] = self.of
        if self.watch.shadow:
            said["shadow"] = True
        if self.spent is not None:
            said |= self.spent.line()
        if found is None:
            return said
        if found.outcome is Outcome.FAILED:
            said |= {"why": found.note, "fails_open": self.watch.fails_open}
        if found.judgement is not None and found.judgement is not NOTHING:
            said |= _judged(found)
        return said


def _judged(finding: Finding) -> dict[str, Any]:
    judged = finding.judgement
    assert judged is not None
    said: dict[str, Any] = {}
    if finding.outcome is Outcome.HIT:
        said |= {"categories": list(judged.categories), "parts": [*_parts(judged.paths)]}
    if judged.score is not None:
        said["score"] = round(judged.score, 4)
    if judged.note:
        said["note"] = judged.note
    return said


class Book(Protocol):
    """What a race writes into: a receipt, or a member's part of one."""

    id: str
    late: int
    calls: list[CallRecord]
    held: Account

    @property
    def texts(self) -> Texts | None: ...
    def look(self, examine: Examine) -> Look: ...
    def found(self, look: Look, finding: Finding) -> None: ...
    def passed(self, examine: Examine, started: float, ended: float) -> Finding: ...
    def note(self, finding: Finding, paths: tuple[str, ...]) -> None: ...
    def close(self, verdict: Verdict) -> None: ...
    def late_ended(self) -> None: ...


@dataclass(slots=True)
class Receipt:
    """Filled while the request runs; written once, when it and its late looks are over."""

    id: str = field(default_factory=new_id)
    started: float = field(default_factory=time.monotonic)
    time: str = field(default_factory=stamp)
    endpoint: str = ""
    model: str = ""
    stream: bool = False
    key: str | None = None  # the name of the client's key
    policies: tuple[str, ...] = ()
    cors: Mapping[str, str] = field(default_factory=dict)  # headers for a web page's origin
    unread: list[str] = field(default_factory=list)  # parts that hold something which no check could read
    looks: list[Look] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    status: int = 0  # of the answer; 0: none was sent
    decision: str = ""
    why: str = ""
    first_byte: float | None = None
    ended: float | None = None
    changed: bool = False  # something was cut out of the question or of what was released so far
    unknown: int = 0  # placeholders that a model made up
    late: int = 0  # looks that outlive the answer
    queued: float = 0.0  # seconds in the queue for a place
    held: Account = field(default_factory=Account)  # bytes of it that are in memory
    fanout: dict[str, Any] = field(default_factory=dict)  # what a virtual model did: strategy, tally, members
    fanout_headers: dict[str, str] = field(default_factory=dict)  # what of it is known before the first byte
    texts: Texts | None = None  # where texts are kept
    keep: Callable[[Receipt], None] = field(default_factory=lambda: write_receipt)
    seal: Callable[[Receipt], Awaitable[bool]] | None = None  # keeps it before the answer ends
    told: tuple[Any, ...] | None = None  # what it said when it was sealed
    _sealed: bool | None = None
    _shown: tuple[tuple[Passage, ...], tuple[str, ...]] = ((), ())  # what the last look was shown, and where it stands

    def look(self, examine: Examine) -> Look:
        look = Look(examine.watch, self._paths(examine.passages), time.monotonic())
        self.looks.append(look)
        return look

    def found(self, look: Look, finding: Finding) -> None:
        look.finding = finding
        look.ended = time.monotonic()

    def passed(self, examine: Examine, started: float, ended: float) -> Finding:
        """A look that was over as soon as it began, and found nothing."""
        finding = Finding(examine.watch, Outcome.CLEAR, NOTHING)
        self.looks.append(Look(examine.watch, self._paths(examine.passages), started, ended, finding))
        return finding

    def _paths(self, passages: tuple[Passage, ...]) -> tuple[str, ...]:
        """Where these stand: several checks are shown the same."""
        if passages is not self._shown[0]:
            self._shown = passages, tuple([passage.path for passage in passages])
        return self._shown[1]

    def note(self, finding: Finding, paths: tuple[str, ...]) -> None:
        now = time.monotonic()
        self.looks.append(Look(finding.watch, paths, now, now, finding))

    def close(self, verdict: Verdict) -> None:
        self.decision = str(verdict.decision)
        if verdict.by is not None:
            self.why = f"{verdict.by.watch.name} ({verdict.by.watch.side}): {verdict.by.outcome}"
        self.unknown = verdict.unknown
        if verdict.fault is not None:
            self.why = verdict.fault.code

    async def sealed(self) -> bool:
        """Whether the answer may end: the receipt is on disk, where that was promised. Asked again, it says the same."""
        if self._sealed is None:
            self._sealed = self.seal is None or await self.seal(self)
        return self._sealed

    @property
    def gist(self) -> tuple[Any, ...]:
        """What makes a receipt another one than that which was kept already."""
        unfinished = sum([look.finding is None for look in self.looks])
        return self.decision, self.status, self.why, len(self.looks), unfinished

    @property
    def kept(self) -> bool:
        """Whether it was kept already, as it is now."""
        return self.told is not None and self.told == self.gist

    def settle(self) -> None:
        """The answer is over; write the receipt unless a late look is still out."""
        if self.ended is None:
            self.ended = time.monotonic()
        self._shown = (), ()
        if self.late == 0:
            self.keep(self)

    def late_ended(self) -> None:
        self.late -= 1
        if self.late == 0 and self.ended is not None:
            self.keep(self)

    def lines(self) -> dict[str, Any]:
        """The receipt as it is written: JSON values only, milliseconds, no text of the exchange."""
        said: dict[str, Any] = {
            "time": self.time,
            "id": self.id,
            "endpoint": self.endpoint,
            "model": self.model[:200],
            "stream": self.stream,
            "policies": list(self.policies),
            "decision": self.decision,
            "action": ACTIONS[strongest([look.finding for look in self.looks if look.finding is not None])],
            "status": self.status,
            "ms": _ms((self.ended or time.monotonic()) - self.started),
            "hidden_ms": _ms(self.hidden()),
            "checks": [look.line(self.started) for look in self.looks],
            "calls": [self._call(call) for call in self.calls],
        }
        if self.key is not None:
            said["key"] = self.key
        if self.why:
            said["why"] = self.why
        if self.queued:
            said["queued_ms"] = _ms(self.queued)
        if self.fanout:
            said["fanout"] = self.fanout
        if self.first_byte is not None:
            said["first_byte_ms"] = _ms(self.first_byte - self.started)
        if open_paths := [look.watch.key for look in self.looks if look.watch.fails_open and look.failed]:
            said["failed_open"] = open_paths
        if self.unknown:
            said["unknown_placeholders"] = self.unknown
        if self.unread:
            said["not_read"] = [*_parts(self.unread)]
        if (shadow := self._shadow()) is not None:
            said["shadow"] = shadow
        return said

    def kept_lines(self, lines: dict[str, Any]) -> dict[str, Any]:
        """The receipt as it is kept: with the texts, where they are kept. `again`: in the place of one kept before."""
        if self.told is not None and not self.kept:
            lines = {**lines, "again": True}
        if self.texts is None:
            return lines
        found = {
            path
            for look in self.looks
            if look.finding is not None and look.finding.outcome is Outcome.HIT and look.finding.judgement is not None
            if not look.watch.rewrites or look.finding.stuck
            for path in look.finding.judgement.paths
        }
        return {**lines, "texts": self.texts.lines(found, asked=bool(self.calls))}

    def _shadow(self) -> dict[str, Any] | None:
        """What would have come of it if the checks that only look on had their say."""
        onlookers = [look for look in self.looks if look.watch.shadow and look.finding is not None]
        if not onlookers:
            return None
        enforced = strongest(look.finding for look in self.looks if look.finding)
        would = max(enforced, *(as_enforced(look.finding) for look in onlookers if look.finding))
        by = [look.watch.key for look in onlookers if look.finding and as_enforced(look.finding) > enforced]
        said: dict[str, Any] = {"action": ACTIONS[would], "enforced": ACTIONS[enforced]}
        return {**said, "by": by} if by else said

    def _call(self, call: CallRecord) -> dict[str, Any]:
        said: dict[str, Any] = {
            "name": call.name,
            "upstream": call.upstream,
            "model": call.model[:200],
            "status": call.status,
            "attempts": call.attempts,
            "cancelled": call.cancelled,
            "start_ms": _ms(call.started - self.started),
        }
        if call.first_delta is not None:
            said["first_ms"] = _ms(call.first_delta - self.started)
        if call.ended is not None:
            said["end_ms"] = _ms(call.ended - self.started)
        if call.usage:
            said["usage"] = _numbers(call.usage)
        if call.usd is not None:
            said["usd"] = round(call.usd, 8)
        return said

    def hidden(self) -> float:
        """Seconds in which checks and the completion ran at the same time: the wait that was saved."""
        return self._hidden(self._calls_ran(time.monotonic()))

    def _calls_ran(self, now: float) -> list[tuple[float, float]]:
        """When calls were under way."""
        return _merged([(call.started, call.ended or now) for call in self.calls])

    def _hidden(self, calls: list[tuple[float, float]]) -> float:
        if not calls:
            return 0.0
        first, last = calls[0][0], calls[-1][1]
        beside = [
            (look.started, look.ended or last)
            for look in self.looks
            if look.started < last and (look.ended is None or first < look.ended) and look.watch.gates
        ]
        return _together(_merged(beside), calls) if beside else 0.0

    def headers(self) -> dict[str, str]:
        """What a client may know of this request; never text, never an upstream's address."""
        said = {
            "server": "outrider",
            **self.cors,
            "x-outrider-id": self.id,
            "x-request-id": self.id,
            "x-outrider-decision": self.decision or str(Decision.MASKED if self.changed else Decision.RELEASED),
        }
        said |= self.fanout_headers
        if self.policies:
            said["x-outrider-policy"] = ", ".join(self.policies)
        looks = self._seen()
        if looks:
            said["x-outrider-checks"] = ", ".join([_short(look) for look in looks])
        if looks or self.calls:
            said["server-timing"] = self._server_timing(looks)
        return said

    def _seen(self) -> list[Look]:
        """What a client may know of: not of those who only look on."""
        return [look for look in self.looks if not look.watch.shadow]

    def upstream_headers(self) -> dict[str, str]:
        """What the upstream's own headers told; only beside its released answer, which they were cleared with."""
        return self.calls[-1].headers if self.calls and not self.fanout and self.decision in _RELEASED else {}

    def _server_timing(self, looks: Sequence[Look]) -> str:
        now = time.monotonic()
        checks = _merged([(look.started, look.ended or now) for look in looks])
        calls = self._calls_ran(now)
        hidden = _ms(self._hidden(calls))
        return f"checks;dur={_ms(_length(checks))}, upstream;dur={_ms(_length(calls))}, hidden;dur={hidden}"


def safe_path(path: str) -> str:
    """A path without the keys that a client or a model made up: those are text."""
    return _safe(path) if len(path) <= LONGEST_KNOWN else _safe.__wrapped__(path)


@lru_cache(4096)
def _safe(path: str) -> str:
    return _STEP.sub(lambda step: step[0] if step[0][0] in "[<" or step[0] in KEYS else "*", path)


def _parts(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths as a receipt tells them: each once, in order, the first of many."""
    paths = tuple(paths)
    size = sum(map(len, paths))
    if len(paths) <= FEW_PARTS and size <= LONGEST_KNOWN:
        return _told(paths)
    return _told_of_many(paths) if size <= LONGEST_OF_MANY else _told.__wrapped__(paths)


@lru_cache(1024)
def _told(paths: tuple[str, ...]) -> tuple[str, ...]:
    told: dict[str, None] = {}
    different = dict.fromkeys(paths)
    for number, path in enumerate(different):
        safe = safe_path(path)
        if safe not in told and len(told) == MOST_PARTS:
            return (*told, f"and {len(different) - number} more")
        told[safe] = None
    return tuple(told)


_told_of_many = lru_cache(16)(_told.__wrapped__)  # several checks read the same, and the next question is alike


def write_receipt(receipt: Receipt) -> None:
    """Keep a receipt as one line of the log, where the log takes it."""
    if log.is_enabled_for(logging.INFO):
        log.info("receipt", **receipt.lines())


def _short(look: Look) -> str:
    said = _SHORT[look.finding.outcome] if look.finding else ("dropped" if look.dropped else "running")
    side = "" if look.watch.side is Side.INPUT else "/output"
    of = f"@{look.of}" if look.of else ""
    return f"{look.watch.name}{side}{of}={said}"


def _ms(seconds: float) -> float:
    """Milliseconds, to a tenth; `round` takes four times as long."""
    return int(seconds * 10_000 + 0.5) / 10


def _numbers(usage: Mapping[str, Any]) -> dict[str, int]:
    return {k: v for k, v in usage.items() if k.endswith("_tokens") and isinstance(v, int)}


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans that overlap as one, in order."""
    if len(spans) < 2:
        return spans
    merged: list[tuple[float, float]] = []
    for start, end in sorted(set(spans)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _length(merged: list[tuple[float, float]]) -> float:
    return sum([end - start for start, end in merged])


def _together(some: list[tuple[float, float]], others: list[tuple[float, float]]) -> float:
    """How long spans of both lie upon each other."""
    both: float = 0
    for start, end in some:
        for first, last in others:
            if start < last and first < end:
                both += min(end, last) - max(start, first)
    return both
