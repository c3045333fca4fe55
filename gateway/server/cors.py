"""Web pages of other origins: refused by default, let in where OUTRIDER_CORS_ORIGINS names them."""

from __future__ import annotations

from gateway.core.terms import Headers

EXPOSED = "x-request-id, x-outrider-id, x-outrider-decision, x-outrider-policy, x-outrider-checks, retry-after"
PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, accept, openai-beta, openai-organization, "
    "openai-project, idempotency-key, x-client-request-id, traceparent, tracestate, x-stainless-lang, "
    "x-stainless-package-version, x-stainless-os, x-stainless-arch, x-stainless-runtime, "
    "x-stainless-runtime-version, x-stainless-async, x-stainless-retry-count, x-stainless-timeout, "
    "x-stainless-read-timeout, x-stainless-helper-method, x-stainless-poll-helper, x-stainless-raw-response",
    "access-control-max-age": "600",
}


class Cors:
    """Which origins may read answers; `*` stands for every one. Keys are sent in headers, so cookies never count."""

    def __init__(self, origins: str) -> None:
        self._allowed = frozenset(origin.strip() for origin in origins.split(",") if origin.strip())

    def headers(self, client: Headers) -> dict[str, str]:
        """What every answer to this client carries, errors and streams as well; empty: nothing is allowed."""
        origin = client.get("Origin") if self._allowed else None
        if origin is None:
            return {}
        if "*" in self._allowed:
            return {"access-control-allow-origin": "*", "access-control-expose-headers": EXPOSED}
        if origin not in self._allowed:
            return {}
        return {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": EXPOSED,
            "vary": "origin",
        }
