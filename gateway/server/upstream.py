"""Asks upstreams: one call out, deltas in, and every way it can go wrong as one kind of fault.

Nothing that an upstream wrote is in a fault: messages are our own, codes and parameters are from
a list. Connections go only to the configured base URL; a redirect is not followed. Closing the
generator closes the connection at once.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol

from gateway import __version__
from gateway.config.model import UpstreamSettings
from gateway.core.ceiling import Account
from gateway.core.exchange import NO_ROOM
from gateway.core.terms import Blame, Call, Delta, Document, Fault, Finding, Headers, Piece, Place
from gateway.server.calling import Answer, CallLost, Client, Late, Request, Unreachable, Unreadable
from gateway.server.threads import aside
from gateway.wire import canonical, sse
from gateway.wire.canonical import Malformed
from gateway.wire.endpoint import JSON, Endpoint
from gateway.wire.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, ENDPOINTS, MODERATIONS
from gateway.wire.fields import REQUEST_KEYS
from gateway.wire.padding import bare
from gateway.wire.reader import Reader, UpstreamErrorFrame

MAX_STREAM = 64 * 1024**2  # bytes of a whole stream
INLINE = 65_536  # bytes of an answer that is read on the event loop; more go to a thread
ENDS = (b"", b"[DONE]")  # events that say nothing: a keep-alive, and that there is nothing more
TOGETHER = 8_192  # bytes of events that are given on together: half a millisecond's work, then others have their turn
MAX_ERROR = 1024**2  # bytes of an error answer
ASKED: dict[str, Endpoint] = {
    one.name: one for one in (CHAT, COMPLETIONS, MODERATIONS, EMBEDDINGS)
}  # by checks and votes

FORWARDED = ("idempotency-key", "x-client-request-id", "traceparent", "tracestate", "openai-beta")
FORWARDED_WITH_KEY = ("openai-organization", "openai-project", "authorization")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,1024}\Z")
_NUMBER = re.compile(r"\d{1,8}(\.\d{1,6})?\Z")
_SPAN = re.compile(r"(\d{1,6}(\.\d{1,6})?(ms|s|m|h|d)?){1,5}\Z")  # 6m0s, 20ms, 1
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
LIMITS = {
    f"x-ratelimit-{word}-{unit}": _SPAN if word == "reset" else _NUMBER
    for word in ("limit", "remaining", "reset")
    for unit in ("requests", "tokens")
} | {"openai-processing-ms": _NUMBER}
ID_HEADER = "x-request-id"

KEPT_STATUSES = frozenset({400, 404, 409, 413, 415, 422, 429})
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
PATIENCE = 2.0  # seconds of retry-after that we wait ourselves
CODES = frozenset(
    "context_length_exceeded invalid_api_key insufficient_quota rate_limit_exceeded model_not_found "
    "unsupported_parameter unsupported_value invalid_value invalid_type missing_required_parameter "
    "unknown_parameter content_filter content_policy_violation server_error string_above_max_length "
    "integer_above_max_value integer_below_min_value tokens_exceeded billing_hard_limit_reached".split()
)
_PARAM = re.compile(r"(?P<top>[a-z_]{1,40})(\[\d{1,6}\]|\.(role|content|name|type|tool_calls|function|parameters))*\Z")


class UpstreamError(Exception):
    """A call was lost; the fault says it in words that are safe to show."""

    def __init__(self, fault: Fault, *, retry: bool = False, wait: float | None = None) -> None:
        super().__init__(fault.code)
        self.fault = fault
        self.retry = retry  # nothing was processed, so the same call may be made again
        self.wait = wait  # seconds that the upstream asked for


class CandidatesStopped(Exception):
    """Checks have stopped every answer that there was; the finding is the first of theirs."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.watch.name)
        self.finding = finding


