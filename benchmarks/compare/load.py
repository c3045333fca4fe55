"""The load of the comparison: so many connections at once, or so many requests a second, counted from the planned moment.

    python benchmarks/compare/load.py URL --model plain-b700 --clients 32 --seconds 2
    python benchmarks/compare/load.py URL --model plain-d200 --rate 20 --seconds 4 [--stream] [--unsafe]

With `--rate` a request that had to wait for its turn is late from the moment it was due, so a server that stalls is
not flattered. Prints one JSON object; times in milliseconds. Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import random
import sys
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

WORDS = "please sum up the following paragraph about harbours, tides and the ships that wait for them "
NUMBER = b"#%%%%%%%%%%%"  # where each request has a number of its own
GRACE = 15.0  # seconds for the last answers
SETTLE = 0.5  # seconds in which a server takes the connections, before it is asked on them


class Connection(asyncio.Protocol):
    """One client connection with one request under way at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.busy = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def ask(self, due: float) -> None:
        self.busy = True
        self.due = due
        self.first = 0.0
        self.events = 0
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(self._load.next())

    def data_received(self, data: bytes) -> None:
        if self.busy:
            self._parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.busy:
            self.busy = False
            self._load.answered(self, 0)

    def on_body(self, body: bytes) -> None:
        if self._load.stream:
            events = body.count(b"data: {")
            if events and not self.first:
                self.first = perf_counter()
            self.events += events
        elif not self.first:
            self.first = perf_counter()

    def on_message_complete(self) -> None:
        self.busy = False
        self._load.answered(self, self._parser.get_status_code())


class Load:
    """All requests of one run, and what came of them."""

    def __init__(
        self,
        url: str,
        body: dict[str, Any],
        headers: list[str],
        statuses: set[int],
        spell: Callable[[Any], bytes] = orjson.dumps,
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname in {"127.0.0.1", "localhost"}, "only loopback is a target"
        self._host, self._port = parts.hostname, parts.port
        data = spell(body)
        lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json"]
        lines += [f"content-length: {len(data)}", *headers]
        asked = "\r\n".join(lines).encode() + b"\r\n\r\n" + data
        self._before, _, self._after = asked.partition(NUMBER)
        self._numbers = itertools.count(time.time_ns() % 10**9 * 1000)
        self.stream = bool(body.get("stream"))
        self._statuses = statuses
        self.times: list[float] = []
        self.firsts: list[float] = []
        self.events = 0
        self.wrong: dict[int, int] = {}
        self._waiting: list[float] = []  # moments at which a request was due
        self._idle: list[Connection] = []
        self._again = False
        self._out = 0
        self._over = asyncio.Event()

    def next(self) -> bytes:
        """The next request: no two ask the same, so that no gateway knows the verdict already."""
        return b"%s%012d%s" % (self._before, next(self._numbers), self._after)

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self), self._host, self._port
        )
        return connection

    def answered(self, connection: Connection, status: int) -> None:
        now = perf_counter()
        if status in self._statuses:
            self.times.append(now - connection.due)
            self.events += connection.events
            if connection.first:
                self.firsts.append(connection.first - connection.due)
        else:
            self.wrong[status] = self.wrong.get(status, 0) + 1
        if connection.transport.is_closing():
            self._out -= 1
        elif self._waiting:
            connection.ask(self._waiting.pop(0))
        elif self._again:
            connection.ask(now)
        else:
            self._out -= 1
            self._idle.append(connection)
        if self._out == 0:
            self._over.set()

    async def closed(self, clients: int, seconds: float) -> float:
        """Each connection sends its next request when the answer is in. Returns the seconds it took."""
        connections = [await self._connect() for _ in range(clients)]
        self._again, self._out = True, clients
        began = perf_counter()
        for number, connection in enumerate(connections):
            connection.ask(perf_counter())
            if self.stream and number % 8 == 0:
                await asyncio.sleep(0.002)  # so that not all streams keep step
        await asyncio.sleep(seconds)
        self._again = False
        return await self._end(connections, began)

    async def paced(self, rate: float, seconds: float, most: int = 256) -> float:
        """Requests on a timetable, whatever becomes of them. Returns the seconds it took."""
        connections = [await self._connect() for _ in range(min(most, max(16, int(rate))))]
        self._idle = list(connections)
        await asyncio.sleep(SETTLE)
        began = perf_counter()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (early := due - perf_counter()) > 0:
                await asyncio.sleep(early)
            if self._idle:
                self._out += 1
                self._idle.pop().ask(due)
            else:
                self._waiting.append(due)
        return await self._end(connections, began)

    async def _end(self, connections: list[Connection], began: float) -> float:
        try:
            async with asyncio.timeout(GRACE):
                while self._out:
                    self._over.clear()
                    await self._over.wait()
        except TimeoutError:
            self.wrong[-1] = self._out
        took = perf_counter() - began
        for connection in connections:
            connection.busy = False
            connection.transport.abort()
        return took


def told(load: Load, took: float) -> dict[str, Any]:
    return {
        "answers": len(load.times),
        "wrong": sum(load.wrong.values()),
        "statuses": {str(status): count for status, count in load.wrong.items()},
        "seconds": took,
        "events": load.events,
        "times": [round(1000 * t, 3) for t in sorted(load.times)],
        "firsts": [round(1000 * t, 3) for t in sorted(load.firsts)],
    }


def body_of(args: argparse.Namespace) -> dict[str, Any]:
    text = NUMBER.decode() + (WORDS * (args.size // len(WORDS) + 1))[: args.size] + (" UNSAFE" if args.unsafe else "")
    content: Any = text
    if args.image:
        image = base64.b64encode(random.Random(1).randbytes(args.image * 3 // 4)).decode()
        shown = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
        content = [{"type": "text", "text": text}, shown]
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": content}]
    return {"model": args.model, "messages": messages, **({"stream": True} if args.stream else {})}


async def main(args: argparse.Namespace) -> None:
    load = Load(args.url, body_of(args), args.header, set(map(int, args.expect.split(","))))
    took = await (load.paced(args.rate, args.seconds) if args.rate else load.closed(args.clients, args.seconds))
    sys.stdout.buffer.write(orjson.dumps(told(load, took)) + b"\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--model", default="plain-b700")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--size", type=int, default=800, help="bytes of the question")
    parser.add_argument("--image", type=int, default=0, help="bytes of one that the question shows, in base64")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--unsafe", action="store_true", help="the question holds what the guard refuses")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--expect", default="200", help="statuses that are answers, with commas between")
    uvloop.run(main(parser.parse_args()))
