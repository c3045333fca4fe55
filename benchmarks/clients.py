"""The CPU of one upstream call through the port: our lean client beside aiohttp's, in turn, in one process.

    python benchmarks/clients.py [--calls 2000] [--rounds 7]

The upstream is a process of its own and answers from memory; each figure is the best of the rounds, and
the ratio that of the two bests.
"""

import argparse
import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection

import uvloop

from gateway.config.model import ClientName
from gateway.server.calling import Client, Request
from gateway.server.clients import open_client

AT_ONCE = 8
FIELDS = b"".join(b"x-header-%d: some value of usual length\r\n" % number for number in range(8))
HEADERS = {
    "accept-encoding": "identity",
    "user-agent": "outrider/0",
    "authorization": "Bearer sk-" + "x" * 40,
    "content-type": "application/json",
    "accept": "application/json",
}
CUT = "/cut"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" token"}}]}\n\n'


def plain(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (FIELDS, size) + (
        b"x" * size
    )


def stream(events: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%btransfer-encoding: chunked\r\n\r\n" % FIELDS
    return head + b"%x\r\n%b\r\n" % (len(EVENT), EVENT) * events + b"0\r\n\r\n"


CASES = {
    "1 KB in, 1 KB out": ("/plain", b"x" * 1024, plain(1024)),
    "1 KB in, 200 KB out": ("/large", b"x" * 1024, plain(200 * 1024)),
    "1 KB in, a stream of 100 chunks": ("/stream", b"x" * 1024, stream(100)),
    "one that is cut off at its head, over a new connection": (CUT, b"x" * 1024, stream(100)[:-5]),
}


class Upstream(asyncio.Protocol):
    """Answers each request by its path, as soon as its body is whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._come = b""

    def data_received(self, data: bytes) -> None:
        self._come += data
        head, found, rest = self._come.partition(b"\r\n\r\n")
        if found and len(rest) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            self._come = b""
            path = head.split(b" ", 2)[1].decode()
            self._transport.write(next(answer for at, _, answer in CASES.values() if at == path))


def serve(pipe: Connection) -> None:
    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(forever())


async def calls(client: Client, url: str, body: bytes, count: int) -> None:
    until = time.monotonic() + 60
    for _ in range(count):
        answer = await client.send(Request("POST", url, HEADERS, body), until)
        if not url.endswith(CUT):
            while await answer.read(until):
                pass
            answer.release()
        answer.close()


async def cpu(name: ClientName, url: str, body: bytes, count: int) -> float:
    """Microseconds of this process for one call."""
    client = open_client(name)
    await calls(client, url, body, 50)
    before = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(calls(client, url, body, count // AT_ONCE))
    spent = time.process_time() - before
    await client.close()
    return spent / (count // AT_ONCE * AT_ONCE) * 1e6


async def compare(port: int, count: int, rounds: int) -> None:
    print("| one call | lean, us | aiohttp, us | ratio |\n|---|---:|---:|---:|")
    for title, (path, body, _) in CASES.items():
        url = f"http://127.0.0.1:{port}{path}"
        best: dict[ClientName, float] = {"lean": float("inf"), "aiohttp": float("inf")}
        for _ in range(rounds):
            for name, known in tuple(best.items()):
                best[name] = min(known, await cpu(name, url, body, count))
        lean, stock = best.values()
        print(f"| {title} | {lean:.0f} | {stock:.0f} | {lean / stock:.2f} |")


def main() -> None:
    wanted = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    wanted.add_argument("--calls", type=int, default=2000)
    wanted.add_argument("--rounds", type=int, default=7)
    given = wanted.parse_args()
    ours, theirs = multiprocessing.Pipe()
    upstream = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    upstream.start()
    try:
        uvloop.run(compare(ours.recv(), given.calls, given.rounds))
    finally:
        upstream.terminate()


if __name__ == "__main__":
    main()
