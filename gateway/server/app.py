"""The data listener: which path is served by what, and the walk of one chat request through it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from gateway.checks.base import CheckFault
from gateway.config.model import House, Route
from gateway.core.exchange import Exchange
from gateway.core.terms import Call, Decision, Document, Request
from gateway.policy.load import PolicySet
from gateway.policy.plan import Plan, plan
from gateway.server.afterwards import Afterwards
from gateway.server.race import Race
from gateway.server.receive import read_body
from gateway.server.record import Receipt, write_receipt
from gateway.server.release import JSON, Release, cut
from gateway.server.upstream import Upstream, UpstreamError
from gateway.settings import Settings
from gateway.wire import canonical, chat, errors
from gateway.wire.errors import BadRequest

log = structlog.get_logger()

Handler = Callable[[web.BaseRequest, Receipt], Awaitable[web.StreamResponse]]
CHAT = ("/v1/chat/completions", "/chat/completions")
MODELS = ("/v1/models", "/models")
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
    draining: bool = False
    in_flight: int = 0

    def __post_init__(self) -> None:
        routes: dict[tuple[str, str], Handler] = {}
        for path in CHAT:
            routes["POST", path] = self._chat
        for path in MODELS:
            routes["GET", path] = self._models
        self._routes = routes
        self._paths = {path for _, path in routes}

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request. Whatever happens, the client gets OpenAI's shapes and a request id."""
        if http.path in {"/healthz", "/readyz"}:
            return self.health(http)
        receipt = Receipt(keep=self.keep)
        self.in_flight += 1
        try:
            return await self._serve(http, receipt)
        except BadRequest as error:
            receipt.decision, receipt.status, receipt.why = "refused", error.status, error.code or "bad_request"
            return _refusal(error, receipt)
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
            return _refusal(BadRequest("The gateway failed.", status=500, kind="server_error"), receipt)
        finally:
            self.in_flight -= 1
            receipt.settle()

    async def _serve(self, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        if self.draining:
            raise BadRequest(
                "The gateway is shutting down.",
                status=503,
                code="shutting_down",
                kind="server_error",
                headers={"retry-after": "1", "connection": "close"},
            )
        path = http.rel_url.raw_path
        handler = self._routes.get((http.method, path))
        if handler is None:
            raise self._unserved(http.method, path)
        return await handler(http, receipt)

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

    def health(self, http: web.BaseRequest) -> web.Response:
        if http.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"allow": "GET, HEAD"})
        if http.path == "/readyz" and self.draining:
            return web.Response(status=503, body=b'{"status":"draining"}', content_type=JSON)
        return web.Response(body=b'{"status":"ok"}', content_type=JSON)

    async def _models(self, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        receipt.endpoint, receipt.decision, receipt.status = "models", "released", 200
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "outrider"} for name in self.house.models]
        body = canonical.dump({"object": "list", "data": data})
        return web.Response(body=body, headers={**receipt.headers(), "content-type": JSON})

    async def _chat(self, http: web.BaseRequest, receipt: Receipt) -> web.StreamResponse:
        body = await read_body(http, max_body=self.settings.max_body, within=self.settings.body_timeout)
        request = await _read(body)
        receipt.endpoint, receipt.model, receipt.stream = request.endpoint, request.model, request.stream
        route = self._route(request.model)
        planned = plan(self.policies, models=(request.model, route.model), endpoint=request.endpoint)
        receipt.policies = planned.policies
        return await self._exchange(http, request, route, planned, receipt)

    async def _exchange(
        self, http: web.BaseRequest, request: Request, route: Route, planned: Plan, receipt: Receipt
    ) -> web.StreamResponse:
        call = Call("only", route.upstream, route.model, chat.forward(request, route.model), request.stream)
        release = Release(http, request, planned, receipt)
        race = Race(
            Exchange(call, planned.watches, request.passages, self.settings.max_held),
            planned.checks,
            self.upstreams[route.upstream],
            headers=http.headers,
            ask=self.ask,
            release=release,
            receipt=receipt,
            afterwards=self.afterwards,
            within=self.house.upstreams[route.upstream].timeout.total + MARGIN,
        )
        await race.run()
        if release.response is None:  # the client left before anything could be said
            raise asyncio.CancelledError
        return release.response

    def _route(self, model: str) -> Route:
        route = self.house.route(model)
        if route is None:
            raise BadRequest(
                f"The model {model[:100]!r} does not exist here.",
                status=404,
                code="model_not_found",
                param="model",
            )
        return route

    async def ask(self, endpoint: str, model: str, body: Document) -> Document:
        """The port through which checks ask a model of the house."""
        route = self.house.route(model)
        if route is None:
            raise CheckFault("its model is not known")
        upstream = self.upstreams[route.upstream]
        try:
            return await upstream.ask(endpoint, route.model, body)
        except UpstreamError as error:
            raise CheckFault(f"its model failed: {error.fault.code}") from error


async def _read(body: bytes) -> Request:
    """Read a body; a large one on a thread, so that nobody else waits for it."""
    if len(body) > INLINE:
        return await asyncio.to_thread(chat.read_request, body)
    return chat.read_request(body)


def _refusal(error: BadRequest, receipt: Receipt) -> web.Response:
    body = errors.error_body(error.message, kind=error.kind, code=error.code, param=error.param)
    headers = {**receipt.headers(), **error.headers, "content-type": JSON}
    return web.Response(status=error.status, body=body, headers=headers)
