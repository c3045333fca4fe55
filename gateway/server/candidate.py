"""One task of a contest: takes what its gate lets go, and has its own part of the receipt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.ceiling import Account
from gateway.core.exchange import NO_ROOM
from gateway.core.terms import Decision, Delta, Document, Examine, Finding, Spot, Verdict
from gateway.fanout.contest import Answer, Began, Event, Finished, Lost, Task
from gateway.server.record import Look, Receipt
from gateway.server.upstream import CUT, UpstreamError
from gateway.wire.canonical import Malformed
from gateway.wire.endpoints import CHAT
from gateway.wire.rewrite import copied, write
from gateway.wire.template import document_of

MOST_HELD = 10 * 1024**2  # bytes of one candidate


class Part:
    """One task's part of the receipt."""

    def __init__(self, receipt: Receipt, key: str) -> None:
        self._receipt = receipt
        self._key = key
        self.id = receipt.id
        self.calls = receipt.calls
        self.held = receipt.held

    @property
    def late(self) -> int:
        return self._receipt.late

    @late.setter
    def late(self, value: int) -> None:
        self._receipt.late = value

    @property
    def texts(self) -> None:
        """What one of several models says is no text of the exchange until it is chosen."""
        return

    def look(self, examine: Examine) -> Look:
        look = self._receipt.look(examine)
        look.of = self._key
        return look

    def found(self, look: Look, finding: Finding) -> None:
        self._receipt.found(look, finding)

    def passed(self, examine: Examine, started: float, ended: float) -> Finding:
        finding = self._receipt.passed(examine, started, ended)
        self._receipt.looks[-1].of = self._key
        return finding

    def note(self, finding: Finding, paths: tuple[str, ...]) -> None:
        self._receipt.note(finding, paths)
        self._receipt.looks[-1].of = self._key

    def close(self, verdict: Verdict) -> None:
        """The verdict on one task is not that on the request."""

    def late_ended(self) -> None:
        self._receipt.late_ended()


@dataclass
class Candidate:
    """Takes what the gate of one task lets go, and tells the contest."""

    task: Task
    stream: bool
    tell: Callable[[Event], Any]  # a coroutine function
    grew: Callable[[str], Any]
    held: Account
    heard: bool = True  # the contest wants to know when it begins to speak
    frames: list[Document] = field(default_factory=list)
    followed: bool = False
    told: int = 0  # frames that are passed on
    size: int = 0
    spoke: float | None = None  # when its first cleared words came
    finding: Finding | None = None
    verdict: Verdict | None = None
    ended: float | None = None
    started: float = field(default_factory=time.monotonic)
    work: asyncio.Task[None] | None = None
    _began: bool = False

    streaming = False

    def send(self, delta: Delta, changes: Sequence[tuple[Spot, str]] = ()) -> None:
        if delta.frame is None:
            return
        frame = document_of(delta.frame)
        if changes:
            write(frame, changes)
        self.frames.append(frame)
        self.size += delta.size
        if self.spoke is None and _speaks(frame):
            self.spoke = time.monotonic()

    async def flush(self) -> None:
        if self.size > MOST_HELD and not self.followed:
            raise UpstreamError(CUT)
        if not self.held.set(f"candidate {self.task.key}", self.size):
            raise UpstreamError(NO_ROOM)
        if self.spoke is not None and not self._began:
            self._began = True
            if self.heard:
                await self.tell(Began(self.task.key))
        if self.followed and self.told < len(self.frames):
            await self.grew(self.task.key)

    async def keep_alive(self) -> None:
        """Nobody listens."""

    async def close(self, verdict: Verdict) -> None:
        self.verdict, self.ended = verdict, time.monotonic()
        key = self.task.key
        match verdict.decision:
            case Decision.RELEASED | Decision.MASKED:
                await self.flush()
                answer = self.answer()
                await self.tell(Finished(key, answer) if answer is not None else Lost(key, "upstream_malformed"))
            case Decision.BLOCKED:
                self.finding = verdict.by
                await self.tell(Lost(key, "blocked", blocked=True))
            case _:
                fault = verdict.fault
                await self.tell(Lost(key, fault.code if fault else "left", retryable=not fault or fault.status >= 429))

    def answer(self) -> Answer | None:
        """The whole that its frames make."""
        try:
            whole = CHAT.whole([copied(frame) for frame in self.frames]) if self.stream else self.frames[0]
            choice = whole["choices"][0]
        except (Malformed, IndexError, KeyError):
            return None
        return Answer(choice.get("message") or {}, choice.get("finish_reason"))


def _speaks(frame: Document) -> bool:
    """Whether a frame holds words: content, reasoning, a refusal or a tool call."""
    for choice in frame.get("choices", ()):
        said = choice.get("delta") or choice.get("message") or {}
        if any(said.get(name) for name in said if name not in {"role", "index"}):
            return True
    return False
