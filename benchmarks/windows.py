"""How live a stream feels under a check that asks a model: first words, lag, and how often the check is asked.

    python benchmarks/windows.py

The gateway in this process, on a scripted upstream of 50 tokens a second and a judge of 100 ms; the client is a
socket on loopback. Compared with fixed windows of 40 characters and with holding the whole answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web

from gateway.config.load import read_house
from gateway.policy.load import load_policies
from gateway.server.app import Gateway
from gateway.server.listen import Listener
from gateway.server.logs import set_up
from gateway.server.upstreams import make_upstreams
from gateway.settings import Settings

WORDS = (
    "The committee met on Tuesday and agreed that the proposal, although it was late, deserved a second reading. "
    "Nobody had expected this. The chair thanked everyone, and closed the meeting at noon, as the rules demand. "
) * 8
TOKENS = [WORDS[i : i + 4] for i in range(0, len(WORDS), 4)]
HOUSE = {
    "upstreams": {
        "demo": {
            "scripted": [
                {"model": "judge", "reply": "NO", "first_token": "100ms"},
                {"reply": TOKENS, "first_token": "200ms", "between_tokens": "20ms"},
            ]
        }
    },
    "default_upstream": "demo",
    "models": {"judge": {"upstream": "demo", "model": "judge"}},
}


async def play(folder: Path, lane: str) -> tuple[list[float], int]:
    """When each token was there (s), and how often the judge was asked."""
    (folder / "outrider.yaml").write_text(json.dumps(HOUSE))
    (folder / "p.yaml").write_text(
        f"policy: w\nchecks: {{tone: {{use: judge, model: judge, at: output, stream: {lane}, timeout: 5s}}}}\n"
    )
    house = read_house(folder / "outrider.yaml")
    receipts = []
    gateway = Gateway(Settings(), house, load_policies(folder / "p.yaml"), make_upstreams(house), keep=receipts.append)
    runner = web.ServerRunner(Listener(gateway.handle, head_timeout=10, most=100))
    await runner.setup()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    await web.TCPSite(runner, "127.0.0.1", port).start()
    arrivals: list[tuple[float, int]] = []
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    async with aiohttp.ClientSession() as client:
        began = time.perf_counter()
        async with client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as answer:
            told = 0
            async for line in answer.content:
                if line.startswith(b"data: {"):
                    choices = orjson.loads(line[6:])["choices"]
                    told += len(choices[0]["delta"].get("content") or "") if choices else 0
                    arrivals.append((time.perf_counter() - began, told))
    await runner.cleanup()
    times = []
    place = 0
    for number in range(len(TOKENS)):
        while arrivals[place][1] < min((number + 1) * 4, told):
            place += 1
        times.append(arrivals[place][0])
    return times, sum(look.watch.name == "w.tone" for look in receipts[0].looks)


async def main() -> None:
    sys.stdout.write("| lane | first words after the first token, s | lag at the median, s | at most, s | looks |\n")
    sys.stdout.write("|---|---:|---:|---:|---:|\n")
    with tempfile.TemporaryDirectory() as folder:
        made, _ = await play(Path(folder), "after")  # nothing is held: when the upstream's tokens came
    for lane in ("window", "whole"):
        with tempfile.TemporaryDirectory() as folder:
            times, looks = await play(Path(folder), lane)
        lags = [there - came for there, came in zip(times, made, strict=True)]
        sys.stdout.write(f"| {lane} | {lags[0]:.2f} | {statistics.median(lags):.2f} | {max(lags):.2f} | {looks} |\n")
    sys.stdout.write(f"\n{len(WORDS)} characters; fixed windows of 40 characters would be {len(WORDS) // 40} looks.\n")


if __name__ == "__main__":
    set_up("error", "json")
    asyncio.run(main())
