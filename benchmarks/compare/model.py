"""The upstream of the comparison: answers made beforehand, written at the planned moment, as fast as one core can.

    python benchmarks/compare/model.py --port 9100

How it behaves is in the model's name, words joined by `-`:

    plain-d200-b700           a whole answer after 200 ms, with 700 bytes of content
    plain-t200-i10-n100       as a stream: the first chunk after 200 ms, then one each 10 ms, 100 in all
    guard-d50                 `safe`, or `unsafe` where the question holds UNSAFE, after 50 ms
    vote-d50-k2               whole answers that differ in turn, of two kinds

`GET /stats` tells for each model how many calls came, were answered, and were hung up on.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import defaultdict
from functools import lru_cache
from typing import Any

import httptools
import orjson
import uvloop

MARKER = b"UNSAFE"
WORDS = "The quick brown fox jumps over a lazy dog and goes on running. "
_MODEL = re.compile(rb'"model":\s*"([^"]*)"')
_STREAM = re.compile(rb'"stream":\s*true')
STATS: defaultdict[str, dict[str, int]] = defaultdict(lambda: {"came": 0, "answered": 0, "hung_up": 0})
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def answer(body: Any) -> bytes:
    data = orjson.dumps(body)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


def event(data: bytes) -> bytes:
    return b"%x\r\ndata: %s\n\n\r\n" % (len(data) + 8, data)


class Spec:
    """What one model name means."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind, *words = name.split("-")
        told = {word[0]: int(word[1:]) for word in words if word[1:].isdigit()}
        self.chunks = max(1, told.get("n", 100))
        self.every = told.get("i", 0) / 1000
        self.first = told.get("t", told.get("d", 0)) / 1000
        self.whole_after = told.get("d", 0) / 1000
        self.size = told.get("b", 700)
        self.kinds = told.get("k", 1)
        self.turn = 0

    def text(self, *, unsafe: bool) -> str:
        if self.kind == "guard":
            return "unsafe\nS1" if unsafe else "safe"
        self.turn += 1
        if self.kind == "vote":
            return f"Answer: {self.turn % self.kinds}"
        return (WORDS * (self.size // len(WORDS) + 1))[: self.size]

    def whole(self, *, unsafe: bool) -> bytes:
        return _whole(self.name, self.text(unsafe=unsafe))

    def pieces(self) -> tuple[bytes, ...]:
        return _pieces(self.name, self.chunks)


@lru_cache(256)
def _whole(name: str, text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 200, "completion_tokens": len(text) // 4, "total_tokens": 200 + len(text) // 4}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": name}
    return answer({**head, "choices": [choice], "usage": usage})


@lru_cache(64)
def _pieces(name: str, count: int) -> tuple[bytes, ...]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": name}

    def chunk(delta: dict[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(orjson.dumps({**head, "choices": [choice]}))

    said = [chunk({"role": "assistant", "content": "Well, "}, None)]
    said += [chunk({"content": f"tok{number} "}, None) for number in range(1, count)]
    end = chunk({}, "stop") + event(b"[DONE]") + b"0\r\n\r\n"
    return (HEAD + said[0], *said[1:], end)


specs: dict[str, Spec] = {}


class Connection(asyncio.Protocol):
    """One client; requests are answered one after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._spec: Spec | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._spec is not None:
            STATS[self._spec.name]["hung_up"] += 1
            self._spec = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._url = b""
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() != b"POST":
            self._transport.write(answer(STATS if self._url == b"/stats" else {"status": "ok"}))
            return
        found = _MODEL.search(self._body)
        name = found[1].decode() if found else "plain"
        spec = specs.setdefault(name, Spec(name))
        STATS[name]["came"] += 1
        self._spec = spec
        if _STREAM.search(self._body):
            pieces = spec.pieces()
            self._due = self._loop.time() + spec.first
            self._timer = self._loop.call_at(self._due, self._write, spec, pieces, 0)
        else:
            whole = spec.whole(unsafe=MARKER in self._body)
            self._timer = self._loop.call_later(spec.whole_after, self._finish, spec, whole)

    def _write(self, spec: Spec, pieces: tuple[bytes, ...], number: int) -> None:
        """One chunk, on a fixed timetable; the last two together."""
        if number == len(pieces) - 2:
            self._finish(spec, pieces[number] + pieces[number + 1])
            return
        self._transport.write(pieces[number])
        self._due += spec.every
        if spec.every:
            self._timer = self._loop.call_at(self._due, self._write, spec, pieces, number + 1)
        else:
            self._timer = self._loop.call_soon(self._write, spec, pieces, number + 1)

    def _finish(self, spec: Spec, data: bytes) -> None:
        self._transport.write(data)
        self._spec = self._timer = None
        STATS[spec.name]["answered"] += 1


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