@dataclass(slots=True)
class CallRecord:
    """What happened to one call; filled as it goes. Times are monotonic seconds."""

    name: str
    upstream: str
    model: str
    status: int | None = None
    attempts: int = 0
    started: float = field(default_factory=time.monotonic)
    first_delta: float | None = None
    ended: float | None = None
    usage: Document | None = None
    usd: float | None = None  # what it cost, where prices are configured
    cancelled: bool = False
    headers: dict[str, str] = field(default_factory=dict)  # of the answer: validated, rendered anew
    held: Account = field(default_factory=Account)  # what the request holds in memory

    def grow(self, size: int) -> None:
        """So many more bytes are kept until the answer is whole. Raises UpstreamError where they do not fit."""
        if not self.held.grow(f"read {self.name}", size):
            raise UpstreamError(NO_ROOM)


class Last(list[Delta]):
    """What comes together of an answer, and nothing comes behind it: so its reader need not come back to be told."""


class Upstream(Protocol):
    """One place that answers requests of every endpoint."""

    def answer(
        self, call: Call, headers: Headers, record: CallRecord, pulse: float = math.inf
    ) -> AsyncGenerator[Sequence[Delta], None]:
        """Deltas as they come, those of one read together; returns when the answer is complete, else raises UpstreamError.

        In a stream, no delta at all after each `pulse` seconds of silence.
        """
        ...

    async def ask(self, endpoint: str, model: str, body: Document) -> Document:
        """One plain call for a check. Raises UpstreamError."""
        ...

    async def close(self) -> None: ...


def fault(status: int, message: str, code: str, blame: Blame = Blame.UPSTREAM) -> Fault:
    return Fault(status, message, code, blame=blame)


UNREACHABLE = fault(502, "The upstream cannot be reached.", "upstream_unreachable")
CUT = fault(502, "The upstream broke off its answer.", "upstream_cut")
MALFORMED = fault(502, "The upstream's answer cannot be read.", "upstream_malformed")
TOO_LARGE = fault(502, "The upstream's answer is too large.", "upstream_too_large")
ERROR_FRAME = fault(502, "The upstream reported an error in its answer.", "upstream_error")
TOO_SLOW = fault(504, "The upstream did not answer in time.", "upstream_timeout", Blame.TIMEOUT)


@dataclass(slots=True)
class Patience:
    """Until when the next read may take; what is said moves it on."""

    until: float  # monotonic seconds
    pulse: float = math.inf  # seconds in which nothing was given on that are told
    since: float = 0.0  # when anything was given on
    pulsed: bool = False  # the last read came to nothing but a pulse

    @property
    def next(self) -> float:
        return min(self.until, self.since + self.pulse)


class RetryBudget:
    """Retries are at most a fifth of the traffic: each call earns a fifth of one, a few are saved up."""

    def __init__(self, share: float = 0.2, saved: float = 3.0) -> None:
        self._share = share
        self._most = saved
        self._left = saved

    def earn(self) -> None:
        self._left = min(self._most, self._left + self._share)

    def spend(self) -> bool:
        if self._left < 1:
            return False
        self._left -= 1
        return True


