"""Carries what the gate lets go to the client, plain or streamed, and tells a verdict in OpenAI's words.

No status line is written before the first released frame or the verdict. A broken or blocked
answer never ends like a complete one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_exceptions import ClientConnectionResetError

from gateway.core.terms import Decision, Delta, Document, Fault, Outcome, Place, Request, Side, Spot, Verdict
from gateway.policy.plan import Plan
from gateway.server.record import Receipt
from gateway.server.whole import AT_ONCE, Answered, answered, begin, go_on, say
from gateway.wire import canonical, errors, sse
from gateway.wire.endpoint import Endpoint
from gateway.wire.errors import BadRequest
from gateway.wire.padding import EMPTY, padded
from gateway.wire.reader import Raw
from gateway.wire.rewrite import write
from gateway.wire.template import Chunk, Ends, Template, document_of

JSON = "application/json"
STREAM = "text/event-stream; charset=utf-8"
STREAM_HEADERS = {
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
STALLED = 60.0  # seconds that one write may wait for the client to read
FORMS = 8  # that are kept
FINAL = {"x-should-retry": "false"}  # a policy's no is final: no client library retries it

Form = tuple[Template, Ends, bool]  # what stands around its texts for this client, and whether it is padded


class ClientGone(Exception):
    """The client is no longer there to be written to."""


class Reaching:
    """Around every write: a client that is gone, or reads nothing for too long, is `ClientGone`."""

    def __init__(self, http: web.BaseRequest, size: int) -> None:
        """`size`: bytes that are written, more or less; what surely need not wait needs no timer."""
        self._http = http
        transport = http.transport
        taken = transport is not None and transport.get_write_buffer_size() + size < AT_ONCE
        waits = http.protocol.writing_paused  # for the client to read nearly all of what was written before
        self._limit = None if taken and not waits else asyncio.timeout(STALLED)

    async def __aenter__(self) -> None:
        if self._limit is not None:
            await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._limit is not None:
            try:
                await self._limit.__aexit__(kind, error, trace)
            except TimeoutError:
                cut(self._http)  # or the server would write the rest once more, and wait without end
                raise ClientGone from error
        if isinstance(error, (ConnectionError, ClientConnectionResetError, TimeoutError)):
            raise ClientGone from error


def cut(http: web.BaseRequest) -> None:
    """End the connection visibly: what has begun and cannot be completed must not look complete."""
    if http.transport is not None:
        http.transport.abort()


class Outlet(Protocol):
    """Where a race sends what the gate lets go."""

    @property
    def streaming(self) -> bool: ...
    def send(self, delta: Delta, changes: Sequence[tuple[Spot, str]] = ()) -> None: ...
    async def flush(self) -> None: ...
    async def keep_alive(self) -> None: ...
    async def close(self, verdict: Verdict) -> None: ...


class Release:
    """The client's side of one exchange."""

    def __init__(
        self,
        http: web.BaseRequest,
        endpoint: Endpoint,
        request: Request,
        plan: Plan,
        receipt: Receipt,
        *,
        compress_from: int = 0,
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._request = request
        self._plan = plan
        self._receipt = receipt
        self._batch: list[bytes] = []
        self._plain: Document | None = None
        self._compress_from = compress_from  # bytes; 0: never
        self._media = STREAM
        self._first: Document = {}  # events that the client has, where they are needed for an error
        self._last: Document = {}
        self._forms: dict[int, Form] = {}  # of templates
        self._stream: AbstractStreamWriter | web.StreamResponse | None = None
        self._refusing = False  # the receipt cannot be kept, so no answer is given
        self.response: web.StreamResponse | None = None  # what the handler returns

    def send(self, delta: Delta, changes: Sequence[tuple[Spot, str]] = ()) -> None:
        """Take one released frame, with what is cut out of it; `flush` writes what has gathered."""
        if self._receipt.texts is not None:
            self._receipt.texts.sent(delta, changes)
        frame = delta.frame
        if changes:
            frame = document_of(frame)
            write(frame, changes)
            self._receipt.changed = True
        for piece in delta.pieces:
            if piece.place is Place.UNREAD_OUTPUT and piece.text:
                self._receipt.unread.append(piece.channel)
        if frame is None:
            return
        if isinstance(frame, Raw):
            self._media = frame.media
            self._batch.append(frame.data)
            return
        if not self._request.stream:
            self._plain = frame
            return
        if isinstance(frame, Chunk):
            self._send_chunk(frame)
        else:
            self._send(frame)

    def _send_chunk(self, chunk: Chunk) -> None:
        """One or several as one, by what stands around their texts for this client."""
        _, ends, is_padded = self._forms.get(id(chunk.template)) or self._form(chunk.template)
        data = chunk.between(ends)
        self._batch.append(sse.frames([*map(padded, data)] if is_padded else data))

    def _form(self, template: Template) -> Form:
        shown = self._endpoint.for_client(self._request, template.frame)
        assert shown is not None  # there is a text in it
        ends = template.ends(shown)
        if len(self._forms) == FORMS:
            self._forms.clear()
        form = self._forms[id(template)] = (template, ends, any(EMPTY in part for part in ends if part))
        return form

    def _send(self, frame: Document) -> None:
        """One event, as the client asked for it."""
        shown = self._endpoint.for_client(self._request, frame)
        if shown is None:
            return
        if self._endpoint.fails_by_events:
            self._first = self._first or shown
            self._last = shown
        self._batch.append(self._endpoint.frame(shown))

    async def flush(self) -> None:
        """Write every gathered frame in one write."""
        if self._batch:
            data = b"".join(self._batch)
            self._batch.clear()
            await self._write(data)

    @property
    def streaming(self) -> bool:
        """An event stream is under way, so that a comment can be written."""
        return self._stream is not None and self._media == STREAM

    async def keep_alive(self) -> None:
        await self._write(sse.comment("keep-alive"))

    async def close(self, verdict: Verdict) -> None:
        match verdict.decision:
            case Decision.RELEASED | Decision.MASKED:
                await self._complete()
            case Decision.BLOCKED:
                await self._blocked(verdict)
            case Decision.FAILED:
                assert verdict.fault is not None
                await self._failed(verdict.fault)
            case Decision.LEFT:
                self._batch.clear()
                cut(self._http)

    async def _complete(self) -> None:
        if self._request.stream:
            await self._end_with(self._endpoint.done)
        elif self._stream is not None or self._batch:
            await self._end_with(b"")
        elif self._plain is None:
            await self._failed(NO_ANSWER)
        else:
            await self._answer(self._plain)

    async def _end_with(self, done: bytes) -> None:
        """The end of a stream: said once the receipt is kept, where that was promised."""
        self._receipt.status = 200
        if not await self._may_end():
            await self._failed(NOT_KEPT)
            return
        last = b"".join((*self._batch, done))
        self._batch.clear()
        await self._write(last, ends=True)

    async def _may_end(self) -> bool:
        if self._refusing or await self._receipt.sealed():
            return True
        self._refusing = True
        self._receipt.close(Verdict(Decision.FAILED, fault=NOT_KEPT))
        return False

    async def _answer(self, released: Document) -> None:
        try:
            frame = self._endpoint.for_client(self._request, released)
        except BadRequest as error:  # it holds not what was asked for
            body = errors.error_object(error.message, kind=error.kind, code=error.code, param=error.param)
            await self._whole(error.status, canonical.dump(body))
        else:
            await self._whole(200, canonical.dump(frame), self._receipt.upstream_headers())

    async def _blocked(self, verdict: Verdict) -> None:
        await self._flush_before_verdict()
        if self._plan.block_as != "error" and await self._refuse(self._plan.block_as):
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
            param=self._endpoint.param,
        )

    async def _refuse(self, way: Literal["message", "refusal"]) -> bool:
        """`block_as: message | refusal`: an answer in the application's own kind of words, where there is one."""
        documents = self._endpoint.refused(
            way,
            text=self._plan.refusal,
            request=self._request,
            request_id=self._receipt.id,
            created=int(time.time()),
            usage=self._usage(),
        )
        if documents is None or (self._stream is not None and not self._endpoint.refuses_in_mid_stream):
            return False
        if not self._request.stream:
            await self._whole(200, canonical.dump(documents[0]))
            return True
        for document in documents:
            self.send(Delta(document))
        await self._end_with(self._endpoint.done)
        return True

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
        if self._media != STREAM:  # no place for words in the middle of other bytes
            cut(self._http)
            return
        await self._may_end()  # it ends with an error in any case
        await self._write(self._endpoint.failed(error, self._first, self._last, self._request), ends=True)

    async def _whole(self, status: int, body: bytes, headers: Any = None) -> None:
        self._receipt.status = status
        self._receipt.first_byte = time.monotonic()
        if not await self._may_end():
            await self._failed(NOT_KEPT)
            return
        said = {**self._receipt.headers(), **(headers or {}), "content-type": JSON}
        compressed = 0 < self._compress_from <= len(body)
        if not compressed and (done := answered(self._http)) is not None:
            self.response = done
            if not say(self._http, status, said, body):
                raise ClientGone
            if self._http.protocol.writing_paused:
                async with Reaching(self._http, 0):
                    await self._http.writer.drain()
            return
        self.response = response = web.Response(status=status, body=body, headers=said)
        if compressed:
            response.headers["vary"] = "accept-encoding"
            if "gzip" in _accepted(self._http.headers.get("Accept-Encoding", "")):
                response.enable_compression(web.ContentCoding.gzip)
        async with Reaching(self._http, len(body)):
            await response.prepare(self._http)
            await response.write_eof()

    async def _begin(self) -> AbstractStreamWriter | web.StreamResponse:
        self._receipt.status = 200
        self._receipt.first_byte = time.monotonic()
        told = {**self._receipt.headers(), **self._receipt.upstream_headers(), **STREAM_HEADERS}
        told["content-type"] = self._media
        if (done := answered(self._http)) is not None:
            await begin(self._http, told)
            self.response, self._stream = done, self._http.writer
            return self._stream
        stream = web.StreamResponse(headers=told)
        await stream.prepare(self._http)
        self._stream = self.response = stream
        return stream

    async def _write(self, data: bytes, *, ends: bool = False) -> None:
        """The next of a stream, or its last."""
        if type(self.response) is Answered and not ends and go_on(self._http, data):
            return
        async with Reaching(self._http, len(data)):
            stream = self._stream or await self._begin()
            await (stream.write_eof(data) if ends else stream.write(data))


def _accepted(header: str) -> set[str]:
    """The content codings that a client takes."""
    offers = (offer.replace(" ", "").lower().partition(";q=") for offer in header.split(","))
    return {name for name, _, quality in offers if not quality.startswith("0") or quality.strip("0.")}


NOT_KEPT = Fault(
    503,
    "The receipt of this request cannot be kept.",
    "audit_unavailable",
    "server_error",
    headers={"retry-after": "1"},
)
NO_ANSWER = Fault(502, "The upstream gave no answer.", "upstream_malformed")
