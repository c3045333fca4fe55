"""The threshold of a check that scores texts, for a share of one's own ordinary texts that may be hits."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

import orjson

from gateway.cli.eval import arguments as of_eval
from gateway.cli.eval import by_source, check_of, told_of
from gateway.cli.labelled import Unusable, rows_of
from gateway.policy.load import PolicyError
from gateway.server.spending import Spent


def arguments(parser: argparse.ArgumentParser) -> None:
    of_eval(parser)
    parser.add_argument("--fpr", type=float, default=0.01, help="share of ordinary texts that may be hits")


def run(args: argparse.Namespace) -> int:
    """0: a threshold is told; 2: the data, the check or its settings cannot be used."""
    try:
        scores = _scores(args)
    except (Unusable, PolicyError) as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    ordinary = [score for score, positive in scores if not positive]
    threshold = threshold_of(ordinary, args.fpr)
    found = [score >= threshold for score, positive in scores if positive]
    told = {
        "threshold": threshold,
        "false_positive_rate": sum(score >= threshold for score in ordinary) / len(ordinary),
        "ordinary_texts": len(ordinary),
        "recall": sum(found) / len(found) if found else None,
    }
    if args.json:
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    sys.stdout.write(f"threshold: {threshold}\n")
    sys.stdout.write(f"{told['false_positive_rate']:.2%} of {len(ordinary)} ordinary texts are hits with it.\n")
    if found:
        sys.stdout.write(f"{told['recall']:.2%} of {len(found)} texts that should be hits are.\n")
    return 0


def _scores(args: argparse.Namespace) -> list[tuple[float, bool]]:
    """(score, positive) of every text. Raises Unusable."""
    if not 0 < args.fpr < 1:
        raise Unusable("--fpr is a share between 0 and 1")
    told = told_of(args, check_of(args), rows_of(args.data), Spent())
    scores = by_source(told, {})["all"].scores
    if not scores:
        raise Unusable(f"'{args.check}' gives no scores, so it has no threshold")
    ordinary, least = sum(not positive for _, positive in scores), math.ceil(1 / args.fpr)
    if ordinary < least:
        raise Unusable(f"{args.data}: holds {ordinary} ordinary texts; for --fpr {args.fpr} it takes {least}")
    return scores


def threshold_of(ordinary: Sequence[float], rate: float) -> float:
    """The least threshold, in steps of 0.0001, that at most this share of the scores reaches."""
    allowed = int(rate * len(ordinary))
    reached = sorted(ordinary, reverse=True)[allowed]
    return round(math.floor(reached * 10_000 + 1e-6) / 10_000 + 0.0001, 4)
