"""Many requests, and the memory of the gateway while they come: it must not grow.

    python benchmarks/soak.py [--requests 200000] [--clients 32] [--plot FILE.svg]

Laps of plain requests, streams and blocked requests, in turn; after each the resident memory is read. Told are its curve, and its
growth from the first quarter to the end. Receipts are kept in SQLite, as by default. Loopback only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "compare"))

from stand import BASELINE, Stand, memory, outrider

LAPS = (
    ["--model", "plain-b700"],
    ["--model", "plain-t0-i0-n20", "--stream"],
    ["--model", "plain-b700", "--unsafe", "--expect", "400"],
)
POLICY = BASELINE.replace("[FORBIDDEN-WORD]", "[UNSAFE]")
SECONDS = 3


def soak(requests: int, clients: int) -> list[tuple[int, float]]:
    """Requests so far, and MiB of resident memory."""
    curve: list[tuple[int, float]] = []
    done = lap = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder))
        try:
            stand.start_upstream()
            gateway = outrider("Outrider", set(), POLICY)
            stand.start(gateway)
            while done < requests:
                told = stand.load(gateway, *LAPS[lap % len(LAPS)], "--clients", clients, "--seconds", SECONDS)
                assert not told["wrong"], told["statuses"]
                done += told["answers"]
                lap += 1
                curve.append((done, memory(gateway)))
                sys.stderr.write(
                    f"\r\x1b[K{done} of {requests}, {curve[-1][1]:.1f} MiB, {time.monotonic() - began:.0f} s"
                )
        finally:
            stand.close()
    sys.stderr.write("\r\x1b[K")
    return curve


def plot(curve: list[tuple[int, float]], file: Path) -> None:
    """Memory over requests."""
    most, top = curve[-1][0], max(size for _, size in curve) * 1.2
    points = " ".join(f"{40 + 540 * done / most:.1f},{220 - 200 * size / top:.1f}" for done, size in curve)
    words = f"{most:,} requests; {curve[-1][1]:.0f} MiB at the end, {top / 1.2:.0f} at most"
    file.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 250" font-family="sans-serif" font-size="12">'
        '<path d="M40 20V220H580" fill="none" stroke="#888"/>'
        f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="2"/>'
        f'<text x="40" y="240">{words}</text></svg>\n'
    )


def main(args: argparse.Namespace) -> None:
    curve = soak(args.requests, args.clients)
    print("| requests | resident memory, MiB |\n|---:|---:|")
    step = max(1, len(curve) // 12)
    for done, size in [*curve[::step], curve[-1]]:
        print(f"| {done:,} | {size:.1f} |")
    quarter = next(size for done, size in curve if done >= args.requests / 4)
    print(f"\nGrowth from a quarter to the end: {curve[-1][1] - quarter:+.1f} MiB")
    if args.plot:
        plot(curve, args.plot)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--plot", type=Path)
    main(parser.parse_args())
