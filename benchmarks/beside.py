"""What short requests wait while long texts are judged on threads: both have one interpreter, which one thread has at a time.

    python benchmarks/beside.py [--intervals 5,0.5] [--rounds 3] [--size 8000] [--cores 2]

Short ones come on a timetable, to a model without checks; long ones, one after the other, to one whose questions
`injection` and `toxicity` read. `--intervals`: milliseconds after which Python has a thread give way to another.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).with_name("compare")))
from stand import HERE, LOAD_CORE, Gateway, Stand, cpu, outrider

POLICY = """\
policy: read
for: {models: [plain-b600]}
checks:
  injection: {at: input, do: block}
  toxicity: {at: input, do: block}
"""
SERVE = "import sys; from gateway.cli import main; {}; main(['serve'])"
RATE = 100  # short requests a second


def started(gateway: Gateway, model: str, *options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "load.py"), f"{gateway.url}/v1/chat/completions", "--model", model]
    return subprocess.Popen(["taskset", "-c", str(LOAD_CORE), *command, *map(str, options)], stdout=subprocess.PIPE)


def read(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=60)
    return dict(orjson.loads(said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--intervals", default="", help="beside the one that it has")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--size", type=int, default=8_000, help="bytes of a long question")
    parser.add_argument("--cores", type=int, default=1, help="of the gateway; the second is shared with the load")
    asked = parser.parse_args()
    gateways: dict[str, Gateway] = {}
    for interval in ["as it is", *filter(None, asked.intervals.split(","))]:
        gateway = outrider(f"interval {interval}", set(), POLICY)
        line = "pass"
        if interval != "as it is":
            line = f"sys.setswitchinterval({float(interval) / 1000}); sys.setswitchinterval = lambda _: None"
        gateway.command[1:] = ["-c", SERVE.format(line)]
        gateways[interval] = gateway
    told: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory(prefix="outrider-beside-") as folder:
        stand = Stand(Path(folder))
        try:
            stand.start_upstream()
            for gateway in gateways.values():
                stand.start(gateway)
                if asked.cores > 1 and gateway.process is not None:
                    subprocess.run(
                        ["taskset", "-acp", "0,1", str(gateway.process.pid)], check=True, stdout=subprocess.DEVNULL
                    )
            for _ in range(asked.rounds):
                for interval, gateway in gateways.items():
                    for clients in (0, 1, 4):
                        before = cpu(gateway)
                        longs = (
                            [
                                started(
                                    gateway,
                                    "plain-b600",
                                    "--clients",
                                    clients,
                                    "--size",
                                    asked.size,
                                    "--seconds",
                                    asked.seconds + 2,
                                )
                            ]
                            if clients
                            else []
                        )
                        time.sleep(1.5 if longs else 0)  # Python starts
                        short = read(started(gateway, "plain-b700", "--rate", RATE, "--seconds", asked.seconds))
                        long = [read(one) for one in longs]
                        times, count = short["times"], sum(one["answers"] for one in long)
                        assert not short["wrong"], short["statuses"]
                        told.setdefault((interval, clients), []).append(
                            (
                                times[len(times) // 2],
                                times[int(len(times) * 0.9)],
                                times[int(len(times) * 0.99)],
                                count / (asked.seconds + 2),
                                (cpu(gateway) - before) * 1e3 / max(count, 1),
                            )
                        )
        finally:
            stand.close()
    print(
        "| a thread gives way after, ms | long at once | short p50, ms | p90 | p99 | long a second | ms of CPU a long one |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for (interval, clients), rows in sorted(told.items(), key=lambda row: row[0][1]):
        cells = " | ".join(f"{statistics.median(column):.2f}" for column in zip(*rows, strict=True))
        print(f"| {interval} | {clients} | {cells} |")


if __name__ == "__main__":
    main()
