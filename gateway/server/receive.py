"""From an HTTP request to its body's bytes: within the limits, or with a clear refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from aiohttp import HttpVersion10, HttpVersion11, web

from gateway.wire.endpoint import JSON
from gateway.wire.errors import BadRequest


async def read_body(
    http: web.BaseRequest, *, media: Collection[str], max_body: int, within: float, grown: Callable[[int], None]
) -> bytes:
    """The whole body, at most `max_body` bytes, at most `within` seconds from now; `grown` is told how much is there."""
    _check_head(http, media, max_body)
    if (expected := http.headers.get("Expect")) and expected.lower() == "100-continue" and http.transport is not None:
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if http.content.is_eof():  # it came with its head
        body = http.content.read_nowait()
        if len(body) > max_body:
            raise too_large(max_body)
        grown(len(body))
        return body
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within):
            async for part in http.content.iter_any():
                size += len(part)
                if size > max_body:
                    raise too_large(max_body)
                grown(size)
                parts.append(part)
    except TimeoutError:
        raise BadRequest("The body did not arrive in time.", status=408, code="request_timeout") from None
    return b"".join(parts)


def _check_head(http: web.BaseRequest, media: Collection[str], max_body: int) -> None:
    """Refuse what is not of these media types, in UTF-8 and plain framing, before reading it."""
    framing = http.headers.getall("Transfer-Encoding", [])
    if http.version not in {HttpVersion10, HttpVersion11} or framing not in ([], ["chunked"]):
        raise BadRequest("The request's framing is not supported.", code="bad_http", headers={"connection": "close"})
    if (said := http.headers.get("Content-Type", JSON)) not in media:  # nearly everybody says it just so
        _check_media(said, media)
    if (coding := http.headers.get("Content-Encoding")) is not None and coding.strip().lower() != "identity":
        raise BadRequest(
            "A compressed body is not accepted; send it as it is.", status=415, code="unsupported_media_type"
        )
    if (length := http.content_length) is not None and length > max_body:
        raise too_large(max_body)


def _check_media(said: str, media: Collection[str]) -> None:
    kind, _, rest = said.partition(";")
    if kind.strip().lower() not in media:
        wanted = " or ".join(f"'content-type: {one}'" for one in sorted(media))
        raise BadRequest(f"Send the body as {wanted}.", status=415, code="unsupported_media_type")
    charset = rest.strip().lower().replace('"', "")
    if kind.strip().lower() == JSON and charset not in {"", "charset=utf-8", "charset=utf8"}:
        raise BadRequest("Only UTF-8 is accepted.", status=415, code="unsupported_media_type")


def too_large(max_body: int) -> BadRequest:
    return BadRequest(f"The body is larger than {max_body} bytes.", status=413, code="request_too_large")
