"""Replay recorded answers: what a vote of models would have been worth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from gateway.cli import votes
from gateway.cli.progress import Progress
from gateway.cli.votes import Recorded
from gateway.core.ballot import Reading


class Unreadable(Exception):
    """A line of the file that says nothing of use."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="JSON lines: id, truth, ballots: {model: answer}")
    parser.add_argument("--read-as", choices=["auto", *votes.KINDS], default="auto", help="how answers are read")
    parser.add_argument("--tolerance", type=float, default=0.01, help="numbers that differ by no more are the same")
    parser.add_argument("--size", type=int, default=5, help="members of a panel")
    parser.add_argument("--ranks", default="1-10", help="panels of these, by accuracy: 6-12")
    parser.add_argument("--panel", action="append", default=[], metavar="A,B,C", help="this panel; may be given again")
    parser.add_argument("--cascade", action="append", default=[], metavar="A,B,C:D", help="A, B and C must agree, or D")
    parser.add_argument("--target", type=float, default=0.9, help="accuracy that an agreement is to have")
    parser.add_argument("--calibration", type=Path, help="write what the `calibration` of a vote reads")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")


def run(args: argparse.Namespace) -> int:
    """0: figures told; 2: the file or an argument cannot be used."""
    try:
        records = _records(args.file)
        told = _figures(args, records)
    except Unreadable as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    if args.json:
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(_shown(told))
    return 0


def _records(path: Path) -> list[Recorded]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from None
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Unreadable(f"{path}:{number}: not valid JSON: {error}") from None
        if not isinstance(one, dict) or "truth" not in one or not isinstance(one.get("ballots"), dict):
            raise Unreadable(f"{path}:{number}: needs 'truth' and 'ballots'")
        ballots = {str(name): None if said is None else str(said) for name, said in one["ballots"].items()}
        records.append(Recorded(str(one["truth"]), ballots))
    if not records:
        raise Unreadable(f"{path}: holds no question")
    return records


def _figures(args: argparse.Namespace, records: list[Recorded]) -> dict[str, Any]:
    kind = votes.kind_of(records) if args.read_as == "auto" else args.read_as
    reading = Reading(kind, select="whole", absolute=args.tolerance)
    with Progress("questions", len(records)) as progress:
        answers = votes.grouped(records, reading, progress.at)
    pool = _ranked(args.ranks, answers.models)
    some = [tuple(_known(one, answers.models)) for one in args.panel] or list(
        votes.panels(pool, min(args.size, len(pool)))
    )
    judged = []
    with Progress("panels", len(some)) as progress:
        for number, members in enumerate(some, 1):
            judged.append(votes.judged(answers, members))
            progress.at(number)
    rows = votes.agreements(answers, some)
    advised = votes.advice(answers, some, args.target)
    if args.calibration is not None and advised is not None:
        own = votes.agreements(answers, [advised.panel])
        _write(args.calibration, votes.calibration(answers, advised.panel, own))
    return {
        "questions": answers.questions,
        "read_as": kind,
        "members": [
            {"model": name, "accuracy": round(answers.accuracy(name), 4), "rank": rank}
            for rank, name in enumerate(answers.models, 1)
        ],
        "panels": _summed(judged),
        "best_panels": [one._asdict() for one in sorted(judged, key=lambda one: -one.vote)[:5]],
        "agreement": [row._asdict() for row in rows],
        "cascades": [_cascade(one, answers)._asdict() for one in args.cascade],
        "advice": advised._asdict() if advised is not None else None,
    }


def _ranked(ranks: str, models: tuple[str, ...]) -> tuple[str, ...]:
    first, _, last = ranks.partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or int(first) < 1:
        raise Unreadable(f"--ranks {ranks}: write for example 6-12")
    return models[int(first) - 1 : int(last or first)]


def _known(listed: str, models: tuple[str, ...]) -> list[str]:
    names = [name.strip() for name in listed.split(",")]
    for name in names:
        if name not in models:
            raise Unreadable(f"there is no model '{name}' in the file")
    return names


def _cascade(listed: str, answers: votes.Answers) -> votes.Cascade:
    members, _, then = listed.rpartition(":")
    if not members:
        raise Unreadable(f"--cascade {listed}: write for example A,B,C:D")
    return votes.cascade(answers, _known(members, answers.models), _known(then, answers.models)[0])


def _summed(judged: list[votes.Panel]) -> dict[str, Any]:
    n = max(1, len(judged))
    return {
        "count": len(judged),
        "size": len(judged[0].members) if judged else 0,
        "mean_member": sum(one.mean for one in judged) / n,
        "best_member": sum(one.best for one in judged) / n,
        "vote": sum(one.vote for one in judged) / n,
        "vote_beats_best": sum(one.vote > one.best for one in judged),
        "correlation": sum(one.correlation for one in judged) / n,
        "effective_votes": sum(one.effective for one in judged) / n,
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from None


def _shown(told: dict[str, Any]) -> str:
    lines = [f"{told['questions']} questions, answers read as {told['read_as']}", "", "Members"]
    lines += [f"  {one['rank']:3}  {one['accuracy']:.3f}  {one['model']}" for one in told["members"]]
    panels = told["panels"]
    lines += [
        "",
        f"Panels of {panels['size']} ({panels['count']})",
        f"  mean member       {panels['mean_member']:.3f}",
        f"  best member       {panels['best_member']:.3f}",
        f"  vote              {panels['vote']:.3f}   beats its best member in {panels['vote_beats_best']} of {panels['count']}",
        f"  error correlation {panels['correlation']:.2f}",
        f"  effective votes   {panels['effective_votes']:.2f}",
        "",
        "How often an agreement is right (95 % bounds)",
    ]
    lines += [
        f"  {row['votes']}/{row['of']}  {row['accuracy']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]  of {row['n']}"
        for row in told["agreement"]
    ]
    for one in told["cascades"]:
        lines += ["", f"Cascade {', '.join(one['members'])}, else {one['then']}"]
        lines += [f"  right {one['accuracy']:.3f}, escalated {one['escalated']:.1%}"]
    advised = told["advice"]
    if advised is not None:
        threshold = "no agreement is" if advised["threshold"] is None else f"{advised['threshold']} votes are"
        lines += [
            "",
            f"Advice: {', '.join(advised['panel'])}",
            f"  chosen on every other question ({advised['chosen_on']:.3f}), on the rest {advised['held_out']:.3f}",
            f"  {threshold} right at least {advised['target']:.0%} of the time (lower bound)",
        ]
    return "\n".join(lines) + "\n"
