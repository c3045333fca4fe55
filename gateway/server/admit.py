"""The doors: whether a request may come in now, waits a moment, or is sent away with 503 and `retry-after`.

A request that is under way keeps its place until its answer has ended. A place is taken when the body has come,
so that a slow sender takes none; whoever would be sent away anyway is told so before the body is read.
"""

from __future__ import annotations

import asyncio
import math
import time

from gateway.core.admission import Admission, Answer
from gateway.core.ceiling import Ceiling
from gateway.server.metrics import Metrics
from gateway.server.record import Receipt
from gateway.wire.errors import BadRequest


class Doors:
    """The places and the memory of one process."""

    def __init__(self, admission: Admission, ceiling: Ceiling, *, wait: float, metrics: Metrics) -> None:
        self._admission = admission
        self._ceiling = ceiling
        self._wait = wait  # seconds in the queue
        self._metrics = metrics
        self._called: dict[str, asyncio.Future[None]] = {}
        metrics.queued.set_function(lambda: admission.waiting)
        metrics.admitted.set_function(lambda: admission.inside)
        metrics.memory_held.set_function(lambda: ceiling.held)

    @property
    def closed(self) -> str:
        """Why nobody comes in now, not even into the queue; empty: somebody may."""
        if self._ceiling.reached:
            return "memory"
        return "full" if self._admission.full else ""

    def look(self) -> None:
        """Before the body is read. Raises BadRequest for who would be sent away."""
        if why := self.closed:
            raise self.refusal(why)

    async def enter(self, receipt: Receipt) -> None:
        """Take a place; wait for one if need be. Whoever cancels this has left the queue."""
        match self._admission.ask(receipt.id):
            case Answer.FULL:
                raise self.refusal("full")
            case Answer.WAIT:
                await self._queue(receipt)

    async def _queue(self, receipt: Receipt) -> None:
        called = self._called[receipt.id] = asyncio.get_running_loop().create_future()
        since = time.monotonic()
        try:
            async with asyncio.timeout(self._wait):
                await called
        except TimeoutError:
            raise self.refusal("waited") from None
        finally:
            self._called.pop(receipt.id, None)
            receipt.queued = time.monotonic() - since
            self._metrics.queue_seconds.observe(receipt.queued)

    def leave(self, receipt: Receipt) -> None:
        """The request is over, wherever it was; whoever has waited longest comes in."""
        receipt.held.close()
        following = self._admission.leave(receipt.id)
        called = self._called.get(following) if following is not None else None
        if called is not None and not called.done():
            called.set_result(None)

    def refusal(self, why: str) -> BadRequest:
        """503 in OpenAI's shape, with when to come again."""
        self._metrics.shed.labels(why).inc()
        return BadRequest(
            "The gateway is at its limit of memory." if why == "memory" else "The gateway is busy.",
            status=503,
            code="overloaded",
            kind="server_error",
            headers={"retry-after": str(max(1, math.ceil(self._wait)))},
        )
