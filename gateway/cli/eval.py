"""How well a check tells labelled texts apart, for each source, and finds the values in them, for each entity."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gateway.checks import KINDS
from gateway.checks.base import Check
from gateway.cli.asking import Asking, Said, judged_here
from gateway.cli.entities import Entities
from gateway.cli.labelled import Gold, Row, Unusable, rows_of
from gateway.cli.plot import curve, recall_at, roc
from gateway.core.terms import Place
from gateway.policy.load import PolicyError, load_policies
from gateway.server.spending import Spent


@dataclass
class Counts:
    """What came of the texts of one source."""

    entities: Entities
    hit: int = 0  # positive, and found
    missed: int = 0
    false: int = 0  # negative, and found all the same
    clear: int = 0
    failed: int = 0
    scores: list[tuple[float, bool]] = field(default_factory=list)
    took: list[float] = field(default_factory=list)  # seconds
    characters: int = 0

    @property
    def texts(self) -> int:
        return self.hit + self.missed + self.false + self.clear + self.failed

    def add(self, said: Said) -> None:
        row, judgement = said.row, said.judgement
        if judgement is None:
            self.failed += 1
            return
        self.took.append(said.seconds)
        self.characters += len(row.text)
        if row.positive:
            self.hit, self.missed = self.hit + judgement.hit, self.missed + (not judgement.hit)
        else:
            self.false, self.clear = self.false + judgement.hit, self.clear + (not judgement.hit)
        if judgement.score is not None:
            self.scores.append((judgement.score, row.positive))
        if row.spans is not None:
            self.entities.add(row.spans, [Gold(s.start, s.end, s.category) for s in judgement.spans])

    def figures(self) -> dict[str, Any]:
        precision = _part(self.hit, self.hit + self.false)
        recall = _part(self.hit, self.hit + self.missed)
        points = curve(self.scores)
        both = precision is not None and recall is not None and precision + recall > 0
        return {
            "texts": self.texts,
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall) if both and precision and recall else None,
            "false_positive_rate": _part(self.false, self.false + self.clear),
            "roc_auc": auc(self.scores),
            "recall_at_1%": recall_at(points, 0.01),
            "recall_at_0.1%": recall_at(points, 0.001),
            "ms_per_kb": sum(self.took) * 1000 / (self.characters / 1024) if self.characters else None,
            "ms_median": statistics.median(self.took) * 1000 if self.took else None,
            "ms_p95": sorted(self.took)[int(0.95 * (len(self.took) - 1))] * 1000 if self.took else None,
            "failed": self.failed,
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
    parser.add_argument("data", type=Path, help="JSON lines, also gzipped: text, positive, source, spans")
    parser.add_argument("--check", required=True, help="a kind, or policy.check with --policies")
    parser.add_argument("--policies", type=Path, help="a folder or file that holds the check")
    parser.add_argument("--settings", default="{}", help="settings of the kind, as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the ROC curve of a check that scores")
    parser.add_argument("--place", default="user", choices=sorted(map(str, Place)), help="where the texts stand")
    parser.add_argument("--live", action="store_true", help="ask the models of the house, or the service")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for each text, with --live")
    parser.add_argument("--at-once", type=int, default=8, help="texts at a time, with --live")
    parser.add_argument(
        "--entities", default="{}", help="as JSON: what the data calls an entity -> what the check does"
    )
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """0: figures told; 2: the data, the check or its settings cannot be used."""
    spent = Spent()
    try:
        check, rows, names = check_of(args), rows_of(args.data), _pairs(args.entities)
        counted = by_source(told_of(args, check, rows, spent), names)
        if args.plot is not None:
            draw(args.plot, args.check, counted["all"])
    except (Unusable, PolicyError) as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    told = {name: counts.figures() for name, counts in counted.items()}
    values = {name: counts.entities.figures() for name, counts in counted.items()} if check.can_rewrite else {}
    if args.json:
        joined = {name: {**figures, "entities": values.get(name) or None} for name, figures in told.items()}
        sys.stdout.write(orjson.dumps(joined, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(_table("source", told) + (_table("\nentity", values["all"]) if values.get("all") else ""))
    _tell(spent)
    return 0


def _tell(spent: Spent) -> None:
    if spent.tokens:
        tokens = ", ".join(f"{name} {count}" for name, count in sorted(spent.tokens.items()))
        dollars = "" if spent.usd is None else f"; {spent.usd:.4f} USD"
        sys.stderr.write(f"outrider: spent: {tokens}{dollars}\n")


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
    """The check that is named. Raises Unusable, PolicyError."""
    check = _of_policy(args) if args.policies is not None else _of_settings(args)
    if not check.local and not args.live:
        raise Unusable(f"'{args.check}' asks a model or a service; --live asks it")
    return check


def _of_policy(args: argparse.Namespace) -> Check:
    loaded = load_policies(args.policies, tested=False, keyless=not args.live).policies
    named = {f"{policy.name}.{entry.name}": entry for policy in loaded for entry in policy.entries.values()}
    if args.check not in named:
        raise Unusable(f"there is no check '{args.check}' (known: {', '.join(sorted(named))})")
    return named[args.check].check


def _of_settings(args: argparse.Namespace) -> Check:
    kind = KINDS.get(args.check)
    if kind is None:
        raise Unusable(f"there is no kind of check '{args.check}'")
    try:
        return kind.model_validate({"use": args.check, **orjson.loads(args.settings)})
    except (ValueError, TypeError) as error:
        raise Unusable(f"--settings: {error}") from None


def told_of(args: argparse.Namespace, check: Check, rows: Sequence[Row], spent: Spent) -> Iterable[Said]:
    """What the check says of every text. Raises Unusable."""
    place = Place(args.place)
    if check.local:
        return judged_here(check, rows, place)
    if args.timeout <= 0 or args.at_once < 1:
        raise Unusable("--timeout is above 0, --at-once at least 1")
    return Asking(place, args.timeout, args.at_once, spent).judged(check, rows)


def by_source(told: Iterable[Said], names: Mapping[str, str]) -> dict[str, Counts]:
    """The counts of all texts and of each source. Raises Unusable where no text was judged."""
    counted = {"all": Counts(Entities(names))}
    why: Counter[str] = Counter()
    for said in told:
        why.update([said.why] if said.judgement is None else [])
        for name in ("all", said.row.source):
            counted.setdefault(name, Counts(Entities(names))).add(said)
    if why:
        sys.stderr.write("outrider: failed: " + ", ".join(f"{note} ({n})" for note, n in why.most_common()) + "\n")
    if counted["all"].failed == sum(why.values()) == counted["all"].texts:
        raise Unusable("the check gave no verdict on any text")
    return counted


def _pairs(text: str) -> dict[str, str]:
    try:
        pairs = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unusable(f"--entities: {error}") from None
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise Unusable("--entities is a JSON object of names")
    return pairs


def _table(head: str, told: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(next(iter(told.values())))
    lines = [[head, *names], *([source, *(_shown(figures[n]) for n in names)] for source, figures in told.items())]
    widths = [max(len(line[n]) for line in lines) for n in range(len(names) + 1)]
    return "".join(_joined(line, widths) for line in lines)


def _joined(line: Iterable[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n"


def _shown(value: Any) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
