"""What the local kinds find and cost: on labelled texts if a folder has them, and in time on ordinary text.

    python benchmarks/kinds.py [FOLDER]

FOLDER holds secrets.jsonl.gz (text, positive) and pii.jsonl.gz (text, spans: start, end, type). Without it only
the time is told.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateway.checks.base import Check
from gateway.checks.injection import Injection
from gateway.checks.invisible import Invisible
from gateway.checks.pii import Pii
from gateway.checks.secrets import Secrets
from gateway.checks.toxicity import Toxicity
from gateway.checks.urls import Urls
from gateway.core.terms import Passage, Place

KINDS: dict[str, Check] = {"secrets": Secrets(), "pii": Pii(), "urls": Urls(), "invisible": Invisible()}
WHOLE: dict[str, Check] = {"injection": Injection(), "toxicity": Toxicity()}  # read a text whole, not as it comes
TYPES = {"EMAIL": "email", "PHONE": "phone", "CREDIT_CARD": "card", "IBAN": "iban", "US_SSN": "ssn", "IP_ADDRESS": "ip",
         "CRYPTO": "crypto"}  # fmt: skip
TEXT = (
    "On Tuesday the team met to talk about the password policy and a token of thanks for 12 colleagues. The report of "
    "2024-05-01 says that version 1.2.3 of the tool is out; see the notes. def f(x): return x + 1\n"
)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def found(check: Check, text: str) -> list[tuple[int, int, str]]:
    return [(s.start, s.end, s.category) for s in check.find([Passage("p", Place.USER, text)]).spans]


def secrets(folder: Path) -> None:
    counts: Counter[tuple[bool, bool]] = Counter()
    for row in rows(folder / "secrets.jsonl.gz"):
        counts[bool(row["positive"]), bool(found(KINDS["secrets"], row["text"]))] += 1
    hit, missed, false, clear = counts[True, True], counts[True, False], counts[False, True], counts[False, False]
    precision, recall = hit / (hit + false), hit / (hit + missed)
    print(
        f"secrets: precision {precision:.3f}, recall {recall:.3f}, F1 {2 * precision * recall / (precision + recall):.3f}, ",
        end="",
    )
    print(f"false positives {false / (false + clear):.2%}\n")


def pii(folder: Path) -> None:
    right: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for row in rows(folder / "pii.jsonl.gz"):
        spans = found(KINDS["pii"], row["text"])
        wanted = [(s["start"], s["end"], TYPES[s["type"]]) for s in row.get("spans", ()) if s["type"] in TYPES]
        for start, end, kind in wanted:
            seen = any(a < end and start < b and k == kind for a, b, k in spans)
            (right if seen else missed)[kind] += 1
        for a, b, kind in spans:
            wrong[kind] += not any(a < end and start < b and k == kind for start, end, k in wanted)
    print("| pii | texts | recall | precision |\n|---|---:|---:|---:|")
    for kind in TYPES.values():
        n = right[kind] + missed[kind]
        print(f"| {kind} | {n} | {right[kind] / n:.3f} | {right[kind] / max(1, right[kind] + wrong[kind]):.3f} |")
    print()


def median(work: Callable[[], Any], rounds: int = 30) -> float:
    """Microseconds."""
    work()
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1e6


def follow(check: Check, deltas: list[str]) -> None:
    scanner = check.scanner()
    for delta in deltas:
        scanner.feed(delta)
    scanner.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    if folder is not None:
        secrets(folder)
        pii(folder)
    whole = (TEXT * 30)[:4096]
    words = whole.split(" ")
    deltas = [" ".join(words[n : n + 5]) + " " for n in range(0, 400, 5)]
    print("| kind | 4 KB of ordinary text, us | a delta of five words, us |\n|---|---:|---:|")
    for name, check in KINDS.items():
        passages = [Passage("p", Place.USER, whole)]
        once = median(lambda check=check, passages=passages: check.judge(passages))  # type: ignore[misc]
        each = median(lambda check=check: follow(check, deltas), 5) / len(deltas)  # type: ignore[misc]
        print(f"| `{name}` | {once:.0f} | {each:.0f} |")
    for name, check in WHOLE.items():
        passages = [Passage("p", Place.USER, whole)]
        print(f"| `{name}` | {median(lambda check=check, passages=passages: check.judge(passages)):.0f} | |")  # type: ignore[misc]


if __name__ == "__main__":
    main()
