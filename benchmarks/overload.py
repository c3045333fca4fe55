"""More than it can carry: what those that are let in wait, and how fast the others are told to come again.

    python benchmarks/overload.py [--shares 0.5,1,2,5] [--seconds 5] [--delay 100] [--places N]

First the requests a second that one process can answer are measured (32 clients, a model that answers at once). Then
the gateway gets places by Little's law (that rate times the model's delay, and a quarter more), half as many in the queue, and
is asked on a timetable at several times that rate. A request is late from the moment it was due. Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "compare"))

import orjson
import uvloop
from load import NUMBER, Connection, Load
from stand import BASELINE, LOAD_CORE, Stand, cpu, outrider

MOST = 1000  # connections
QUEUE_WAIT = 100  # ms


class Late(Connection):
    """Knows when it has sent, which on a busy machine is later than it should."""

    def ask(self, due: float) -> None:
        self.sent = perf_counter()
        super().ask(due)


class Sorted(Load):
    """Times by what the answer was."""

    def __init__(self, url: str, model: str) -> None:
        messages = [{"role": "user", "content": NUMBER.decode() + "x" * 900}]
        super().__init__(url, {"model": model, "messages": messages}, [], {200, 503})
        self.by_status: defaultdict[int, list[float]] = defaultdict(list)
        self.late: list[float] = []

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(lambda: Late(self), self._host, self._port)
        return connection

    def answered(self, connection: Connection, status: int) -> None:
        self.late.append(connection.sent - connection.due)
        before = len(self.times)
        super().answered(connection, status)
        if len(self.times) > before:
            self.by_status[status].append(self.times[before])


async def load(url: str, model: str, rate: float, seconds: float) -> None:
    """One run, in a process of its own."""
    one = Sorted(url, model)
    await one.paced(rate, seconds, MOST)
    told = {"200": one.by_status[200], "503": one.by_status[503], "wrong": sum(one.wrong.values()), "late": one.late}
    sys.stdout.buffer.write(orjson.dumps(told))


def asked(url: str, model: str, rate: float, seconds: float) -> dict[str, Any]:
    words = [sys.executable, __file__, "--load", url, model, str(rate), str(seconds)]
    ran = subprocess.run(["taskset", "-c", str(LOAD_CORE), *words], capture_output=True, check=True, timeout=120)
    return dict(orjson.loads(ran.stdout))


def percentile(times: list[float], share: float) -> str:
    return f"{1000 * sorted(times)[min(len(times) - 1, int(len(times) * share))]:.0f}" if times else "-"


def answered(stand: Stand) -> float:
    """Requests a second that one process answers."""
    free = outrider("free", set(), BASELINE)
    stand.start(free)
    stand.load(free, "--model", "plain-b700", "--clients", 32, "--seconds", 1)
    found = stand.load(free, "--model", "plain-b700", "--clients", 32, "--seconds", 3)
    return float(found["answers"] / found["seconds"])


def main(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder))
        try:
            stand.start_upstream()
            if args.places:
                places, capacity = args.places, 1000 * args.places / args.delay
            else:
                capacity = answered(stand)
                places = math.ceil(capacity * args.delay / 1000 * 1.25)
            gateway = outrider("limited", set(), BASELINE)
            gateway.environment |= {
                "OUTRIDER_MAX_CONCURRENT": str(places),
                "OUTRIDER_MAX_QUEUED": str(places // 2),
                "OUTRIDER_QUEUE_WAIT": f"{QUEUE_WAIT}ms",
            }
            stand.start(gateway)
            print(f"{capacity:.0f} requests a second; {places} places; a model of {args.delay} ms\n")
            print(
                "| load | let in, 1/s | p50, ms | p99, ms | 503 | their p50, ms | p99, ms | load late, p50, ms | lost | CPU, % |"
            )
            print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
            url = f"{gateway.url}/v1/chat/completions"
            for share in map(float, args.shares.split(",")):
                before, began = cpu(gateway), perf_counter()
                told = asked(url, f"plain-d{args.delay}-b700", share * capacity, args.seconds)
                good, shed = told["200"], told["503"]
                cells = [
                    f"{share:g}x",
                    f"{len(good) / args.seconds:.0f}",
                    percentile(good, 0.5),
                    percentile(good, 0.99),
                ]
                cells += [f"{100 * len(shed) / max(1, len(good) + len(shed)):.0f} %"]
                cells += [
                    percentile(shed, 0.5),
                    percentile(shed, 0.99),
                    percentile(told["late"], 0.5),
                    str(told["wrong"]),
                ]
                cells.append(f"{100 * (cpu(gateway) - before) / (perf_counter() - began):.0f}")
                print(f"| {' | '.join(cells)} |", flush=True)
        finally:
            stand.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", default="0.5,1,2,5")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--delay", type=int, default=100)
    parser.add_argument("--places", type=int, help="so many, which then are the limit, and not the machine")
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        where, name, rate, seconds = arguments.load
        uvloop.run(load(where, name, float(rate), float(seconds)))
    else:
        main(arguments)
