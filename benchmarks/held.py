"""How long one exchange holds the event loop: the gateway with all local kinds, under a load of ordinary texts, and
with each of the texts of `kinds.py` that are made to take long, as a question and as a streamed answer. All checks block: what
only flags is looked at when the answer is over, and holds nobody up.

    python benchmarks/held.py [--sizes 250,1000,4000] [--over 1.0]

A callback of the event loop is timed by the CPU of its thread. Of ordinary texts all callbacks are told of, whatever they do; of
each of the others the longest time that checks have, the median of a few.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kinds import TEXT, made

sys.path.insert(0, str(Path(__file__).with_name("compare")))
from stand import Gateway, Stand, outrider

POLICY = """\
policy: all
defaults: {timeout: 60s}
checks:
  secrets: {at: [input, output], do: block}
  pii: {at: [input, output], do: block}
  urls: {at: [input, output], do: block}
  invisible: {at: [input, output], do: block}
  words: {use: keywords, words: [bomb, secret], except: [bomb squad], whole_word: true, at: [input, output], do: block}
  patterns: {use: regex, patterns: {mail: '[a-z]+@[a-z]+', word: '\\bsecret\\b'}, at: [input, output], do: block}
  injection: {at: input, do: block}
  toxicity: {at: input, do: block}
"""
SERVE = """
import asyncio, json, signal, sys, threading, time
import uvloop
from gateway.checks.sieve import CommonSieve
from gateway.cli import main
from gateway.server import carrying

uvloop.new_event_loop = asyncio.new_event_loop  # whose callbacks can be told from each other
run, took, longest, callbacks, telling = asyncio.events.Handle._run, [0.0], [0.0], [], {}

def timed(handle):
    took[0] = 0.0
    began = time.thread_time()
    run(handle)
    if not telling.pop("now", False):  # whoever was interrupted by that takes as long as it takes
        callbacks.append(time.thread_time() - began)
    longest[0] = max(longest[0], took[0])

def counted(work):
    def counting(*given):
        began = time.thread_time()
        try:
            return work(*given)
        finally:
            if threading.current_thread() is threading.main_thread():
                took[0] += time.thread_time() - began
    return counting

def tell(*_):
    ordered, count = sorted(callbacks) or [0.0], max(len(callbacks), 1)
    with open(sys.argv[1], "w") as file:
        json.dump([longest[0], *[ordered[int((count - 1) * share)] for share in (0.9, 0.99, 0.999, 1)]], file)
    longest[0] = 0.0
    callbacks.clear()
    telling["now"] = True

asyncio.events.Handle._run = timed
carrying.look_now = counted(carrying.look_now)
carrying.Carrier._take = counted(carrying.Carrier._take)
CommonSieve.silent = counted(CommonSieve.silent)
CommonSieve.soon = counted(CommonSieve.soon)
signal.signal(signal.SIGUSR1, tell)
main(["serve"])
"""
TRIES = 3
WARM = 2  # ordinary requests before each: a machine that has slept is slow
PIECE = 40  # characters of a delta
LOADS = {
    **{
        f"question of {size:,} bytes": ("--model", "plain-b700", "--size", size) for size in (200, 800, 16_000, 200_000)
    },
    "stream of 100 chunks at once": ("--model", "plain-n100", "--stream"),
    "the same, 5 ms apart": ("--model", "plain-n100-i5", "--stream"),
}


class Echo(BaseHTTPRequestHandler):
    """An upstream that says what the client's header tells it to: its question, in pieces."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = asked["messages"][-1]["content"]
        pieces = [said[at : at + PIECE] for at in range(0, len(said), PIECE)] if asked["model"] == "echo" else ["Yes."]
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        chunks = [{**head, "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        body = b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def ask(url: str, model: str, text: str) -> None:
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"content-type": "application/json"})
    with suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=60) as answer:  # most are refused
        answer.read()


def told(process: Any, out: Path) -> list[float]:
    """Milliseconds since this was last asked: what checks had in one callback at most, and 90, 99, 99.9 and 100 % of all."""
    out.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    while True:
        time.sleep(0.002)
        try:
            return [float(one * 1e3) for one in json.loads(out.read_text())]
        except (OSError, ValueError):
            continue


def ordinary(stand: Stand, out: Path) -> None:
    """Print how long callbacks take of a gateway that is busy."""
    gateway = outrider("ordinary", set(), POLICY)
    gateway.command[1:] = ["-c", SERVE, str(out)]
    stand.start_upstream()
    stand.start(gateway)
    print(
        "| ordinary texts, 8 clients | requests | 90 % of callbacks, ms | 99 % | 99.9 % | longest |\n|---|---:|---:|---:|---:|---:|"
    )
    for name, options in LOADS.items():
        stand.load(gateway, "--clients", 8, *options, "--seconds", 1)
        told(gateway.process, out)
        count = stand.load(gateway, "--clients", 8, *options, "--seconds", 4)["answers"]
        _, *shares = told(gateway.process, out)
        print(f"| {name} | {count} | {' | '.join(f'{one:.2f}' for one in shares)} |", flush=True)
    print()
    stand.stop(gateway)


def row(gateway: Gateway, side: str, size: int, most: float, out: Path) -> str:
    """What checks had the event loop for, of all texts of a size."""
    took: dict[str, float] = {}
    for text, texts in made(size).items():
        longest = []
        for one in texts[:TRIES]:
            for _ in range(WARM):
                ask(gateway.url, "echo", TEXT)
            told(gateway.process, out)
            ask(gateway.url, "echo" if side == "answer" else "plain", one)
            longest.append(told(gateway.process, out)[0])
        took[text] = statistics.median(longest)
    ordered = sorted(took.values())
    over = sorted((text for text in took if took[text] > most), key=lambda text: -took[text])
    said = ", ".join(f"`{text[:24]!r}` {took[text]:.2f}" for text in over[:8])
    shares = f"{statistics.median(ordered):.2f} | {ordered[int(len(ordered) * 0.99) - 1]:.2f} | {ordered[-1]:.2f}"
    return f"| {size} | {side} | {len(took)} | {shares} | {said} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="250,1000,4000", help="characters of a text")
    parser.add_argument("--over", type=float, default=1.0, help="milliseconds from which a text is told")
    asked = parser.parse_args()
    echo = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="outrider-held-") as name:
        folder = Path(name)
        out = folder / "longest"
        stand = Stand(folder)
        ordinary(stand, out)
        stand.upstream = f"http://127.0.0.1:{echo.server_port}"
        try:
            print(
                "| characters | as | texts | median, ms | 99 of 100, ms | longest, ms | over |\n|---:|---|---:|---:|---:|---:|---|"
            )
            for side in ("question", "answer"):
                policy = POLICY.replace("[input, output]", "input")
                if side == "answer":
                    policy = "".join(line for line in POLICY.splitlines(True) if "at: input," not in line)
                    policy = policy.replace("[input, output]", "output")
                gateway = outrider(side, set(), policy)
                gateway.command[1:] = ["-c", SERVE, str(out)]
                stand.start(gateway)
                for _ in range(3):
                    ask(gateway.url, "echo", TEXT * 3)
                for size in map(int, asked.sizes.split(",")):
                    print(row(gateway, side, size, asked.over, out), flush=True)
                stand.stop(gateway)
        finally:
            stand.close()
            echo.shutdown()


if __name__ == "__main__":
    main()
