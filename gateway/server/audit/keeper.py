"""Takes receipts from requests and gets them into the store, in groups: one writer, on a thread of its own.

Nothing is lost silently. While the store is down receipts wait here, and are written when it is back; what there
is no room for is counted, and the chain itself says afterwards how many it lacks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from gateway.server.audit.store import Entry, Store, StoreError, entry
from gateway.server.record import stamp

log = structlog.get_logger()

EVERY = 0.2  # seconds of receipts that go into the store together, where nobody waits for them
GROUP = 500  # receipts of one transaction
MOST = 10_000  # receipts that wait while the store is down
MOST_BYTES = 64 * 1024**2  # of them
BACK_OFF = (0.25, 5.0)  # seconds between two attempts: the first, the longest
PATIENCE = 2.0  # seconds that an answer waits for its receipt
PRUNE_EVERY = 3600.0  # seconds


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    kept: asyncio.Future[None] | None = None


class Keeper:
    """One process's writer of one store."""

    def __init__(
        self,
        store: Store,
        *,
        strict: bool,
        on_error: Literal["answer", "refuse"],
        keep: float = 0.0,
        counted: Callable[[str, int], None] = lambda _what, _many: None,
    ) -> None:
        """`strict`: an answer waits for its receipt. `keep`: seconds until a receipt is forgotten; 0: never.

        `counted` is told how many receipts were kept or lost.
        """
        self._store = store
        self.strict = strict
        self._refuses = on_error == "refuse"
        self._keep = keep
        self._counted = counted
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="receipts")
        self._lost = 0  # since the store was last reached
        self._until: float | None = None  # closed: when to give up
        self._tried = False  # to write, since it was closed
        self.failing = ""  # why the store cannot be written

    @property
    def refuses(self) -> bool:
        """Whether no request may be answered now, because its receipt could not be kept."""
        return bool(self.failing) and self._refuses

    def keep(self, receipt: dict[str, Any]) -> None:
        """Take a receipt; it is in the store within a second, if the store can be written."""
        self._take(_Waiting(entry(receipt)))

    async def kept(self, receipt: dict[str, Any]) -> bool:
        """Take a receipt and wait until it is on disk. False: it is not, and its answer must not be given."""
        if self.failing and not self._refuses:
            self.keep(receipt)
            return True
        waiting = _Waiting(entry(receipt), asyncio.get_running_loop().create_future())
        self._take(waiting)
        assert waiting.kept is not None
        try:
            async with asyncio.timeout(PATIENCE):
                await waiting.kept
        except (TimeoutError, StoreError):
            return not self._refuses
        return True

    def _take(self, waiting: _Waiting) -> None:
        if len(self._waiting) >= MOST or self._bytes + len(waiting.entry.body) > MOST_BYTES:
            self._lost += 1
            self._counted("lost", 1)
            if waiting.kept is not None:
                waiting.kept.set_exception(StoreError("there is no room for it"))
            return
        self._waiting.append(waiting)
        self._bytes += len(waiting.entry.body)
        self._came.set()

    async def run(self) -> None:
        """Write what comes until it is closed, and what is left then."""
        pause = BACK_OFF[0]
        pruned = -PRUNE_EVERY
        while not self._over():
            if self._keep and time.monotonic() - pruned > PRUNE_EVERY:
                pruned = time.monotonic()
                await self._prune()
            await self._gathered()
            if await self._write():
                pause = BACK_OFF[0]
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, BACK_OFF[1])
        if self._waiting:
            self._counted("lost", len(self._waiting))
            log.error("receipts_lost", count=len(self._waiting), why=self.failing)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown(wait=False)

    def close(self, within: float) -> None:
        """Let `run` end when everything is written, or after so many seconds; it tries once however late it gets to it."""
        self._until = time.monotonic() + within
        self._came.set()

    def _over(self) -> bool:
        if self._until is None:
            return False
        return not self._waiting or (self._tried and time.monotonic() >= self._until)

    async def _gathered(self) -> None:
        """Wait for something to write; where nobody waits for it and it is no whole group yet, for some more."""
        await self._came.wait()
        if not self.strict and self._until is None and len(self._waiting) < GROUP:
            await asyncio.sleep(EVERY)

    async def _write(self) -> bool:
        """One group; what could not be written stays in front."""
        if not self._waiting:
            return True
        self._tried = self._until is not None
        group = [self._waiting[number] for number in range(min(GROUP, len(self._waiting)))]
        entries = [one.entry for one in group]
        if self._lost:
            entries.append(_gap(self._lost))
        lost = self._lost
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.append, entries)
        except StoreError as error:
            self._failed(str(error), group)
            return False
        except Exception as error:  # ours: what cannot be written now cannot be written ever, and may not stop the rest
            log.exception("receipts_not_writable", count=len(group))
            self._drop(group, StoreError(type(error).__name__))
            self._lost += len(group)
            self._counted("lost", len(group))
            return True
        self._lost -= lost
        self._drop(group, None)
        if self.failing:
            log.info("receipts_kept_again", lost=lost)
            self.failing = ""
        self._counted("kept", len(group))
        return True

    def _drop(self, group: list[_Waiting], error: StoreError | None) -> None:
        """They wait no more."""
        for one in group:
            self._waiting.popleft()
            self._bytes -= len(one.entry.body)
            if one.kept is not None and not one.kept.done():
                if error is None:
                    one.kept.set_result(None)
                else:
                    one.kept.set_exception(error)
        if not self._waiting and self._until is None:
            self._came.clear()

    def _failed(self, why: str, group: list[_Waiting]) -> None:
        if not self.failing:
            log.error("receipts_not_kept", why=why)
        self.failing = why
        self._counted("failed", 1)
        for one in self._waiting:
            if one.kept is not None and not one.kept.done():
                one.kept.set_exception(StoreError(why))

    async def _prune(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            forgotten = await loop.run_in_executor(self._thread, self._store.prune, time.time() - self._keep)
        except StoreError as error:
            log.error("receipts_not_pruned", why=str(error))
        else:
            if forgotten:
                log.info("receipts_forgotten", count=forgotten)


def _gap(lost: int) -> Entry:
    """What stands in the chain where receipts could not be kept."""
    return entry({"time": stamp(), "id": "", "decision": "lost", "lost": lost})
