"""The admin listener: health and metrics, on an address of its own, never on the data port."""

from __future__ import annotations

import asyncio
import hmac

from aiohttp import web
from pydantic import SecretStr

from gateway.server.app import Gateway
from gateway.server.heap import give_back
from gateway.server.siblings import Siblings
from gateway.wire import errors

EVERY = 0.5  # seconds between two looks at how late the loop is
LULL = 10.0  # seconds without a request after which memory is given back
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """Answers operators; whoever is not on this machine needs the token."""

    def __init__(self, gateway: Gateway, token: SecretStr | None, siblings: Siblings | None = None) -> None:
        """With `siblings` it speaks for all of them."""
        self._gateway = gateway
        self._siblings = siblings
        self._token = token.get_secret_value().encode() if token else None

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.path == "/readyz" and self._siblings is not None and http.method in {"GET", "HEAD"}:
            status, body = (await self._siblings.whole()).health()
            return web.Response(status=status, body=body, content_type="application/json")
        if http.path in {"/healthz", "/readyz"}:
            return self._gateway.health(http)
        if not self._may(http):
            return _refused(401, "This listener asks for its token as a bearer.", "invalid_api_key")
        if http.path != "/metrics":
            return _refused(404, "This path is not served.", "unknown_url")
        if http.method not in {"GET", "HEAD"}:
            return _refused(405, "This endpoint takes GET.", "method_not_allowed")
        return web.Response(body=await self._metrics(), headers={"content-type": TEXT})

    async def _metrics(self) -> bytes:
        if self._siblings is not None:
            return (await self._siblings.whole()).metrics()
        self._gateway.metrics.in_flight.set(self._gateway.in_flight)
        return self._gateway.metrics.text()

    def _may(self, http: web.BaseRequest) -> bool:
        if self._token is None:
            return True
        kind, _, said = http.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(said.strip().encode("utf-8", "replace"), self._token)


def _refused(status: int, message: str, code: str) -> web.Response:
    body = errors.error_body(message, kind="invalid_request_error", code=code, param=None)
    return web.Response(status=status, body=body, content_type="application/json")


async def watch_loop(gateway: Gateway) -> None:
    """How late a callback comes that should come now: what anything on the loop costs everybody else.

    While nobody asks, nothing is looked at: a gateway that idles sleeps.
    """
    loop = asyncio.get_running_loop()
    while True:
        if not gateway.stirred.is_set():
            await _stirred(gateway)
        if not gateway.in_flight:
            gateway.stirred.clear()
        due = loop.time() + EVERY
        await asyncio.sleep(EVERY)
        gateway.metrics.lag.observe(max(0.0, loop.time() - due))


async def _stirred(gateway: Gateway) -> None:
    """Once somebody asks again."""
    try:
        async with asyncio.timeout(LULL):
            await gateway.stirred.wait()
    except TimeoutError:
        give_back()
        await gateway.stirred.wait()