class HttpUpstream:
    """An OpenAI-compatible server behind a base URL."""

    def __init__(self, settings: UpstreamSettings, client: Client) -> None:
        assert settings.base_url is not None
        self._settings = settings
        self._client = client
        self._urls = {path: settings.base_url + path for path in ENDPOINTS}
        self._forwarded = FORWARDED + (FORWARDED_WITH_KEY if settings.passes_key_through else ())
        self._fixed = {"accept-encoding": "identity", "user-agent": f"outrider/{__version__}"}
        if settings.api_key is not None and not settings.passes_key_through:
            self._fixed["authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        self._budget = RetryBudget()

    async def close(self) -> None:
        await self._client.close()

    async def answer(
        self, call: Call, headers: Headers, record: CallRecord, pulse: float = math.inf
    ) -> AsyncGenerator[Sequence[Delta], None]:
        until = time.monotonic() + self._settings.timeout.total
        whole: Last | None = None
        self._budget.earn()
        record.started = time.monotonic()
        try:
            answer = await self._opened(call, headers, record, until, pulse)
            try:
                record.headers, request_id = _told(answer.response.headers)
                answer.response.forget_headers()
                ahead = [Delta(None, request_id)] if request_id else []  # a frame of its own, that no choice overtakes
                if answer.response.media == JSON:
                    whole = Last([*ahead, *await self._plain(answer)])
                    record.usage, record.first_delta = answer.reader.usage, time.monotonic()
                else:
                    async with aclosing(self._pieces(answer, until)) as batches:
                        async for deltas in batches:
                            record.usage = answer.reader.usage
                            if deltas:
                                record.first_delta = record.first_delta or time.monotonic()
                                deltas[:0], ahead = ahead, []
                            yield deltas
                            del deltas  # they are not kept while the next ones are awaited
                if closing := answer.reader.closing():  # what can only be read now that the answer is complete
                    if whole is None:
                        yield [Delta(None, closing)]
                    else:
                        whole.append(Delta(None, closing))
                answer.response.release()
            finally:
                answer.response.close()
        except (asyncio.CancelledError, GeneratorExit):
            record.cancelled = True
            raise
        finally:
            record.ended = time.monotonic()
        if whole is not None:
            yield whole

    async def _opened(self, call: Call, headers: Headers, record: CallRecord, until: float, pulse: float) -> _Answer:
        """The answer as its head has come, after as many attempts as that takes."""
        retries = 0 if headers.get("x-stainless-retry-count", "0") != "0" else self._settings.retries
        while True:
            record.attempts += 1
            try:
                return await self._attempt(call, headers, record, until, pulse)
            except UpstreamError as error:
                wait = self._wait(error, record, retries, until)
                if wait is None:
                    raise
                await asyncio.sleep(wait)

    def _wait(self, error: UpstreamError, record: CallRecord, retries: int, until: float) -> float | None:
        """Seconds until the next attempt (full jitter); None: there is none."""
        if not error.retry or record.attempts > retries:
            return None
        pause = random.uniform(0, min(2.0, 0.25 * 2 ** (record.attempts - 1)))  # noqa: S311 -- jitter, not a secret
        if error.wait is not None:
            pause = error.wait + pause / 4
        if time.monotonic() + pause >= until or not self._budget.spend():
            return None
        return pause

    async def _attempt(self, call: Call, headers: Headers, record: CallRecord, until: float, pulse: float) -> _Answer:
        first = min(until, time.monotonic() + self._settings.timeout.first_token)
        endpoint = ENDPOINTS[call.path]
        response = await self._send(endpoint, call.document, headers, first)
        record.status = response.status
        try:
            await self._refuse_status(response, first)
        except BaseException:
            response.close()
            raise
        reader = endpoint.reader(call.document, stream=call.stream)
        reader.rewritable = call.rewritable
        return _Answer(endpoint, reader, response, call.stream, Patience(first, pulse, time.monotonic()), record.grow)

    def _pieces(self, answer: _Answer, until: float) -> AsyncGenerator[list[Delta], None]:
        """By what the upstream sent, not by what was asked: a stream may come as JSON and the reverse."""
        media = answer.response.media
        if media == "text/event-stream":
            return self._streamed(answer, until) if answer.stream else self._gathered(answer, until)
        if answer.endpoint.raw_media is not None and answer.endpoint.raw_media.match(media) and not answer.stream:
            return self._raw(answer, media, until)
        raise UpstreamError(MALFORMED)

    async def _send(self, endpoint: Endpoint, document: Document, headers: Headers, until: float) -> Answer:
        sent = self._headers(headers)
        media, body = endpoint.encode(document)
        if media:
            sent["content-type"] = media
        sent["accept"] = "text/event-stream, application/json" if endpoint.streams(document) else "application/json"
        if endpoint.raw_media is not None:
            sent["accept"] = "*/*"
        url, connect = self._urls[endpoint.path], self._settings.timeout.connect
        try:
            return await self._client.send(Request(endpoint.method, url, sent, body if media else None, connect), until)
        except Late as late:
            raise UpstreamError(TOO_SLOW, retry=late.connecting) from None
        except Unreachable:
            raise UpstreamError(UNREACHABLE, retry=True) from None
        except CallLost:
            raise UpstreamError(MALFORMED) from None

    def _headers(self, client: Headers) -> dict[str, str]:
        """Only what is on the list, built anew."""
        sent = dict(self._fixed)
        for name in self._forwarded:
            value = client.get(name)
            if value is not None and _HEADER_VALUE.match(value):
                sent[name] = value
        return sent

    async def _refuse_status(self, response: Answer, until: float) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UpstreamError(MALFORMED)
        if response.status == 200:
            return
        try:
            document = await _document(response, until, MAX_ERROR)
        except UpstreamError:
            document = {}
        wait = _seconds(response.headers)
        retry = response.status in RETRIED_STATUSES and (wait or 0) <= PATIENCE
        told = refusal(response.status, document, response.headers, own_key=not self._settings.passes_key_through)
        raise UpstreamError(told, retry=retry, wait=wait)

    async def _plain(self, answer: _Answer) -> list[Delta]:
        body = await _body(answer.response, answer.patience.until, answer.endpoint.max_answer, answer.grow)
        with READABLE:
            return await aside(len(body), answer.whole, body) if len(body) > INLINE else answer.whole(body)

    async def _streamed(self, answer: _Answer, until: float) -> AsyncGenerator[list[Delta], None]:
        events, reader = _Events(answer.endpoint.max_event), answer.reader
        between = self._settings.timeout.between_tokens
        while not (events.over or reader.ended):
            deltas: list[Delta] = []
            size, said = 0, False
            arrived = events.read(await _read(answer.response, answer.patience))
            told = _read_together(reader, arrived)
            if (came := sum([len(event.data) for event in arrived])) > INLINE:
                told = await aside(came, _read_already, told)
            try:
                while (delta := next(told, None)) is not None:
                    deltas.append(delta)
                    said = said or bool(delta.pieces)
                    size += delta.size
                    if size > TOGETHER:
                        yield deltas
                        deltas, size = [], 0
                        await asyncio.sleep(0)
            except (UpstreamErrorFrame, Malformed) as error:
                if deltas:
                    yield deltas  # what came before it is the answer's, as far as its checks let it go
                raise UpstreamError(ERROR_FRAME if isinstance(error, UpstreamErrorFrame) else MALFORMED) from None
            if said:  # what says nothing, comments too, buys no time
                answer.patience.until = min(until, time.monotonic() + between)
            if deltas or answer.patience.pulsed:
                answer.patience.since = time.monotonic()
                yield deltas
            del arrived, told  # what has come is not kept while more is awaited
        if not reader.ended and not reader.finished:
            raise UpstreamError(CUT)

    async def _gathered(self, answer: _Answer, until: float) -> AsyncGenerator[list[Delta], None]:
        """A stream that nobody asked for, as the whole answer that was asked for."""
        reader = answer.endpoint.reader(answer.reader.asked, stream=True)
        events = _Events(answer.endpoint.max_event)
        frames: list[Document] = []
        size = 0
        while not (events.over or reader.ended):
            for event in events.read(await _read(answer.response, answer.patience)):
                size += len(event.data)
                if size > answer.endpoint.max_answer:
                    raise UpstreamError(TOO_LARGE)
                answer.grow(len(event.data))
                with READABLE:
                    frames.append(reader.fit(_event(event)))
                answer.patience.until = min(until, time.monotonic() + self._settings.timeout.between_tokens)
                if reader.ended:
                    break
        if not reader.finished:
            raise UpstreamError(CUT)
        with READABLE:
            if size > INLINE:
                document = await aside(size, answer.endpoint.whole, frames)
            else:
                document = answer.endpoint.whole(frames)
            delta = answer.reader.delta(document)
        yield [delta]

    async def _raw(self, answer: _Answer, media: str, until: float) -> AsyncGenerator[list[Delta], None]:
        """Bytes: passed on as they come where the endpoint's answers flow, else read whole."""
        parts: list[bytes] = []
        size = 0
        while data := await _read(answer.response, answer.patience):
            size += len(data)
            if size > (MAX_STREAM if answer.endpoint.flows else answer.endpoint.max_answer):
                raise UpstreamError(TOO_LARGE)
            answer.patience.until = min(until, time.monotonic() + self._settings.timeout.between_tokens)
            if answer.endpoint.flows:
                yield [answer.reader.raw(media, data)]
            else:
                answer.grow(len(data))
                parts.append(data)
        if parts:
            with READABLE:
                yield [answer.reader.raw(media, b"".join(parts))]
        elif not size:
            raise UpstreamError(MALFORMED)

    async def ask(self, endpoint: str, model: str, body: Document) -> Document:
        document = {"model": model, **body}
        until = time.monotonic() + self._settings.timeout.total
        response = await self._send(ASKED[endpoint], document, {}, until)
        try:
            await self._refuse_status(response, until)
            answer = await _document(response, until, ASKED[endpoint].max_answer)
            response.release()
        finally:
            response.close()
        return answer


def _uncounted(_size: int) -> None:
    """Of what is small."""


@dataclass(slots=True)
class _Answer:
    """One response being read."""

    endpoint: Endpoint
    reader: Reader
    response: Answer
    stream: bool  # asked for
    patience: Patience
    grow: Callable[[int], None]

    def whole(self, body: bytes) -> list[Delta]:
        """One that came as JSON. Raises Malformed, UpstreamErrorFrame."""
        document = canonical.parse_answer(body, self.endpoint.max_values)
        if self.stream:
            return [self.reader.delta(chunk) for chunk in self.endpoint.chunks(document)]
        return [self.reader.delta(document, ours=True)]


class _Events:
    """The events of a stream until [DONE] or the end of the body. Empty ones are keep-alives."""

    def __init__(self, longest: int) -> None:
        self._parser = sse.Parser(longest)
        self._total = 0
        self.over = False

    def read(self, data: bytes | None) -> list[sse.Event]:
        """What ends with these bytes; none of them: the end of the body; None: only time has passed."""
        if data is None:
            return []
        self._total += len(data)
        if self._total > MAX_STREAM:
            raise UpstreamError(TOO_LARGE)
        try:
            events = self._parser.feed(data) if data else self._parser.eof()
        except sse.TooLong:
            raise UpstreamError(TOO_LARGE) from None
        kept: list[sse.Event] = []
        for event in events:
            if event.data.startswith(b"{") or event.name == "error" or (said := event.data.strip()) not in ENDS:
                kept.append(event)
            elif said:
                self.over = True
                return kept
        self.over = not data
        return kept


def _read_together(reader: Reader, events: list[sse.Event]) -> Iterator[Delta]:
    """What events say that came together. Raises UpstreamErrorFrame, Malformed behind what came before."""
    good = list(takewhile(_no_error, events))
    for delta in reader.events([bare(event.data) for event in good]):
        yield delta
        if reader.ended:
            return
    if len(good) < len(events):
        raise UpstreamErrorFrame


def _read_already(deltas: Iterator[Delta]) -> Iterator[Delta]:
    """The same, of which nothing is left to be read; what was raised is raised behind what came before it."""
    read: list[Delta] = []
    try:
        read.extend(deltas)
    except (UpstreamErrorFrame, Malformed) as error:
        return _raising(read, error)
    return iter(read)


def _raising(deltas: Sequence[Delta], error: Exception) -> Iterator[Delta]:
    yield from deltas
    raise error


def _no_error(event: sse.Event) -> bool:
    return event.name != "error"


class _Readable:
    """What of an answer cannot be read is the upstream's fault."""

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, UpstreamErrorFrame):
            raise UpstreamError(ERROR_FRAME) from None
        if isinstance(error, Malformed):
            raise UpstreamError(MALFORMED) from None


