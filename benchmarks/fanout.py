"""How soon a vote is out, and how soon the members that are not needed are let go.

    python benchmarks/fanout.py [--rounds 20]

Five members of 100 to 500 ms behind sockets, of which the first three agree: the ideal is the third's own
time. Told are medians as ratios to it, and how long after the answer the other connections were closed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TIMES = {"m1": 0.1, "m2": 0.2, "m3": 0.3, "m4": 0.4, "m5": 0.5}
SAYS = {"m1": "yes", "m2": "yes", "m3": "yes", "m4": "no", "m5": "no"}
POLICY = "policy: bench\nchecks: {words: {use: keywords, words: [SWORDFISH-7]}}\n"


def house(port: int) -> str:
    models = "".join(f"  {name}: {{upstream: up, model: {name}}}\n" for name in TIMES)
    members = ", ".join(f"{{model: {name}}}" for name in TIMES)
    fan = f"  panel: {{strategy: vote, members: [{members}]}}\n"
    return f"upstreams: {{up: {{base_url: 'http://127.0.0.1:{port}/v1'}}}}\nmodels:\n{models}{fan}"


class Upstream:
    def __init__(self) -> None:
        self.closed: list[float] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le"))
        name = json.loads(await reader.readexactly(size))["model"]
        gone = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({gone}, timeout=TIMES[name])
        if gone.done():
            self.closed.append(time.perf_counter())
        else:
            gone.cancel()
            choice = {"index": 0, "message": {"role": "assistant", "content": SAYS[name]}, "finish_reason": "stop"}
            answer = {"id": "c", "object": "chat.completion", "created": 1, "model": name, "choices": [choice]}
            body = json.dumps(answer).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body))
            writer.write(b"connection: close\r\n\r\n" + body)
        writer.close()


async def rounds(front: int, upstream: Upstream, count: int) -> tuple[list[float], list[float]]:
    took, closed = [], []
    body = json.dumps({"model": "panel", "messages": [{"role": "user", "content": "?"}]}).encode()
    for _ in range(count):
        upstream.closed.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        started = time.perf_counter()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        await reader.read()
        ended = time.perf_counter()
        writer.close()
        await asyncio.sleep(0.1)
        took.append(ended - started)
        closed += [max(0.0, one - ended) for one in upstream.closed]
        if len(upstream.closed) != 2:
            raise SystemExit(f"{len(upstream.closed)} connections were closed, not 2")
    return took, closed


async def measure(count: int) -> None:
    upstream = Upstream()
    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        front = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "outrider.yaml").write_text(house(server.sockets[0].getsockname()[1]))
        (Path(folder) / "policies").mkdir()
        (Path(folder) / "policies" / "bench.yaml").write_text(POLICY)
        env = {**os.environ, "OUTRIDER_PORT": str(front), "OUTRIDER_ADMIN_PORT": "0", "OUTRIDER_LOG_LEVEL": "error"}
        gateway = subprocess.Popen([sys.executable, "-m", "gateway", "serve"], env=env, cwd=folder)
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{front}/readyz", timeout=1).read()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
            await rounds(front, upstream, 1)
            took, closed = await rounds(front, upstream, count)
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(20)
            server.close()
    third = sorted(TIMES.values())[2]
    print(f"Five members of 100 to 500 ms, the first three agree ({count} rounds)\n")
    print("| | ms | ratio to the third |")
    print("|---|---:|---:|")
    print(f"| answer, median | {statistics.median(took) * 1000:.1f} | {statistics.median(took) / third:.3f} |")
    print(f"| answer, slowest | {max(took) * 1000:.1f} | {max(took) / third:.3f} |")
    print(f"\nThe other two were closed {max(closed) * 1000:.1f} ms after the answer at the latest.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
