"""Outrider's data plane by itself: its listener, its client for upstreams and its way to write, and nothing that decides.

    python benchmarks/compare/plane.py --port 8101 --upstream http://127.0.0.1:9100 [--reads]

What it costs beside the plain proxy is what moving bytes costs; what Outrider costs beside it is what reading, checking,
holding back and telling of it cost. With `--reads` every string of a question and of a plain answer is read, and what is
read goes on in its canonical form. Nobody should serve with it: it lets everything through.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import time

import uvloop
from aiohttp import web

from gateway.server.calling import Answer, Request
from gateway.server.heap import settle
from gateway.server.lean import LeanClient
from gateway.server.listen import Listener
from gateway.server.receive import read_body
from gateway.server.whole import answered, begin, go_on, say
from gateway.wire import canonical
from gateway.wire.endpoint import JSON
from gateway.wire.endpoints import CHAT

MOST = 64 * 2**20  # bytes of a body
WITHIN = 60.0  # seconds for a body and for an answer
HOP = {"content-length", "transfer-encoding", "connection", "keep-alive", "host", "content-encoding"}


class Plane:
    """From a request's bytes to the upstream and back."""

    def __init__(self, upstream: str, *, reads: bool) -> None:
        self._url = upstream + "/v1/chat/completions"
        self._client = LeanClient()
        self._reads = reads

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.method == "GET":
            return web.Response(text="ok")
        body = await read_body(http, media={JSON}, max_body=MOST, within=WITHIN, grown=lambda _size: None)
        if self._reads:
            body = CHAT.encode(CHAT.forward(CHAT.read(body), ""))[1]
        headers = {name: value for name, value in http.headers.items() if name.lower() not in HOP}
        until = time.monotonic() + WITHIN
        answer = await self._client.send(Request("POST", self._url, headers, body, math.inf), until)
        try:
            response = await self._passed(http, answer, until)
            answer.release()
        finally:
            answer.close()
        return response

    async def _passed(self, http: web.BaseRequest, answer: Answer, until: float) -> web.StreamResponse:
        kept = {name: value for name, value in answer.headers.items() if name not in HOP}
        done = answered(http)
        assert done is not None  # the load speaks HTTP/1.1
        if answer.media == "text/event-stream":
            await begin(http, kept)
            begun = False
            while data := await answer.read(until):
                if not (begun and go_on(http, data)):
                    await http.writer.write(data)
                    begun = True
            await http.writer.write_eof()
            return done
        parts = []
        while not answer.ended and (part := await answer.read(until)):
            parts.append(part)
        whole = b"".join(parts)
        if self._reads:
            whole = canonical.dump(CHAT.reader({}, stream=False).delta(canonical.parse_answer(whole)).frame)
        say(http, answer.status, kept, whole)
        return done


async def serve(port: int, upstream: str, *, reads: bool) -> None:
    runner = web.ServerRunner(Listener(Plane(upstream, reads=reads).handle, head_timeout=WITHIN, most=10_000))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2048).start()
    settle()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--reads", action="store_true")
    args = parser.parse_args()
    uvloop.run(serve(args.port, args.upstream, reads=args.reads))
