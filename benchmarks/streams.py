"""Many streams at once under an exact check: none lost, how even they come, what each costs in memory.

    python benchmarks/streams.py [--streams 1000] [--tokens 60] [--every 0.25]

An upstream and its clients (two processes of their own, loopback only) first talk to each other, then
through the gateway. Told are the gaps between the tokens of a stream as its client sees them, both
ways, and the gateway's memory and CPU.
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
from typing import Any

POLICY = """\
policy: bench
checks:
  words: {use: keywords, words: [SWORDFISH-7, "secret plan"], at: output}
  keys: {use: regex, patterns: {aws: '\\bAKIA[0-9A-Z]{16}\\b', mail: '[\\w.+-]+@[\\w-]+\\.\\w{2,}'}, at: output}
"""
WORDS = "the quick brown fox jumps over a lazy dog and so on until it rests".split()
SPREAD = 4.0  # seconds over which the streams begin


async def upstream(port: int, tokens: int, every: float) -> None:
    """Answers every request with a stream: a token, a pause, a token."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # somebody looked whether the port is open
            writer.close()
            return
        size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le"))
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for number in range(tokens):
            writer.write(_event({"content": f"{WORDS[number % len(WORDS)]} "}, None))
            await writer.drain()
            await asyncio.sleep(every)
        writer.write(_event({}, "stop") + b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port, backlog=2000) as server:
        await server.serve_forever()


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def clients(port: int, streams: int) -> dict[str, Any]:
    """Open all streams and read each to its end."""
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}).encode()
    asked = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    )
    gaps: list[float] = []
    whole = 0

    async def one(number: int) -> None:
        nonlocal whole
        await asyncio.sleep(number * SPREAD / streams)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked)
        last: float | None = None
        tail = b""
        while data := await reader.read(65536):
            if b"content" in data:
                now = time.perf_counter()
                if last is not None:
                    gaps.append(now - last)
                last = now
            tail = (tail + data)[-200:]
        whole += b"[DONE]" in tail
        writer.close()

    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(one(number))
    cuts = statistics.quantiles(gaps, n=1000)
    return {"whole": whole, "p50": cuts[499] * 1000, "p99": cuts[989] * 1000, "p999": cuts[998] * 1000}


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _until_up(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("a server did not start")


def _status(pid: int, name: str) -> float:
    """MiB of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _run(role: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--role", role, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _measured(port: int, streams: int) -> dict[str, Any]:
    told, _ = _run("clients", "--port", port, "--streams", streams).communicate(timeout=300)
    found: dict[str, Any] = json.loads(told)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--every", type=float, default=0.25, help="seconds between two tokens of a stream")
    parser.add_argument("--role", choices=["upstream", "clients"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "upstream":
        asyncio.run(upstream(args.port, args.tokens, args.every))
    elif args.role == "clients":
        print(json.dumps(asyncio.run(clients(args.port, args.streams))))
    else:
        compare(args.streams, args.tokens, args.every)


def compare(streams: int, tokens: int, every: float) -> None:
    port = _free()
    behind = _run("upstream", "--port", port, "--tokens", tokens, "--every", every)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench.yaml").write_text(POLICY)
        front = _free()
        env = {
            **os.environ,
            "OUTRIDER_PORT": str(front),
            "OUTRIDER_ADMIN_PORT": "0",
            "OUTRIDER_UPSTREAM": f"http://127.0.0.1:{port}/v1",
            "OUTRIDER_POLICIES": folder,
            "OUTRIDER_LOG_LEVEL": "error",
        }
        gateway = subprocess.Popen([sys.executable, "-m", "gateway", "serve"], env=env, cwd=folder)
        try:
            _until_up(port)
            _until_up(front)
            urllib.request.urlopen(f"http://127.0.0.1:{front}/readyz", timeout=5).read()
            direct = _measured(port, streams)
            idle, used = _status(gateway.pid, "VmRSS"), _cpu(gateway.pid)
            through = _measured(front, streams)
            peak, used = _status(gateway.pid, "VmHWM"), _cpu(gateway.pid) - used
        finally:
            for process in (gateway, behind):
                process.send_signal(signal.SIGTERM)
                process.wait(30)
    print(f"{streams} streams of {tokens} tokens, one each {every * 1000:.0f} ms\n")
    print("| | whole streams | gap p50, ms | gap p99, ms | gap p99.9, ms |")
    print("|---|---:|---:|---:|---:|")
    for name, found in (("upstream alone", direct), ("through the gateway", through)):
        print(f"| {name} | {found['whole']} | {found['p50']:.0f} | {found['p99']:.0f} | {found['p999']:.0f} |")
    print(f"\nRatio of the p99 gaps: {through['p99'] / direct['p99']:.2f}")
    print(
        f"Gateway: {(peak - idle) * 1024 / streams:.0f} KiB for each stream, {used / (streams * tokens) * 1e6:.0f} us",
        end=" ",
    )
    print("of CPU for each token.")


if __name__ == "__main__":
    main()
