"""How well a local check tells labelled texts apart: precision, recall, false positives, for each source."""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gateway.checks import KINDS
from gateway.checks.base import Check
from gateway.cli.plot import curve, recall_at, roc
from gateway.cli.progress import Progress
from gateway.core.terms import Passage, Place
from gateway.policy.load import PolicyError, load_policies


class Unusable(Exception):
    """An argument or a line that cannot be used."""


@dataclass
class Counts:
    """What came of the texts of one source."""

    hit: int = 0  # positive, and found
    missed: int = 0
    false: int = 0  # negative, and found all the same
    clear: int = 0
    scores: list[tuple[float, bool]] = field(default_factory=list)
    seconds: float = 0.0
    characters: int = 0

    def add(self, *, positive: bool, found: bool, score: float | None) -> None:
        if positive:
            self.hit, self.missed = self.hit + found, self.missed + (not found)
        else:
            self.false, self.clear = self.false + found, self.clear + (not found)
        if score is not None:
            self.scores.append((score, positive))

    def figures(self) -> dict[str, Any]:
        precision = _part(self.hit, self.hit + self.false)
        recall = _part(self.hit, self.hit + self.missed)
        points = curve(self.scores)
        both = precision is not None and recall is not None and precision + recall > 0
        return {
            "texts": self.hit + self.missed + self.false + self.clear,
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall) if both and precision and recall else None,
            "false_positive_rate": _part(self.false, self.false + self.clear),
            "roc_auc": auc(self.scores),
            "recall_at_1%": recall_at(points, 0.01),
            "recall_at_0.1%": recall_at(points, 0.001),
            "ms_per_kb": self.seconds * 1000 / (self.characters / 1024) if self.characters else None,
        }


def _part(count: int, whole: int) -> float | None:
    return count / whole if whole else None


def auc(scores: Sequence[tuple[float, bool]]) -> float | None:
    """How often a positive text has the higher score, ties counted half; None without both kinds."""
    positives = sum(positive for _, positive in scores)
    negatives = len(scores) - positives
    if not positives or not negatives:
        return None
    ranks = 0.0
    ordered = sorted(scores)
    place = 0
    while place < len(ordered):
        last = place
        while last < len(ordered) and ordered[last][0] == ordered[place][0]:
            last += 1
        middle = (place + 1 + last) / 2
        ranks += middle * sum(positive for _, positive in ordered[place:last])
        place = last
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="JSON lines, also gzipped: text, and positive (or label: 0, 1), source")
    parser.add_argument("--check", required=True, help="a kind, or policy.check with --policies")
    parser.add_argument("--policies", type=Path, help="a folder or file that holds the check")
    parser.add_argument("--settings", default="{}", help="settings of the kind, as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the ROC curve of a check that scores")
    parser.add_argument("--place", default="user", choices=sorted(map(str, Place)), help="where the texts stand")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """0: figures told; 2: the data, the check or its settings cannot be used."""
    try:
        check = check_of(args)
        rows = rows_of(args.data)
        by_source = judged(check, rows, Place(args.place))
        if args.plot is not None:
            draw(args.plot, args.check, by_source["all"])
    except (Unusable, PolicyError) as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    told = {name: counts.figures() for name, counts in by_source.items()}
    if args.json:
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(_table(told))
    return 0


def draw(path: Path, title: str, counts: Counts) -> None:
    """The ROC curve of all texts. Raises Unusable."""
    points = curve(counts.scores)
    if path.suffix != ".svg":
        raise Unusable("--plot writes SVG; name a file that ends in .svg")
    if not points:
        raise Unusable("--plot needs a check that scores, and texts of both kinds")
    rate, recall = _part(counts.false, counts.false + counts.clear), _part(counts.hit, counts.hit + counts.missed)
    works_at = None if rate is None or recall is None else (rate, recall)
    try:
        path.write_text(roc(title, points, works_at), encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}") from None


def check_of(args: argparse.Namespace) -> Check:
    check: Check
    if args.policies is not None:
        named = {
            f"{p.name}.{e.name}": e.check
            for p in load_policies(args.policies, tested=False).policies
            for e in p.entries.values()
        }
        if args.check not in named:
            raise Unusable(f"there is no check '{args.check}' (known: {', '.join(sorted(named))})")
        check = named[args.check]
    else:
        kind = KINDS.get(args.check)
        if kind is None:
            raise Unusable(f"there is no kind of check '{args.check}'")
        try:
            check = kind.model_validate({"use": args.check, **orjson.loads(args.settings)})
        except ValueError as error:
            raise Unusable(f"--settings: {error}") from None
    if not check.local:
        raise Unusable(f"'{args.check}' asks a model; only local checks are evaluated here")
    return check


def rows_of(path: Path) -> list[tuple[str, bool, str]]:
    """(text, positive, source) of every line."""
    try:
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Unusable(f"{path}:{number}: not valid JSON: {error}") from None
        positive = one.get("positive", one.get("label")) if isinstance(one, dict) else None
        if positive not in (True, False) or not isinstance(one.get("text"), str):
            raise Unusable(f"{path}:{number}: needs 'text' and 'positive'")
        rows.append((one["text"], bool(positive), str(one.get("source", "-"))))
    if not rows:
        raise Unusable(f"{path}: holds no text")
    return rows


def judged(check: Check, rows: Sequence[tuple[str, bool, str]], place: Place) -> dict[str, Counts]:
    by_source: dict[str, Counts] = {"all": Counts()}
    with Progress("texts", len(rows)) as progress:
        for number, (text, positive, source) in enumerate(rows, 1):
            started = time.perf_counter()
            said = check.judge([Passage("text", place, text)])
            took = time.perf_counter() - started
            for counts in (by_source["all"], by_source.setdefault(source, Counts())):
                counts.add(positive=positive, found=said.hit, score=said.score)
                counts.seconds += took
                counts.characters += len(text)
            progress.at(number)
    return by_source


def _table(told: dict[str, dict[str, Any]]) -> str:
    names = list(next(iter(told.values())))
    lines = [["source", *names], *([source, *(_shown(figures[n]) for n in names)] for source, figures in told.items())]
    widths = [max(len(line[n]) for line in lines) for n in range(len(names) + 1)]
    return "".join(_joined(line, widths) for line in lines)


def _joined(line: Iterable[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n"


def _shown(value: Any) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
