"""The client on aiohttp's ClientSession, behind the port."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping

import aiohttp
from yarl import URL

from gateway.server.calling import BrokenOff, Late, Request, Unreachable, Unreadable
from gateway.server.trust import verifying

HEAD_LIMIT = 65_536  # bytes of one header line


class StockAnswer:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.media = response.content_type

    def forget_headers(self) -> None:
        """The library keeps them in any case."""

    @property
    def ended(self) -> bool:
        return self._response.content.at_eof()

    async def read(self, until: float) -> bytes:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await self._response.content.readany()
        except TimeoutError:
            raise Late from None
        except (aiohttp.ClientError, ConnectionError):
            raise BrokenOff from None

    def release(self) -> None:
        self._response.release()  # closes it as well, unless it was read to its end

    def close(self) -> None:
        self._response.close()


class StockClient:
    def __init__(self) -> None:
        self._session = open_session()

    async def close(self) -> None:
        await self._session.close()

    async def send(self, request: Request, until: float) -> StockAnswer:
        connect = None if math.isinf(request.connect) else request.connect
        try:
            async with asyncio.timeout(until - time.monotonic()):
                response = await self._session.request(
                    request.method,
                    URL(request.url, encoded=True),  # as it was signed
                    data=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    ssl=verifying() if request.url.startswith("https:") else True,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect),
                )
        except aiohttp.ServerTimeoutError:  # the connection was not made in time
            raise Late(connecting=True) from None
        except TimeoutError:
            raise Late from None
        except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, ConnectionError):
            raise Unreachable from None
        except (aiohttp.ClientError, ValueError):
            raise Unreadable from None
        return StockAnswer(response)


def open_session() -> aiohttp.ClientSession:
    """Goes only where it is sent: no redirects, cookies, proxies or inflating of its own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        max_line_size=HEAD_LIMIT,
        max_field_size=HEAD_LIMIT,
    )
