"""Where the CPU of a request goes: the gateway under a load, by file and by function.

    python benchmarks/profiled.py [--case plain|large|stream|paced|guarded|vote] [--seconds 4]

Start and first requests are left out. The profiler makes Python calls dearer than they are, so shares are told, not
microseconds; waiting is left out.
"""

from __future__ import annotations

import argparse
import pstats
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("compare")))
from stand import Stand, gateways

CASES = {
    "plain": ["--clients", 32],
    "large": ["--clients", 8, "--size", 200_000],
    "stream": ["--stream", "--model", "plain-n100", "--clients", 16],
    "paced": ["--stream", "--model", "plain-t20-i20-n50", "--clients", 50],
    "guarded": ["--model", "plain-d20-b700", "--clients", 64],
    "vote": ["--model", "panel", "--clients", 32],
}
GATEWAYS = {"guarded": "Outrider, guarded", "vote": "Outrider, 5 votes"}


SERVE = """
import cProfile, signal, sys
from gateway.cli import main

profile = cProfile.Profile()
signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
try:
    main(["serve"])
finally:
    profile.disable()
    profile.dump_stats(sys.argv[1])
"""


def stats(case: str, seconds: float) -> pstats.Stats:
    with tempfile.TemporaryDirectory(prefix="outrider-profile-") as name:
        folder = Path(name)
        stand = Stand(folder)
        try:
            stand.start_upstream()
            gateway = next(one for one in gateways(peers=False) if one.name == GATEWAYS.get(case, "Outrider"))
            out = folder / "profile"
            gateway.command[1:] = ["-c", SERVE, str(out)]
            stand.start(gateway)
            stand.load(gateway, *CASES[case], "--seconds", 0.5)
            gateway.process.send_signal(signal.SIGUSR1)
            stand.load(gateway, *CASES[case], "--seconds", seconds)
        finally:
            stand.close()
        return pstats.Stats(str(out))


def short(place: str) -> str:
    for mark in ("site-packages/", "gateway/", "python3."):
        if mark in place:
            rest = place.rpartition(mark)[2]
            return f"gateway/{rest}" if mark == "gateway/" else rest
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, default="plain")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--top", type=int, default=45)
    args = parser.parse_args()
    found = stats(args.case, args.seconds)
    own: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for (place, line, name), (_, calls, seconds, _, _) in found.stats.items():  # type: ignore[attr-defined]
        if "run_until_complete" in name or name == "<built-in method time.sleep>" or "acquire" in name:
            continue
        file = short(place) if place != "~" else "built in"
        own[file] += seconds
        functions[f"{file}:{line} {name} x{calls}"] += seconds
    total = sum(own.values())
    print("\n| file | share |\n|---|---:|")
    for file, seconds in own.most_common(22):
        print(f"| {file} | {seconds / total:.1%} |")
    print("\n| function | share |\n|---|---:|")
    for function, seconds in functions.most_common(args.top):
        print(f"| {function} | {seconds / total:.1%} |")


if __name__ == "__main__":
    main()
