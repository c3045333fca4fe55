"""What is told of a contest: to the client in headers and in the `outrider` object, to the receipt without a text."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from gateway.core.tally import State
from gateway.core.terms import Document
from gateway.fanout.base import Strategy
from gateway.fanout.contest import Contest, Run
from gateway.server.candidate import Candidate
from gateway.server.record import Receipt
from gateway.server.upstream import CallRecord

NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class Account:
    """The books of one contest: calls, tokens, times, outcome."""

    def __init__(
        self, strategy: Strategy, contest: Contest, candidates: Mapping[str, Candidate], receipt: Receipt
    ) -> None:
        self._strategy = strategy
        self._contest = contest
        self._candidates = candidates
        self._receipt = receipt
        self._started = time.monotonic()
        self._decided: float | None = None

    def decided(self) -> None:
        """The contest has come to an outcome, or to a part of one: tell it in the headers while there is time."""
        self._decided = self._decided or time.monotonic()
        self._tell_headers()

    def usage(self) -> Document:
        """Of all calls, or of the one that is followed."""
        return self._usage_of(self._contest.report.winner if self._strategy.usage == "winner" else None) or dict(
            NO_TOKENS
        )

    def _usage_of(self, key: str | None) -> Document | None:
        """The tokens of one call, or of all; None: it was not made."""
        records = [one for one in self._receipt.calls if one.name in self._candidates and key in (None, one.name)]
        sums: Document = dict(NO_TOKENS)
        for used in [record.usage for record in records if record.usage]:
            for name in sums:
                value = used.get(name)
                sums[name] += value if type(value) is int else 0
        return sums if records else None

    def told(self) -> Document:
        report, full = self._contest.report, self._strategy.expose == "full"
        runs = self._contest.runs.values()
        records = {record.name: record for record in reversed(self._receipt.calls)}
        said: Document = {
            "strategy": self._strategy.strategy,
            "decision": report.decision,
            "deterministic": report.deterministic,
            "winner": report.winner,
            **(report.said if full or report.public else _summary(report.said)),
            "members": [self._member(run, records.get(run.task.key), full=full) for run in runs],
            "stopped": report.stopped,
            "cancelled": sum([run.state is State.CANCELLED for run in runs]),
            "escalated_to": report.escalated_to,
            "usage_total": self._usage_of(None),
            "usage_winner": self._usage_of(report.winner),
        }
        return said

    def _member(self, run: Run, record: CallRecord | None, *, full: bool) -> Document:
        candidate = self._candidates.get(run.task.key)
        ended = candidate.ended if candidate and candidate.ended else self._decided or time.monotonic()
        said: Document = {
            "name": run.task.key,
            "model": run.task.model,
            "role": run.task.role,
            "status": str(run.state or ("valid" if candidate and candidate.followed else "running")),
            "latency_ms": round((ended - candidate.started) * 1000) if candidate else None,
            "finish_reason": run.answer.ended if run.answer else None,
            "usage": {k: v for k, v in (record.usage or {}).items() if type(v) is int}
            if record and record.usage
            else None,
            "check": candidate.finding.watch.name if candidate and candidate.finding else None,
        }
        if run.why:
            said["why"] = run.why
        if run.state is State.CANCELLED and candidate is not None and not said["usage"]:
            said["estimated"] = _estimated(candidate)
        if full:
            said["ballot"] = run.ballot
        return said

    def _tell_headers(self) -> None:
        report, runs = self._contest.report, list(self._contest.runs.values())
        states = [str(run.state or "running") for run in runs if run.task.role in {"member", "section", "criterion"}]
        counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        headers = {
            "x-outrider-strategy": self._strategy.strategy,
            "x-outrider-members": f"{len(self._candidates)} sent, {counted}" if counted else "0 sent",
            "x-outrider-calls": str(len(self._candidates)),
            "x-outrider-decided-ms": str(round(((self._decided or 0) - self._started) * 1000)),
        }
        if report.decision:
            headers["x-outrider-outcome"] = report.decision
        if report.votes:
            headers["x-outrider-votes"] = report.votes
        if report.confidence is not None:
            headers["x-outrider-confidence"] = f"{report.confidence:.3f}"
        if report.winner and self._strategy.expose != "none":
            headers["x-outrider-winner"] = report.winner.encode("ascii", "replace").decode()
        self._receipt.fanout_headers = headers

    def write(self, seed: str) -> None:
        """What the receipt keeps: no text of an answer."""
        self._receipt.fanout = {
            key: value
            for key, value in self.told().items()
            if key in {"strategy", "decision", "deterministic", "winner", "share", "margin", "coverage", "members",
                       "stopped", "cancelled", "escalated_to", "usage_total", "judge", "judge_error"}
        }  # fmt: skip
        self._receipt.fanout["ballots"] = [
            _hashed(run) for run in self._contest.runs.values() if run.ballot is not None
        ]
        self._receipt.fanout["seed"] = seed


def _hashed(run: Run) -> Document:
    """A ballot that says nothing and can still be counted again."""
    digest = hashlib.sha256((run.ballot or "").encode("utf-8", "replace")).hexdigest()[:12]
    return {"member": run.task.key, "weight": run.task.weight, "answer": digest}


def _summary(said: Mapping[str, Any]) -> Document:
    """Without the texts of ballots."""
    shown = {key: value for key, value in said.items() if key not in {"answer", "tally"}}
    tally = said.get("tally")
    if isinstance(tally, list):
        shown["tally"] = [{key: value for key, value in row.items() if key != "answer"} for row in tally]
    return shown


def _estimated(candidate: Candidate) -> Document:
    """Tokens of a call that was cut off, by the rule of thumb of four characters each."""
    asked = sum(len(str(message.get("content") or "")) for message in candidate.task.document.get("messages", ()))
    said = sum(
        len(str((choice.get("delta") or {}).get("content") or ""))
        for frame in candidate.frames
        for choice in frame.get("choices", ())
    )
    return {"prompt_tokens": asked // 4 + 1, "completion_tokens": said // 4}
