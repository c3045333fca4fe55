"""The walk of one question to its answer: which model it goes to, what watches it, and who carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from gateway.config.model import Fan, House, Route
from gateway.core.exchange import Exchange, Layout
from gateway.core.masking import Masks
from gateway.core.terms import Call, Place, Request, Rewritten
from gateway.policy.model import PolicySet
from gateway.policy.plan import Plan, plan
from gateway.server.afterwards import Afterwards
from gateway.server.alone import Alone
from gateway.server.candidate import Candidate, Part
from gateway.server.carrying import Carrier
from gateway.server.consult import Counsel
from gateway.server.fan import FanOut, Pace
from gateway.server.race import Race
from gateway.server.record import Receipt
from gateway.server.release import Release
from gateway.server.upstream import Upstream
from gateway.settings import Settings
from gateway.wire.endpoint import Endpoint
from gateway.wire.endpoints import CHAT, MODELS
from gateway.wire.errors import BadRequest
from gateway.wire.models import Listed

MARGIN = 30.0  # seconds that checks may add to the upstream's own total


class Answering:
    """What every question needs on its way: the house, its upstreams, and who is asked for a verdict."""

    def __init__(
        self,
        settings: Settings,
        house: House,
        upstreams: Mapping[str, Upstream],
        *,
        afterwards: Afterwards,
        counsel: Counsel,
        mask_key: bytes,
    ) -> None:
        self._settings = settings
        self._house = house
        self._keys = {key.name: key for key in house.keys}
        self._upstreams = upstreams
        self._afterwards = afterwards
        self._counsel = counsel
        self._mask_key = mask_key
        self._paces: dict[str, Pace] = {}

    def answer(
        self, http: web.BaseRequest, endpoint: Endpoint, request: Request, policies: PolicySet, receipt: Receipt
    ) -> Awaitable[web.StreamResponse]:
        """Ask the model that the request names, or the several behind a virtual one. Raises BadRequest."""
        if not self.may(receipt)(request.model):
            raise _no_model(request.model)
        if (fan := self._house.fans.get(request.model)) is not None:
            return self._fan_out(http, endpoint, request, fan, policies=policies, receipt=receipt)
        route = self._house.route(request.model)
        if route is None:
            raise _no_model(request.model)
        names = (request.model, route.model)
        planned = plan(policies, models=names, endpoint=request.endpoint, key=receipt.key).bound(request)
        return self._exchange(http, endpoint, request, route=route, planned=planned, receipt=receipt)

    def listing(
        self, http: web.BaseRequest, endpoint: Listed, upstream: str, policies: PolicySet, receipt: Receipt
    ) -> Awaitable[web.StreamResponse]:
        """The models of an upstream, read like any other answer."""
        planned = plan(policies, models=("",), endpoint=MODELS.name, key=receipt.key)
        route = Route(upstream, "")
        return self._exchange(http, endpoint, endpoint.ask(), route=route, planned=planned, receipt=receipt)

    def may(self, receipt: Receipt) -> Callable[[str], bool]:
        """Which models the client's key is for; without keys everybody may ask every model."""
        return _every if receipt.key is None else self._keys[receipt.key].may_ask

    def _fan_out(
        self,
        http: web.BaseRequest,
        endpoint: Endpoint,
        request: Request,
        fan: Fan,
        *,
        policies: PolicySet,
        receipt: Receipt,
    ) -> Awaitable[web.StreamResponse]:
        """A virtual model: every policy that binds it or one of the models that it asks binds the request."""
        _refuse_for_fan(endpoint, request)
        routes = [
            (model, route.model) for model in fan.strategy.models().values() if (route := self._house.route(model))
        ]
        names = dict.fromkeys([request.model, *(name for pair in routes for name in pair)])
        planned = plan(policies, models=tuple(names), endpoint=request.endpoint, key=receipt.key).bound(request)
        longest = max((upstream.timeout.total for upstream in self._house.upstreams.values()), default=0.0)

        async def race(exchange: Exchange, upstream: Upstream, part: Part, candidate: Candidate) -> None:
            carry = self._carrier(http, planned, alone=planned.local)
            await carry(exchange, upstream=upstream, release=candidate, receipt=part, within=None).run()

        upstream = FanOut(
            request.model,
            fan,
            self._house,
            race=race,
            upstreams=self._upstreams,
            planned=planned,
            receipt=receipt,
            pace=self._paces.setdefault(request.model, Pace()),
            max_held=self._settings.max_held,
        )
        return self._exchange(
            http,
            endpoint,
            request,
            route=Route("fan-out", request.model),
            planned=planned,
            receipt=receipt,
            upstream=upstream,
            layout=planned.layout_of_contest(puts_together=fan.strategy.puts_together, stream=request.stream),
            within=fan.strategy.deadline + longest + MARGIN,
            comment_after=fan.strategy.keepalive if request.stream else 0.0,
        )

    def _exchange(
        self,
        http: web.BaseRequest,
        endpoint: Endpoint,
        request: Request,
        *,
        route: Route,
        planned: Plan,
        receipt: Receipt,
        upstream: Upstream | None = None,
        layout: Layout | None = None,
        within: float | None = None,
        comment_after: float = 0.0,
    ) -> Awaitable[web.StreamResponse]:
        receipt.policies = planned.policies
        call = _call(endpoint, request, route, planned)
        masks = Masks(self._mask_key, *_scope(http, request)) if planned.rewrites else None
        if receipt.texts is not None:
            receipt.texts.masks = masks

        layout = planned.layouts[request.stream] if layout is None else layout
        release = Release(http, endpoint, request, planned, receipt, compress_from=self._settings.compress_from)
        carry = self._carrier(http, planned, alone=planned.local and (upstream is None or not request.stream))
        carrying = carry(
            Exchange(call, layout, request.passages, self._settings.max_held, planned.follows, masks=masks),
            upstream=self._upstreams[route.upstream] if upstream is None else upstream,
            release=release,
            receipt=receipt,
            within=self._house.upstreams[route.upstream].timeout.total + MARGIN if within is None else within,
            comment_after=comment_after,
            keepalive=self._settings.keepalive,
            reword=_Rewording(endpoint, request, route, planned, receipt) if planned.rewrites else None,
        )
        return _answered(carrying, release)

    def _carrier(self, http: web.BaseRequest, planned: Plan, *, alone: bool) -> Callable[..., Carrier]:
        """Who carries an exchange of this plan: whatever is the same for a request's own and for its candidates'."""
        return partial(
            Alone if alone else Race,
            checks=planned.checks,
            headers=http.headers,
            counsel=self._counsel,
            afterwards=self._afterwards,
            sieve=planned.sieve,
        )


