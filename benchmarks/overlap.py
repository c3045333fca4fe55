"""How much of a check's time is hidden behind the completion: ratios from one interleaved run.

    python benchmarks/overlap.py [--rounds 20]

Starts the gateway (a process of its own, scripted upstream, loopback only) once without and once
with a judge beside the answer, asks both in turn, and prints a markdown table of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    name: str
    check: int  # ms
    first: int  # ms to the first token
    stream: bool
    question: str = "hello"


CASES = (
    Case("plain, check 50 ms, upstream 200 ms", 50, 200, stream=False),
    Case("streamed, check 50 ms, first token 200 ms", 50, 200, stream=True),
    Case("streamed, check 300 ms, first token 200 ms", 300, 200, stream=True),
    Case("refusal, plain, check 100 ms, upstream 500 ms", 100, 500, stream=False, question="UNSAFE"),
    Case("refusal, streamed, check 100 ms, upstream 500 ms", 100, 500, stream=True, question="UNSAFE"),
)
JUDGE = "policy: bench\nchecks: {harm: {use: judge, model: judge, at: input}}\n"
NONE = "policy: bench\nchecks: {size: {use: length, at: input, max_characters: 1000000}}\n"


def house(case: Case) -> str:
    return f"""\
upstreams:
  demo:
    scripted:
      - {{model: judge, when: UNSAFE, reply: "YES", first_token: {case.check}ms}}
      - {{model: judge, reply: "NO", first_token: {case.check}ms}}
      - {{reply: "All is well.", first_token: {case.first}ms}}
default_upstream: demo
models: {{judge: {{upstream: demo, model: judge}}}}
"""


class Served:
    """One gateway process on a free port."""

    def __init__(self, folder: Path, case: Case, policy: str) -> None:
        folder.mkdir()
        (folder / "outrider.yaml").write_text(house(case))
        (folder / "policies").mkdir()
        (folder / "policies" / "bench.yaml").write_text(policy)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        env = {
            **os.environ,
            "OUTRIDER_PORT": str(port),
            "OUTRIDER_ADMIN_PORT": "0",
            "OUTRIDER_CONFIG": str(folder / "outrider.yaml"),
            "OUTRIDER_POLICIES": str(folder / "policies"),
            "OUTRIDER_LOG_LEVEL": "error",
        }
        self.process = subprocess.Popen([sys.executable, "-m", "gateway", "serve"], env=env)
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self.url}/readyz", timeout=1).read()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the gateway did not start")

    def ask(self, case: Case) -> float:
        """Milliseconds to the first byte of the answer's body."""
        body = {"model": "m", "stream": case.stream, "messages": [{"role": "user", "content": case.question}]}
        request = urllib.request.Request(
            f"{self.url}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        start = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read(1)
                took = time.perf_counter() - start
                answer.read()
        except urllib.error.HTTPError as refusal:
            took = time.perf_counter() - start
            refusal.read()
        return took * 1000

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def measure(case: Case, rounds: int, folder: Path) -> tuple[float, float]:
    alone = Served(folder / "alone", case, NONE)
    guarded = Served(folder / "guarded", case, JUDGE)
    try:
        for served in (alone, guarded):
            served.ask(case)
        pairs = [(alone.ask(case), guarded.ask(case)) for _ in range(rounds)]
    finally:
        alone.stop()
        guarded.stop()
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print("| case | upstream alone, ms | with the judge, ms | ideal, ms | ratio to ideal | one after the other |")
    print("|---|---:|---:|---:|---:|---:|")
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            alone, guarded = measure(case, rounds, Path(folder))
        ideal = case.check if case.question == "UNSAFE" else max(case.check, case.first)
        row = f"{alone:.1f} | {guarded:.1f} | {ideal} | {guarded / ideal:.2f} | {(case.check + case.first) / ideal:.2f}"
        print(f"| {case.name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
