"""Two workers against one: requests a second, CPU for each, and how even the kernel shares them out.

    python benchmarks/workers.py [--workers 1,2] [--rounds 3] [--seconds 3]

The gateway may use both cores; so do the load and the model, which therefore take from two workers what they leave to one. What
holds on a machine with more cores is the CPU for each request: where it stays the same, N workers answer N times as many.
Loopback only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent / "compare"))

import psutil
from stand import BASELINE, Gateway, Stand, cpu, outrider


def started(stand: Stand, count: int) -> Gateway:
    gateway = outrider(f"workers {count}", set(), BASELINE)
    gateway.command = ["taskset", "-c", "0,1", *gateway.command]
    gateway.environment["OUTRIDER_WORKERS"] = str(count)
    stand.start(gateway)
    return gateway


def each(gateway: Gateway) -> list[float]:
    """Seconds of CPU of every process that serves."""
    assert gateway.process is not None
    root = psutil.Process(gateway.process.pid)
    serving = root.children(recursive=True) or [root]
    return [sum(one.cpu_times()[:2]) for one in serving]


def main(args: argparse.Namespace) -> None:
    counts = [int(count) for count in args.workers.split(",")]
    found: dict[int, list[tuple[float, float, float]]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder))
        try:
            stand.start_upstream()
            gateways = {count: started(stand, count) for count in counts}
            for _ in range(args.rounds):
                for count, gateway in gateways.items():
                    before, parts = cpu(gateway), each(gateway)
                    told = stand.load(gateway, "--model", "plain-b700", "--clients", 64, "--seconds", args.seconds)
                    used = [now - then for now, then in zip(each(gateway), parts, strict=True)]
                    microseconds = 1e6 * (cpu(gateway) - before) / told["answers"]
                    found[count].append((told["answers"] / told["seconds"], microseconds, min(used) / sum(used)))
        finally:
            stand.close()
    print("| workers | requests/s | CPU for each, us | share of the least busy |\n|---:|---:|---:|---:|")
    for count, rounds in found.items():
        rate, each_one, least = (median(figures) for figures in zip(*rounds, strict=True))
        print(f"| {count} | {rate:.0f} | {each_one:.0f} | {100 * least:.0f} % |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    main(parser.parse_args())