@dataclass(slots=True)
class _Rewording:
    """How a question is said otherwise."""

    endpoint: Endpoint
    request: Request
    route: Route
    planned: Plan
    receipt: Receipt

    def __call__(self, texts: Mapping[tuple[str, str], str]) -> Rewritten:
        asked = self.endpoint.rewritten(self.request, texts)
        self.receipt.changed = True
        if self.receipt.texts is not None:
            self.receipt.texts.rewritten(asked.passages)
        return Rewritten(_call(self.endpoint, asked, self.route, self.planned), asked.passages)


async def _answered(carrying: Carrier, release: Release) -> web.StreamResponse:
    await carrying.run()
    if release.response is None:  # the client left before anything could be said
        raise asyncio.CancelledError
    return release.response


def _every(_model: str) -> bool:
    return True


def _no_model(model: str) -> BadRequest:
    """The same words for a model that is not there and one that the client's key is not for."""
    words = f"The model {model[:100]!r} does not exist here." if model else "The request names no 'model'."
    return BadRequest(words, status=404, code="model_not_found", param="model")


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


def _scope(http: web.BaseRequest, request: Request) -> tuple[str, str]:
    """What a conversation has in common over its turns and with no other: who asks, and how it began."""
    conversation = request.document.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    if not isinstance(conversation, str):
        conversation = next((p.text for p in request.passages if p.place is Place.USER), "")
    return http.headers.get("Authorization", ""), conversation


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
