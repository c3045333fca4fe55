"""Carries what the gate lets go to the client, plain or streamed, and tells a verdict in OpenAI's words.

No status line is written before the first released frame or the verdict. A broken or blocked
answer never ends like a complete one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.client_exceptions import ClientConnectionResetError

from gateway.core.terms import Decision, Delta, Document, Fault, Outcome, Request, Side, Verdict
from gateway.policy.plan import Plan
from gateway.server.record import Receipt
from gateway.wire import canonical, chat, errors, sse

JSON = "application/json"
STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
STALLED = 60.0  # seconds that one write may wait for the client to read
FINAL = {"x-should-retry": "false"}  # a policy's no is final: no client library retries it


class ClientGone(Exception):
    """The client is no longer there to be written to."""


@asynccontextmanager
async def reaching_client() -> AsyncIterator[None]:
    """Around every write: a client that is gone, or reads nothing for too long, is `ClientGone`."""
    try:
        async with asyncio.timeout(STALLED):
            yield
    except (ConnectionError, ClientConnectionResetError, TimeoutError) as error:
        raise ClientGone from error


def cut(http: web.BaseRequest) -> None:
    """End the connection visibly: what has begun and cannot be completed must not look complete."""
    if http.transport is not None:
        http.transport.abort()


class Release:
    """The client's side of one exchange."""

    def __init__(self, http: web.BaseRequest, request: Request, plan: Plan, receipt: Receipt) -> None:
        self._http = http
        self._request = request
        self._plan = plan
        self._receipt = receipt
        self._usage_wanted = chat.wants_usage(request)
        self._batch: list[bytes] = []
        self._plain: Document | None = None
        self._stream: web.StreamResponse | None = None
        self.response: web.StreamResponse | None = None  # what the handler returns

    def send(self, delta: Delta) -> None:
        """Take one released frame; `flush` writes what has gathered."""
        if delta.frame is None:
            return
        if not self._request.stream:
            self._plain = delta.frame
            return
        frame = self._for_client(delta.frame)
        if frame is not None:
            self._batch.append(sse.frame(canonical.dump(frame)))

    async def flush(self) -> None:
        """Write every gathered frame in one write."""
        if self._batch:
            data = b"".join(self._batch)
            self._batch.clear()
            await self._write(data)

    async def close(self, verdict: Verdict) -> None:
        match verdict.decision:
            case Decision.RELEASED:
                await self._complete()
            case Decision.BLOCKED:
                await self._blocked(verdict)
            case Decision.FAILED:
                assert verdict.fault is not None
                await self._failed(verdict.fault)
            case Decision.LEFT:
                self._batch.clear()
                cut(self._http)

    def _for_client(self, frame: Document) -> Document | None:
        """Usage was asked of the upstream for the receipt; a client sees it only if it asked too."""
        if self._usage_wanted or "usage" not in frame:
            return frame
        if frame.get("choices") == []:
            return None
        return {key: value for key, value in frame.items() if key != "usage"}

    async def _complete(self) -> None:
        if self._request.stream:
            self._batch.append(sse.DONE)
            await self.flush()
            await self._end()
        elif self._plain is None:
            await self._failed(NO_ANSWER)
        else:
            await self._whole(200, canonical.dump(self._plain))

    async def _blocked(self, verdict: Verdict) -> None:
        await self._flush_before_verdict()
        if self._plan.block_as != "error":
            await self._refuse()
            return
        body = self._block_body(verdict)
        await self._tell(400, body, FINAL)

    def _block_body(self, verdict: Verdict) -> Document:
        finding = verdict.by
        assert finding is not None
        policy, _, check = finding.watch.name.partition(".")
        judged = finding.judgement
        categories = judged.categories if judged and finding.outcome is Outcome.HIT else ()
        return errors.blocked(
            policy=policy,
            check=check,
            stage="input" if finding.watch.side is Side.INPUT else "output",
            categories=categories or (check,),
            request_id=self._receipt.id,
        )

    async def _refuse(self) -> None:
        """`block_as: message | refusal`: an answer in the application's own kind of words."""
        documents = chat.refused(
            "message" if self._plan.block_as == "message" else "refusal",
            text=self._plan.refusal,
            model=self._request.model,
            request_id=self._receipt.id,
            stream=self._request.stream,
            created=int(time.time()),
            usage=self._usage(),
        )
        if not self._request.stream:
            await self._whole(200, canonical.dump(documents[0]))
            return
        for document in documents:
            self.send(Delta(document))
        self._batch.append(sse.DONE)
        await self.flush()
        await self._end()

    def _usage(self) -> Document | None:
        used = [call.usage for call in self._receipt.calls if call.usage]
        return used[-1] if used else None

    async def _failed(self, fault: Fault) -> None:
        await self._flush_before_verdict()
        await self._tell(fault.status, errors.fault_object(fault), fault.headers)

    async def _flush_before_verdict(self) -> None:
        """What the gate let go before the verdict goes out before it, but starts no stream of its own."""
        if self._stream is not None:
            await self.flush()
        self._batch.clear()

    async def _tell(self, status: int, error: Document, headers: Any) -> None:
        """An error as an HTTP answer of its own, or in mid-stream as the last event."""
        if self._stream is None:
            await self._whole(status, canonical.dump(error), headers)
            return
        await self._write(sse.frame(canonical.dump(error)) + sse.DONE)
        await self._end()

    async def _whole(self, status: int, body: bytes, headers: Any = None) -> None:
        self._receipt.status = status
        self._receipt.first_byte = time.monotonic()
        said = {**self._receipt.headers(), **(headers or {}), "content-type": JSON}
        response = web.Response(status=status, body=body, headers=said)
        self.response = response
        async with reaching_client():
            await response.prepare(self._http)
            await response.write_eof()

    async def _begin(self) -> web.StreamResponse:
        self._receipt.status = 200
        self._receipt.first_byte = time.monotonic()
        stream = web.StreamResponse(headers={**self._receipt.headers(), **STREAM_HEADERS})
        await stream.prepare(self._http)
        self._stream = self.response = stream
        return stream

    async def _write(self, data: bytes) -> None:
        async with reaching_client():
            stream = self._stream or await self._begin()
            await stream.write(data)

    async def _end(self) -> None:
        if self._stream is not None:
            async with reaching_client():
                await self._stream.write_eof()


NO_ANSWER = Fault(502, "The upstream gave no answer.", "upstream_malformed")