READABLE = _Readable()


def _event(event: sse.Event) -> Document:
    """The JSON of one event; its name says no more than its `type`, unless it is an error."""
    if event.name == "error":
        raise UpstreamErrorFrame
    return canonical.parse_answer(event.data)


async def _document(response: Answer, until: float, most: int) -> Document:
    """A JSON object of at most so many bytes."""
    body = await _body(response, until, most, _uncounted)
    with READABLE:
        if len(body) > INLINE:
            return await aside(len(body), canonical.parse_answer, body)
        return canonical.parse_answer(body)


async def _body(response: Answer, until: float, most: int, grow: Callable[[int], None]) -> bytes:
    """A body of at most so many bytes; `grow` counts them as they come."""
    parts: list[bytes] = []
    size = 0
    patience = Patience(until)
    while not response.ended and (part := await _read(response, patience)):
        size += len(part)
        if size > most:
            raise UpstreamError(TOO_LARGE)
        grow(len(part))
        parts.append(part)
    return b"".join(parts)


def _told(headers: Mapping[str, str]) -> tuple[dict[str, str], tuple[Piece, ...]]:
    """What an upstream's headers tell a client: numbers, and its request id, which is text like any other."""
    kept = {name: said for name, form in LIMITS.items() if (said := headers.get(name)) and form.match(said)}
    found = headers.get(ID_HEADER, "")
    if not _ID.match(found):
        return kept, ()
    kept["x-outrider-upstream-id"] = found
    return kept, (Piece("headers.x-request-id", Place.OTHER_OUTPUT, found, closed=True, fixed=True),)


