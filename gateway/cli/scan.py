"""What the local checks of the policies say of a text, with the places of their hits."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from gateway.checks.base import Check
from gateway.cli.files import offline
from gateway.core.terms import Passage, Place
from gateway.policy.load import PolicyError, load_policies
from gateway.policy.model import Entry, Policy
from gateway.settings import SettingsError, load_settings


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", default="-", help="the text; - or nothing: standard input")
    parser.add_argument(
        "--policies",
        type=Path,
        help="a folder or file; default: OUTRIDER_POLICIES, else ./policies, else the built-in baseline",
    )
    parser.add_argument("--place", default="user", choices=sorted(map(str, Place)), help="where the text stands")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """0: nothing hits; 1: something does; 2: the policies cannot be read."""
    try:
        path = args.policies or offline(load_settings())
        policies = load_policies(path, tested=False, keyless=True).policies
    except (SettingsError, PolicyError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    text = sys.stdin.read() if args.text == "-" else args.text
    place = Place(args.place)
    rows = [
        _row(policy, entry, Passage("text", place, text)) for policy in policies for entry in policy.entries.values()
    ]
    if args.json:
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        for row in rows:
            sys.stdout.write(_line(row, text))
    return 1 if any(row["verdict"] == "hit" for row in rows) else 0


def _row(policy: Policy, entry: Entry, passage: Passage) -> dict[str, Any]:
    said: dict[str, Any] = {
        "check": f"{policy.name}.{entry.name}",
        "kind": entry.check.use,
        "does": entry.common.do,
        "hits": [],
    }
    if passage.place not in entry.places:
        return {**said, "verdict": "does not read this place"}
    if not entry.check.local:
        return {**said, "verdict": "not asked: it asks a model"}
    judged = entry.check.judge([passage])
    if judged.score is not None:
        said["score"] = judged.score
    hits = _hits(entry.check, passage) if judged.hit else []
    return {**said, "verdict": "hit" if judged.hit else "clear", "categories": list(judged.categories), "hits": hits}


def _hits(check: Check, passage: Passage) -> list[dict[str, Any]]:
    if not check.can_rewrite:
        return []
    spans = check.find([passage]).spans
    return [{"start": s.start, "end": s.end, "category": s.category} for s in sorted(spans, key=lambda s: s.start)]


def _line(row: dict[str, Any], text: str) -> str:
    named = ", ".join(dict.fromkeys(row.get("categories", ())))
    score = f"  score {row['score']:.3f}" if "score" in row else ""
    lines = [f"{row['check']} ({row['kind']}, {row['does']}): {row['verdict']}{f' ({named})' if named else ''}{score}"]
    lines += [f"  {hit['start']}-{hit['end']}  {hit['category']}  {_shown(text, hit)}" for hit in row["hits"]]
    return "\n".join(lines) + "\n"


def _shown(text: str, hit: dict[str, Any]) -> str:
    """The hit between marks, with a little around it, on one line."""
    start, end = hit["start"], hit["end"]
    around = f"{text[max(0, start - 20) : start]}>>>{text[start:end]}<<<{text[end : end + 20]}"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in around)
