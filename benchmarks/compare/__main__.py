"""Outrider beside a plain proxy on aiohttp, nginx and LiteLLM, on this machine, in one run.

    python benchmarks/compare [--cases plain,guarded] [--rounds 3] [--seconds 2] [--plots docs/plots] [--json FILE]
                              [--goal 'plain.us_request Outrider <= 0.6 floor']

Inside a round each gateway has its turn, so that what the machine does otherwise falls on all alike; told are the
medians of the rounds and their ratio to the floor. nginx and LiteLLM take part where they are installed (LITELLM names
its command). Exit status 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import orjson
import plots
from cases import CASES, Case, Figures
from stand import Gateway, Stand, gateways

Rounds = dict[str, list[Figures]]  # by the gateway's name


class Comparison:
    """All figures of one run."""

    def __init__(self) -> None:
        self.figures: dict[str, Rounds] = {}
        self.spreads: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def run(self, stand: Stand, case: Case, able: list[Gateway], rounds: int, seconds: float) -> None:
        """Each gateway in turn, round after round."""
        found: Rounds = {gateway.name: [] for gateway in able}
        for number in range(1 if case.key == "idle" else rounds):
            for gateway in able:
                sys.stderr.write(f"\r\x1b[K{case.key} {number + 1}/{rounds} {gateway.name}")
                sys.stderr.flush()
                figures, spread = case.run(stand, gateway, seconds)
                found[gateway.name].append(figures)
                for name, values in spread.items():
                    self.spreads[f"{case.key}.{name}"][gateway.name] += values
        sys.stderr.write("\r\x1b[K")
        self.figures[case.key] = found

    def middle(self, case: str, name: str, figure: str) -> float:
        return median(figures[figure] for figures in self.figures[case][name])

    def table(self, case: Case) -> str:
        rounds = self.figures[case.key]
        names = list(dict.fromkeys(name for found in rounds.values() for figures in found for name in figures))
        reference = next(iter(rounds))
        head = f"\n**{case.title}**\n\n| | {' | '.join(names)} | ratio |\n|---|{'---:|' * (len(names) + 1)}\n"
        rows = []
        base = self.middle(case.key, reference, case.figure)
        for name in rounds:
            told = [f"{self.middle(case.key, name, figure):.1f}" for figure in names]
            ratio = self.middle(case.key, name, case.figure) / base if base else float("nan")
            rows.append(f"| {name} | {' | '.join(told)} | {ratio:.2f} |\n")
        return head + "".join(rows)

    def draw(self, folder: Path) -> None:
        """Write the plots of the cases that were run."""
        folder.mkdir(parents=True, exist_ok=True)
        drawn = {
            "cpu": ("plain", "us_request", "CPU for a plain request", "us"),
            "cpu-guarded": ("guarded_cpu", "us_request", "CPU for a guarded request", "us"),
            "memory": ("idle", "mib", "Memory when idle", "MiB"),
        }
        for file, (case, figure, title, unit) in drawn.items():
            if case in self.figures:
                values = {name: self.middle(case, name, figure) for name in self.figures[case]}
                logarithmic = unit == "us" and len(values) > 3
                (folder / f"{file}.svg").write_text(plots.bars(title, values, unit, logarithmic=logarithmic))
        lines = {
            "latency": ("guarded.over", "A guarded answer: time over the model's 200 ms, by share of requests"),
            "first-token": (
                "first_token.over",
                "First cleared token: time over the model's 200 ms, by share of requests",
            ),
            "refusal": ("refused.over", "A refusal: time over the guard's 50 ms, by share of requests"),
        }
        for file, (key, title) in lines.items():
            if key in self.spreads:
                (folder / f"{file}.svg").write_text(plots.shares(title, self.spreads[key], "ms"))

    def reached(self, goal: str) -> bool:
        """A goal such as `plain.us_request Outrider <= 0.6 floor`; the last name may be missing, names have `_` for spaces."""
        what, name, _, factor, *other = goal.split()
        case, figure = what.split(".")
        got = self.middle(case, name.replace("_", " "), figure)
        base = self.middle(case, other[0].replace("_", " "), figure) if other else 1.0
        well = got <= float(factor) * base
        sys.stdout.write(f"{'reached' if well else 'MISSED'}: {goal} ({got / base:.2f})\n")
        return well


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks/compare", description=(__doc__ or "").split("\n\n", maxsplit=1)[0]
    )
    parser.add_argument("--cases", default=",".join(case.key for case in CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--without-peers", action="store_true", help="neither nginx nor LiteLLM")
    parser.add_argument("--plots", type=Path, help="write the plots into this folder")
    parser.add_argument("--json", type=Path, help="write all figures into this file")
    parser.add_argument("--goal", action="append", default=[], help="CASE.FIGURE GATEWAY <= FACTOR [GATEWAY]")
    args = parser.parse_args()
    wanted = [case for case in CASES if case.key in args.cases.split(",")]
    comparison = Comparison()
    with tempfile.TemporaryDirectory(prefix="outrider-compare-") as folder:
        stand = Stand(Path(folder))
        try:
            stand.start_upstream()
            taking_part = [
                one for one in gateways(peers=not args.without_peers) if any(case.key in one.cases for case in wanted)
            ]
            for gateway in taking_part:
                stand.start(gateway)
            for case in wanted:
                able = [gateway for gateway in taking_part if case.key in gateway.cases]
                comparison.run(stand, case, able, args.rounds, args.seconds)
                sys.stdout.write(comparison.table(case))
                sys.stdout.flush()
        finally:
            stand.close()
    if args.plots is not None:
        comparison.draw(args.plots)
    if args.json is not None:
        args.json.write_bytes(orjson.dumps(comparison.figures, option=orjson.OPT_INDENT_2))
    missed = [goal for goal in args.goal if not comparison.reached(goal)]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