async def _read(response: Answer, patience: Patience) -> bytes | None:
    """What has come of the body, within the patience that is left; nothing at its end; None: a pulse is due."""
    until = patience.next
    patience.pulsed = False
    try:
        return await response.read(until)
    except Late:
        if until < patience.until:
            patience.pulsed = True
            return None
        raise UpstreamError(TOO_SLOW) from None
    except Unreadable:
        raise UpstreamError(MALFORMED) from None
    except CallLost:
        raise UpstreamError(CUT) from None


def refusal(status: int, document: Document, headers: Mapping[str, str], *, own_key: bool) -> Fault:
    """An upstream's error status as ours: its number, our words, codes and parameters from a list."""
    if status in {401, 403} and own_key:
        return fault(502, "The upstream refuses the gateway's own key.", "upstream_auth")
    if status < 400:
        return fault(502, "The upstream sent a redirect, which is not followed.", "upstream_malformed")
    kept = status if status in KEPT_STATUSES | {401, 403} or 500 <= status <= 599 else 502
    kept = 504 if status == 408 else kept
    error = document.get("error")
    error = error if isinstance(error, dict) else {}
    said = error.get("code")
    code = said if isinstance(said, str) and said in CODES else None
    param = _param(error.get("param"))
    known = [f"code {code}"] if code else []
    known += [f"param {param}"] if param else []
    what = (
        f"The upstream refused the request with status {status}"
        if status < 500
        else f"The upstream failed with status {status}"
    )
    message = f"{what} ({', '.join(known)})." if known else f"{what}."
    kind = "invalid_request_error" if kept < 500 and kept != 429 else "upstream_error"
    if kept == 429:
        kind = "rate_limit_error"
    return Fault(kept, message, code or f"upstream_{status}", kind, param, _retry_headers(headers))


def _param(param: object) -> str | None:
    if not isinstance(param, str) or len(param) > 100:
        return None
    found = _PARAM.match(param)
    return param if found and found["top"] in REQUEST_KEYS else None


def _retry_headers(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {n: headers[n] for n in ("retry-after", "retry-after-ms") if _NUMBER.match(headers.get(n, ""))}
    if headers.get("x-should-retry") in {"true", "false"}:
        kept["x-should-retry"] = headers["x-should-retry"]
    return kept


def _seconds(headers: Mapping[str, str]) -> float | None:
    """How long the upstream asks us to wait; a date or nonsense is longer than we would."""
    if _NUMBER.match(millis := headers.get("retry-after-ms", "")):
        return float(millis) / 1000
    if "retry-after" not in headers:
        return None
    after = headers["retry-after"]
    return float(after) if _NUMBER.match(after) else math.inf
