"""The data listener: which path is served by what, and the walk of one request through it."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any

import structlog
from aiohttp import web

from gateway.config.model import Fan, House, Route
from gateway.core.admission import Admission
from gateway.core.ceiling import Ceiling
from gateway.core.exchange import NO_ROOM, Exchange
from gateway.core.masking import Masks
from gateway.core.terms import Call, Decision, Document, Place, Request, Rewritten, Side, Watch
from gateway.policy.model import PolicySet
from gateway.policy.plan import Plan, plan
from gateway.server.admit import Doors
from gateway.server.afterwards import Afterwards
from gateway.server.alone import Alone
from gateway.server.audit.keeper import Keeper
from gateway.server.candidate import Candidate, Part
from gateway.server.consult import Counsel
from gateway.server.cors import PREFLIGHT, Cors
from gateway.server.fan import FanOut, Pace
from gateway.server.metrics import Metrics
from gateway.server.moderate import moderate
from gateway.server.plugged import detect, screen
from gateway.server.race import Race
from gateway.server.receive import read_body
from gateway.server.record import Receipt, write_receipt
from gateway.server.release import NOT_KEPT, Release, cut
from gateway.server.spending import dollars
from gateway.server.targets import Targets
from gateway.server.texts import Texts
from gateway.server.upstream import Upstream
from gateway.settings import Settings
from gateway.wire import canonical, errors, models
from gateway.wire.endpoint import JSON, Endpoint
from gateway.wire.endpoints import CHAT, ENDPOINTS, MODELS, MODERATIONS
from gateway.wire.errors import BadRequest
from gateway.wire.guardrails import CONTENTS, WEBHOOK, contents, contents_answer, webhook
from gateway.wire.moderations import OWN

log = structlog.get_logger()

Handler = Callable[[web.BaseRequest, Receipt], Awaitable[web.StreamResponse]]
_SLASHES = re.compile(r"/{2,}")
INLINE = 65_536  # bytes of a body that is read on the event loop
MARGIN = 30.0  # seconds that checks may add to the upstream's own total


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
    refused: tuple[str, ...] = ()  # why the newest policies did not take effect
    keeper: Keeper | None = None  # gets receipts into their store

    def __post_init__(self) -> None:
        routes: dict[tuple[str, str], Handler] = {}
        for endpoint in ENDPOINTS.values():
            routes[endpoint.method, endpoint.path] = partial(self._answer, endpoint)
        routes["GET", MODELS.path] = self._models
        routes["POST", WEBHOOK] = self._webhook
        routes["POST", CONTENTS] = self._contents
        self._routes = routes
        self._paces: dict[str, Pace] = {}
        self._paths = {path for _, path in routes}
        secret = self.settings.mask_key
        self._mask_key = secret.get_secret_value().encode() if secret else secrets.token_bytes(32)
        audit_key = self.settings.audit_key
        self._text = self.settings.audit_text
        self._audit_key = audit_key.get_secret_value().encode() if audit_key else b""
        self._targets = Targets(self.house, self.upstreams)
        self.metrics.watch_breakers(self._targets.states)
        self._counsel = Counsel(self._targets.until)
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
        receipt = self._receipt(http)
        self.in_flight += 1
        try:
            return await self._end(http, await self._serve(http, receipt), receipt)
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

    def _receipt(self, http: web.BaseRequest) -> Receipt:
        strict = self.keeper is not None and self.keeper.strict
        return Receipt(
            keep=self._kept,
            seal=self._seal if strict else None,
            cors=self._cors.headers(http.headers),
            held=self.ceiling.account(),
            texts=Texts(self._text, self._audit_key) if self._text != "none" and self.keeper is not None else None,
        )

    async def _end(self, http: web.BaseRequest, response: web.StreamResponse, receipt: Receipt) -> web.StreamResponse:
        """An answer that is not under way yet waits for its receipt, where that was promised."""
        if response.prepared or await receipt.sealed():
            return response
        receipt.decision, receipt.status, receipt.why = "failed", NOT_KEPT.status, NOT_KEPT.code
        body = canonical.dump(errors.fault_object(NOT_KEPT))
        headers = {**receipt.headers(), **NOT_KEPT.headers, "content-type": JSON}
        return web.Response(status=NOT_KEPT.status, body=body, headers=headers)

    async def _seal(self, receipt: Receipt) -> bool:
        assert self.keeper is not None
        self._price(receipt)
        receipt.told = receipt.gist
        return await self.keeper.kept(receipt.kept_lines(receipt.lines()))

    def _kept(self, receipt: Receipt) -> None:
        if receipt.why == NO_ROOM.code and receipt.decision == Decision.FAILED:
            self.metrics.shed.labels("answer").inc()
        self._price(receipt)
        self.metrics.count(receipt)
        self.keep(receipt)
        if self.keeper is not None and receipt.told != receipt.gist:
            self.keeper.keep(receipt.kept_lines(receipt.lines()))

    def _price(self, receipt: Receipt) -> None:
        for call in receipt.calls:
            call.usd = dollars(call.usage, self.house.price(call.model)) if self.house.prices else None

    def shed(self) -> bytes | None:
        """The whole answer to a request that nobody needs to read, with its receipt; None: it has to be read.

        What is sent away without its turn in the parser costs those little that are let in.
        """
        if not self._doors.closed or self.draining or (self.keeper is not None and self.keeper.strict):
            return None
        error = self._doors.refusal(self._doors.closed)
        receipt = Receipt(keep=self._kept)
        receipt.decision, receipt.status, receipt.why = "refused", error.status, error.code or ""
        body = errors.error_body(error.message, kind=error.kind, code=error.code)
        headers = {**receipt.headers(), **error.headers, "content-type": JSON, "content-length": len(body)}
        receipt.settle()
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n".encode() + body

    async def _serve(self, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        if self.draining:
            raise BadRequest(
                "The gateway is shutting down.",
                status=503,
                code="shutting_down",
                kind="server_error",
                headers={"retry-after": "1", "connection": "close"},
            )
        if self.keeper is not None and self.keeper.refuses:
            raise BadRequest(
                NOT_KEPT.message, status=503, code=NOT_KEPT.code, kind=NOT_KEPT.kind, headers=NOT_KEPT.headers
            )
        path = _plain_path(http.rel_url.raw_path)
        if http.method == "OPTIONS" and receipt.cors:
            receipt.decision, receipt.status = "released", 204
            return web.Response(status=204, headers={**receipt.headers(), **PREFLIGHT})
        if self.house.keys:
            self._admit(http, receipt)
        handler = self._routes.get((http.method, path))
        if handler is None and http.method == "GET" and path.startswith(f"{MODELS.path}/"):
            handler = self._models
        if handler is None:
            raise self._unserved(http.method, path)
        return await handler(http, receipt)

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
        return not self.draining and (self.keeper is None or not self.keeper.refuses)

    @property
    def mistakes(self) -> list[str]:
        """Why the newest policies did not take effect, as everybody may read it."""
        return [_without_folders(mistake) for mistake in self.refused]

    def health(self, http: web.BaseRequest) -> web.Response:
        if http.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"allow": "GET, HEAD"})
        if http.path == "/readyz" and self.draining:
            return web.Response(status=503, body=b'{"status":"draining"}', content_type=JSON)
        if http.path == "/readyz" and self.keeper is not None and self.keeper.refuses:
            return web.Response(status=503, body=b'{"status":"receipts cannot be kept"}', content_type=JSON)
        if http.path == "/readyz":
            told: Document = {"status": "ok", "policies": [policy.version for policy in self.policies.policies]}
            if self.refused:
                told["refused"] = self.mistakes
            return web.Response(body=canonical.dump(told), content_type=JSON)
        return web.Response(body=b'{"status":"ok"}', content_type=JSON)

    async def _answer(self, endpoint: Endpoint, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        body = await self._body(http, endpoint.media, receipt)
        request = await _read(endpoint, body, http.headers.get("Content-Type", JSON))
        receipt.endpoint, receipt.model, receipt.stream = request.endpoint, request.model, request.stream
        if receipt.texts is not None:
            receipt.texts.asked(request)
        receipt.unread += [p.path for p in request.passages if p.place is Place.UNREAD_INPUT]
        if not self._may(receipt)(request.model):
            raise _no_model(request.model)
        if endpoint is MODERATIONS and request.model.startswith(OWN):
            return await self._moderate(request, receipt)
        if (fan := self.house.fans.get(request.model)) is not None:
            return await self._fan_out(http, endpoint, request, fan, receipt)
        route = self._route(request.model)
        names = (request.model, route.model)
        planned = plan(self.policies, models=names, endpoint=request.endpoint, key=receipt.key).bound(request)
        receipt.policies = planned.policies
        return await self._exchange(http, endpoint, request, route=route, planned=planned, receipt=receipt)

    async def _fan_out(
        self, http: web.BaseRequest, endpoint: Endpoint, request: Request, fan: Fan, receipt: Receipt
    ) -> web.StreamResponse:
        """A virtual model: every policy that binds it or one of the models that it asks binds the request."""
        _refuse_for_fan(endpoint, request)
        routes = [
            (model, route.model) for model in fan.strategy.models().values() if (route := self.house.route(model))
        ]
        names = dict.fromkeys([request.model, *(name for pair in routes for name in pair)])
        planned = plan(self.policies, models=tuple(names), endpoint=request.endpoint, key=receipt.key).bound(request)
        receipt.policies = planned.policies
        longest = max((upstream.timeout.total for upstream in self.house.upstreams.values()), default=0.0)

        async def race(exchange: Exchange, upstream: Upstream, part: Part, candidate: Candidate) -> None:
            await (Alone if planned.local else Race)(
                exchange,
                planned.checks,
                upstream,
                headers=http.headers,
                counsel=self._counsel,
                release=candidate,
                receipt=part,
                afterwards=self.afterwards,
                within=longest + MARGIN,
            ).run()

        upstream = FanOut(
            request.model,
            fan,
            self.house,
            race=race,
            upstreams=self.upstreams,
            planned=planned,
            receipt=receipt,
            pace=self._paces.setdefault(request.model, Pace()),
            max_held=self.settings.max_held,
        )
        return await self._exchange(
            http,
            endpoint,
            request,
            route=Route("fan-out", request.model),
            planned=planned,
            receipt=receipt,
            upstream=upstream,
            watches=[w for w in planned.watches if w.side is Side.INPUT or w.local or fan.strategy.puts_together],
            within=fan.strategy.deadline + longest + MARGIN,
            comment_after=fan.strategy.keepalive if request.stream else 0.0,
        )

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
        return await asyncio.to_thread(canonical.parse, body) if len(body) > INLINE else canonical.parse(body)

    async def _models(self, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        """The house's names and the default upstream's models; a path below asks for one of them."""
        path = _plain_path(http.rel_url.raw_path)
        name = models.wanted(path) if path != MODELS.path else None
        receipt.endpoint, receipt.model = MODELS.name, name or ""
        may = self._may(receipt)
        endpoint = models.Listed(self.house.names, name, may)
        upstream = self.house.default_upstream
        if upstream is None or name in self.house.names:
            receipt.decision, receipt.status = "released", 200
            body = canonical.dump(endpoint.select(None))
            return web.Response(body=body, headers={**receipt.headers(), "content-type": JSON})
        self._doors.look()
        await self._doors.enter(receipt)
        planned = plan(self.policies, models=("",), endpoint=MODELS.name, key=receipt.key)
        receipt.policies = planned.policies
        route = Route(upstream, "")
        return await self._exchange(http, endpoint, endpoint.ask(), route=route, planned=planned, receipt=receipt)

    async def _exchange(
        self,
        http: web.BaseRequest,
        endpoint: Endpoint,
        request: Request,
        *,
        route: Route,
        planned: Plan,
        receipt: Receipt,
        upstream: Upstream | None = None,
        watches: Sequence[Watch] | None = None,
        within: float | None = None,
        comment_after: float = 0.0,
    ) -> web.StreamResponse:
        call = _call(endpoint, request, route, planned)
        masks = Masks(self._mask_key, _scope(http, request)) if planned.rewrites else None
        if receipt.texts is not None:
            receipt.texts.masks = masks

        def reword(texts: Mapping[tuple[str, str], str]) -> Rewritten:
            asked = endpoint.rewritten(request, texts)
            receipt.changed = True
            if receipt.texts is not None:
                receipt.texts.rewritten(asked.passages)
            return Rewritten(_call(endpoint, asked, route, planned), asked.passages)

        layout = planned.layouts[request.stream] if watches is None else watches
        carrier = Alone if planned.local and upstream is None else Race
        upstream = self.upstreams[route.upstream] if upstream is None else upstream
        within = self.house.upstreams[route.upstream].timeout.total + MARGIN if within is None else within
        release = Release(http, endpoint, request, planned, receipt, compress_from=self.settings.compress_from)
        carrying = carrier(
            Exchange(call, layout, request.passages, self.settings.max_held, planned.follows, masks=masks),
            planned.checks,
            upstream,
            headers=http.headers,
            counsel=self._counsel,
            release=release,
            receipt=receipt,
            afterwards=self.afterwards,
            within=within,
            comment_after=comment_after,
            keepalive=self.settings.keepalive,
            reword=reword,
        )
        await carrying.run()
        if release.response is None:  # the client left before anything could be said
            raise asyncio.CancelledError
        return release.response

    def _may(self, receipt: Receipt) -> Callable[[str], bool]:
        """Whether the client's key is for a model; without keys everybody may ask every model."""
        key = next((key for key in self.house.keys if key.name == receipt.key), None)
        return key.may_ask if key is not None else lambda _model: True

    def _route(self, model: str) -> Route:
        route = self.house.route(model)
        if route is None:
            raise _no_model(model)
        return route


