"""What a gateway on aiohttp costs at least: a plain pass-through, and one with a guard beside the answer or a vote.

    python benchmarks/compare/floor.py --port 8101 --upstream http://127.0.0.1:9100 [--guard guard-d50 | --votes 5]

No check of its own, no policies, no faults: a yardstick, nothing that anybody should serve with.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter

import aiohttp
import orjson
import uvloop
from aiohttp import web

HOP = {"content-length", "transfer-encoding", "connection", "keep-alive", "host", "content-encoding"}


class Proxy:
    """Forty plain lines, as one would write them."""

    def __init__(self, upstream: str, guard: str | None, votes: int) -> None:
        self._url = upstream + "/v1/chat/completions"
        self._guard = guard
        self._votes = votes
        self._session: aiohttp.ClientSession

    async def open(self, _app: web.Application) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        if self._votes > 1:
            return await self._vote(body, headers)
        if self._guard is None:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                return await self._passed(request, response)
        asked = asyncio.create_task(self._open(body, headers))
        if not await self._allowed(body):
            asked.cancel()
            return web.json_response({"error": {"message": "blocked", "code": "content_filter"}}, status=400)
        async with await asked as response:
            return await self._passed(request, response)

    async def _open(self, body: bytes, headers: dict[str, str]) -> aiohttp.ClientResponse:
        return await self._session.post(self._url, data=body, headers=headers)

    async def _allowed(self, body: bytes) -> bool:
        question = orjson.dumps({"model": self._guard, "messages": orjson.loads(body)["messages"]})
        headers = {"content-type": "application/json"}
        async with self._session.post(self._url, data=question, headers=headers) as response:
            said = orjson.loads(await response.read())
        return not said["choices"][0]["message"]["content"].startswith("unsafe")

    async def _vote(self, body: bytes, headers: dict[str, str]) -> web.Response:
        async def one() -> bytes:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                return await response.read()

        answers = await asyncio.gather(*(one() for _ in range(self._votes)))
        ballots = [orjson.loads(answer)["choices"][0]["message"]["content"] for answer in answers]
        winner = Counter(ballots).most_common(1)[0][0]
        return web.Response(body=answers[ballots.index(winner)], content_type="application/json")

    async def _passed(self, request: web.Request, response: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {k: v for k, v in response.headers.items() if k.lower() not in HOP}
        if response.content_type != "text/event-stream":
            return web.Response(body=await response.read(), status=response.status, headers=kept)
        out = web.StreamResponse(status=response.status, headers=kept)
        await out.prepare(request)
        async for data in response.content.iter_any():
            await out.write(data)
        await out.write_eof()
        return out


async def healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--guard")
    parser.add_argument("--votes", type=int, default=1)
    args = parser.parse_args()
    uvloop.install()
    proxy = Proxy(args.upstream, args.guard, args.votes)
    app = web.Application(client_max_size=64 * 2**20)
    app.on_startup.append(proxy.open)
    app.router.add_get("/healthz", healthy)
    app.router.add_post("/v1/chat/completions", proxy.answer)
    web.run_app(app, host="127.0.0.1", port=args.port, access_log=None, print=None)
