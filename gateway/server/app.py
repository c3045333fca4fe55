"""The data listener: which path is served by what, and the walk of one request through it."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any

import structlog
from aiohttp import web

from gateway.config.model import House
from gateway.core.admission import Admission
from gateway.core.ceiling import Ceiling
from gateway.core.terms import Decision, Document, Place, Request
from gateway.policy.model import PolicySet
from gateway.server.admit import Doors
from gateway.server.afterwards import Afterwards
from gateway.server.answering import Answering
from gateway.server.audit.keeper import Keeper
from gateway.server.books import Books
from gateway.server.consult import Counsel
from gateway.server.cors import PREFLIGHT, Cors
from gateway.server.metrics import Metrics
from gateway.server.moderate import moderate
from gateway.server.plugged import detect, screen
from gateway.server.receive import read_body
from gateway.server.record import Receipt, write_receipt
from gateway.server.release import NOT_KEPT, cut
from gateway.server.targets import Targets
from gateway.server.threads import aside
from gateway.server.upstream import Upstream
from gateway.settings import Settings
from gateway.wire import canonical, errors, models
from gateway.wire.endpoint import JSON, Endpoint
from gateway.wire.endpoints import ENDPOINTS, MODELS, MODERATIONS
from gateway.wire.errors import BadRequest
from gateway.wire.guardrails import CONTENTS, WEBHOOK, contents, contents_answer, webhook
from gateway.wire.moderations import OWN

log = structlog.get_logger()

Handler = Callable[[web.BaseRequest, Receipt], Awaitable[web.StreamResponse]]
_SLASHES = re.compile(r"/{2,}")
INLINE = 65_536  # bytes of a body that is read on the event loop
QUOTES = 500  # of its quotation marks: each string takes some time, however short it is


@dataclass
class Gateway:
    """Everything a request needs, made once: house, policies, upstreams."""

    settings: Settings
    house: House
    policies: PolicySet
    upstreams: Mapping[str, Upstream]
    afterwards: Afterwards = field(default_factory=Afterwards)
    keep: Callable[[Receipt], None] = write_receipt
    metrics: Metrics = field(default_factory=Metrics)
    draining: bool = False
    in_flight: int = 0
    stirred: asyncio.Event = field(default_factory=asyncio.Event)  # a request has come since somebody last cleared it
    refused: tuple[str, ...] = ()  # why the newest policies did not take effect
    keeper: Keeper | None = None  # gets receipts into their store

    def __post_init__(self) -> None:
        routes: dict[tuple[str, str], Handler] = {}
        for endpoint in ENDPOINTS.values():
            routes[endpoint.method, endpoint.path] = partial(self._answer, endpoint)
        routes["GET", MODELS.path] = self._models
        routes["POST", WEBHOOK] = self._webhook
        routes["POST", CONTENTS] = self._contents
        self._paths = {path for _, path in routes}
        self._routes = routes | {(method, f"/v1{path}"): handler for (method, path), handler in routes.items()}
        secret = self.settings.mask_key
        self._mask_key = secret.get_secret_value().encode() if secret else secrets.token_bytes(32)
        self._targets = Targets(self.house, self.upstreams)
        self.metrics.watch_breakers(self._targets.states)
        self._counsel = Counsel(self._targets.until)
        self._books = Books(self.settings, self.house, told=self.keep, metrics=self.metrics, keeper=self.keeper)
        self._answering = Answering(
            self.settings,
            self.house,
            self.upstreams,
            afterwards=self.afterwards,
            counsel=self._counsel,
            mask_key=self._mask_key,
        )
        self._cors = Cors(self.settings.cors_origins)
        self.ceiling = Ceiling(self.settings.max_memory_held)
        self._doors = Doors(
            Admission(self.settings.max_concurrent, self.settings.max_queued),
            self.ceiling,
            wait=self.settings.queue_wait,
            metrics=self.metrics,
        )

    async def close(self) -> None:
        """Close the connections to the upstreams and to the services of the checks."""
        await self._targets.close()
        for upstream in set(self.upstreams.values()):
            await upstream.close()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request. Whatever happens, the client gets OpenAI's shapes and a request id."""
        if http.path in {"/healthz", "/readyz"}:
            return self.health(http)
        receipt = self._books.open(self.ceiling.account(), self._cors.headers(http.headers))
        self.in_flight += 1
        self.stirred.set()
        try:
            return await self._end(http, await self._served(http, receipt), receipt)
        except BadRequest as error:
            receipt.decision, receipt.status, receipt.why = "refused", error.status, error.code or "bad_request"
            return await self._end(http, _refusal(error, receipt), receipt)
        except asyncio.CancelledError:
            receipt.decision = receipt.decision or str(Decision.LEFT)
            raise
        except Exception:
            log.exception("request_failed", id=receipt.id)
            receipt.decision = "failed"
            if receipt.first_byte is not None:  # an answer has begun: no second one into the middle of it
                cut(http)
                raise asyncio.CancelledError from None
            receipt.status = 500
            failed = _refusal(BadRequest("The gateway failed.", status=500, kind="server_error"), receipt)
            return await self._end(http, failed, receipt)
        finally:
            self.in_flight -= 1
            self._doors.leave(receipt)
            receipt.settle()

    async def _end(self, http: web.BaseRequest, response: web.StreamResponse, receipt: Receipt) -> web.StreamResponse:
        """An answer that is not under way yet waits for its receipt, where that was promised."""
        if response.prepared or await receipt.sealed():
            return response
        receipt.decision, receipt.status, receipt.why = "failed", NOT_KEPT.status, NOT_KEPT.code
        body = canonical.dump(errors.fault_object(NOT_KEPT))
        headers = {**receipt.headers(), **NOT_KEPT.headers, "content-type": JSON}
        return web.Response(status=NOT_KEPT.status, body=body, headers=headers)

    def shed(self) -> bytes | None:
        """The whole answer to a request that nobody needs to read, with its receipt; None: it has to be read.

        What is sent away without its turn in the parser costs those little that are let in.
        """
        if not self._doors.closed or self.draining or self._books.strict:
            return None
        error = self._doors.refusal(self._doors.closed)
        receipt = self._books.open_unread()
        receipt.decision, receipt.status, receipt.why = "refused", error.status, error.code or ""
        body = errors.error_body(error.message, kind=error.kind, code=error.code)
        headers = {**receipt.headers(), **error.headers, "content-type": JSON, "content-length": len(body)}
        receipt.settle()
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n".encode() + body

    def _served(self, http: web.BaseRequest, receipt: Receipt) -> Awaitable[web.StreamResponse]:
        """The answer of whoever serves this path. Raises BadRequest."""
        if self.draining:
            raise BadRequest(
                "The gateway is shutting down.",
                status=503,
                code="shutting_down",
                kind="server_error",
                headers={"retry-after": "1", "connection": "close"},
            )
        if self._books.refuse:
            raise BadRequest(
                NOT_KEPT.message, status=503, code=NOT_KEPT.code, kind=NOT_KEPT.kind, headers=NOT_KEPT.headers
            )
        if http.method == "OPTIONS" and receipt.cors:
            return self._preflight(receipt)
        if self.house.keys:
            self._admit(http, receipt)
        handler = self._routes.get((http.method, http.rel_url.raw_path)) or self._handler(http)
        return handler(http, receipt)

    async def _preflight(self, receipt: Receipt) -> web.StreamResponse:
        receipt.decision, receipt.status = "released", 204
        return web.Response(status=204, headers={**receipt.headers(), **PREFLIGHT})

    def _handler(self, http: web.BaseRequest) -> Handler:
        """What serves a path that is not spelt as usual. Raises BadRequest."""
        path = _plain_path(http.rel_url.raw_path)
        if path in self._paths and (handler := self._routes.get((http.method, path))) is not None:
            return handler
        if http.method == "GET" and path.startswith(f"{MODELS.path}/"):
            return self._models
        raise self._unserved(http.method, path)

    def _admit(self, http: web.BaseRequest, receipt: Receipt) -> None:
        """Whose key came with the request. Raises BadRequest."""
        kind, _, presented = http.headers.get("Authorization", "").partition(" ")
        key = self.house.key(presented.strip()) if kind.lower() == "bearer" else None
        if key is None:
            words = "The API key is not one of this gateway." if presented else "Send an API key as a bearer token."
            raise BadRequest(words, status=401, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
        receipt.key = key.name

    def _unserved(self, method: str, path: str) -> BadRequest:
        if path in self._paths:
            allowed = ", ".join(sorted(m for m, p in self._routes if p == path))
            return BadRequest(
                f"This endpoint takes {allowed}.",
                status=405,
                code="method_not_allowed",
                headers={"allow": allowed},
            )
        return BadRequest("This endpoint is not served.", status=404, code="unknown_url")

    @property
    def ready(self) -> bool:
        return not self.draining and not self._books.refuse

    @property
    def mistakes(self) -> list[str]:
        """Why the newest policies did not take effect, as everybody may read it."""
        return [_without_folders(mistake) for mistake in self.refused]

    def health(self, http: web.BaseRequest) -> web.Response:
        if http.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"allow": "GET, HEAD"})
        if http.path == "/readyz" and self.draining:
            return web.Response(status=503, body=b'{"status":"draining"}', content_type=JSON)
        if http.path == "/readyz" and self._books.refuse:
            return web.Response(status=503, body=b'{"status":"receipts cannot be kept"}', content_type=JSON)
        if http.path == "/readyz":
            told: Document = {"status": "ok", "policies": [policy.version for policy in self.policies.policies]}
            if self.refused:
                told["refused"] = self.mistakes
            return web.Response(body=canonical.dump(told), content_type=JSON)
        return web.Response(body=b'{"status":"ok"}', content_type=JSON)

    async def _answer(self, endpoint: Endpoint, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        media = http.headers.get("Content-Type", JSON)
        request = await _read(endpoint, await self._body(http, endpoint.media, receipt), media)
        receipt.endpoint, receipt.model, receipt.stream = request.endpoint, request.model, request.stream
        if receipt.texts is not None:
            receipt.texts.asked(request)
        receipt.unread += [p.path for p in request.passages if p.place is Place.UNREAD_INPUT]
        if endpoint is MODERATIONS and request.model.startswith(OWN) and self._answering.may(receipt)(request.model):
            return await self._moderate(request, receipt)
        return await self._answering.answer(http, endpoint, request, self.policies, receipt)

    async def _moderate(self, request: Request, receipt: Receipt) -> web.StreamResponse:
        document = await moderate(request, self.policies, self._counsel, receipt)
        receipt.decision = "released"
        return _json(document, receipt)

    async def _webhook(self, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        """Another gateway asks for a verdict, by LiteLLM's contract."""
        asked = webhook(await self._document(http, receipt))
        receipt.endpoint = "webhook"
        told = await screen(asked, self.policies, self._counsel, self._mask_key, receipt)
        return _json(told, receipt)

    async def _contents(self, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        """An orchestrator asks for detections, by the contract of its detectors, whose errors have a shape of their own."""
        try:
            texts = contents(await self._document(http, receipt))
            receipt.endpoint = "contents"
            detector = http.headers.get("detector-id", "")
            found = await detect(detector, texts, self.policies, self._counsel, receipt)
        except BadRequest as error:
            receipt.decision = "refused"
            return _json({"code": error.status, "message": error.message}, receipt, status=error.status)
        except LookupError as error:
            receipt.decision = "failed"
            return _json({"code": 502, "message": f"The check {error} failed."}, receipt, status=502)
        receipt.decision = "released"
        return _json(contents_answer(texts, found), receipt)

    async def _body(self, http: web.BaseRequest, media: Collection[str], receipt: Receipt) -> bytes:
        """The body of a request that has a place: no place is taken before all of it is there."""
        self._doors.look()

        def grown(size: int) -> None:
            if not receipt.held.set("body", size):
                raise self._doors.refusal("memory")

        limits = self.settings
        body = await read_body(http, media=media, max_body=limits.max_body, within=limits.body_timeout, grown=grown)
        await self._doors.enter(receipt)
        return body

    async def _document(self, http: web.BaseRequest, receipt: Receipt) -> Document:
        body = await self._body(http, {JSON}, receipt)
        return await aside(len(body), canonical.parse, body) if len(body) > INLINE else canonical.parse(body)

    async def _models(self, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        """The house's names and the default upstream's models; a path below asks for one of them."""
        path = _plain_path(http.rel_url.raw_path)
        name = models.wanted(path) if path != MODELS.path else None
        receipt.endpoint, receipt.model = MODELS.name, name or ""
        endpoint = models.Listed(self.house.names, name, self._answering.may(receipt))
        upstream = self.house.default_upstream
        if upstream is None or name in self.house.names:
            receipt.decision, receipt.status = "released", 200
            body = canonical.dump(endpoint.select(None))
            return web.Response(body=body, headers={**receipt.headers(), "content-type": JSON})
        self._doors.look()
        await self._doors.enter(receipt)
        return await self._answering.listing(http, endpoint, upstream, self.policies, receipt)


def _json(document: Any, receipt: Receipt, status: int = 200) -> web.Response:
    receipt.status = status
    headers = {**receipt.headers(), "content-type": JSON}
    return web.Response(status=status, body=canonical.dump(document), headers=headers)


def _without_folders(mistake: str) -> str:
    """A mistake as everybody may read it: the file's name, not where it lies."""
    file, colon, rest = mistake.partition(":")
    return f"{PurePath(file).name}{colon}{rest}"


async def _read(endpoint: Endpoint, body: bytes, content_type: str) -> Request:
    """Read a body; a large one, or one of many strings, on a thread, so that nobody else waits for it."""
    if len(body) > INLINE or body.count(b'"') > QUOTES:
        return await aside(len(body), endpoint.read, body, content_type)
    return endpoint.read(body, content_type)


def _plain_path(path: str) -> str:
    """One spelling for each endpoint: with or without /v1, a trailing slash, doubled slashes."""
    plain = _SLASHES.sub("/", path)
    if len(plain) > 1:
        plain = plain.removesuffix("/")
    return plain.removeprefix("/v1") if plain.startswith("/v1/") else plain


def _refusal(error: BadRequest, receipt: Receipt) -> web.Response:
    body = errors.error_body(error.message, kind=error.kind, code=error.code, param=error.param)
    headers = {**receipt.headers(), **error.headers, "content-type": JSON}
    return web.Response(status=error.status, body=body, headers=headers)