def _no_model(model: str) -> BadRequest:
    """The same words for a model that is not there and one that the client's key is not for."""
    words = f"The model {model[:100]!r} does not exist here." if model else "The request names no 'model'."
    return BadRequest(words, status=404, code="model_not_found", param="model")


def _json(document: Any, receipt: Receipt, status: int = 200) -> web.Response:
    receipt.status = status
    headers = {**receipt.headers(), "content-type": JSON}
    return web.Response(status=status, body=canonical.dump(document), headers=headers)


def _call(endpoint: Endpoint, request: Request, route: Route, planned: Plan) -> Call:
    document = endpoint.forward(request, route.model)
    return Call(
        "only",
        route.upstream,
        route.model,
        document,
        request.stream,
        endpoint.path,
        endpoint.flows,
        rewritable=planned.rewrites,
    )


def _scope(http: web.BaseRequest, request: Request) -> str:
    """What a conversation has in common over its turns and with no other: who asks, and how it began."""
    conversation = request.document.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    if not isinstance(conversation, str):
        conversation = next((p.text for p in request.passages if p.place is Place.USER), "")
    return f"{http.headers.get('Authorization', '')}\0{conversation}"


def _without_folders(mistake: str) -> str:
    """A mistake as everybody may read it: the file's name, not where it lies."""
    file, colon, rest = mistake.partition(":")
    return f"{PurePath(file).name}{colon}{rest}"


def _refuse_for_fan(endpoint: Endpoint, request: Request) -> None:
    """A virtual model answers chats, one answer each."""
    if endpoint is not CHAT:
        raise BadRequest(
            f"The model {request.model[:100]!r} is several models; ask it through chat completions.",
            param="model",
            code="unsupported_model",
        )
    if request.document.get("n") not in (None, 1):
        raise BadRequest("'n' cannot be more than 1 for a model that is several.", param="n", code="unsupported_value")


async def _read(endpoint: Endpoint, body: bytes, content_type: str) -> Request:
    """Read a body; a large one on a thread, so that nobody else waits for it."""
    if len(body) > INLINE:
        return await asyncio.to_thread(endpoint.read, body, content_type)
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
