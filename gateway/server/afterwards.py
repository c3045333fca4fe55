"""The one owner of work that outlives a request: shadow and flag checks that nobody waits for.

It is bounded, logs what fails, never raises into anybody, and is drained at shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class Afterwards:
    """Late work, at most `limit` pieces at a time; beyond that it is refused and said so.

    `turn`: to be held by what is done on a thread, so that at most one piece is in front of what somebody waits for.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._full = False  # and it was said
        self.turn = asyncio.Lock()

    def start(self, work: Coroutine[Any, Any, None], lost: Callable[[], None]) -> None:
        """Run `work`; `lost` is told when there is no room for it."""
        if len(self._tasks) >= self._limit:
            work.close()
            if not self._full:
                log.warning("afterwards_full", limit=self._limit)
            self._full = True
            lost()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._full = self._full and len(self._tasks) > self._limit // 2
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("afterwards_failed", error=type(error).__name__)

    async def drain(self, within: float) -> None:
        """Wait for what is still running, at most `within` seconds, then cancel it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
