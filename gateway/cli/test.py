"""Run the tests that stand in the policies: plain and streamed, offline."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import orjson

from gateway.cli.files import offline
from gateway.policy import trial
from gateway.policy.load import BUILT_IN, PolicyError, load_policies
from gateway.policy.model import Policy, Trial
from gateway.policy.trial import Failure
from gateway.settings import SettingsError, load_settings

LONGEST = 400  # characters of a text that are shown


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "policies",
        nargs="?",
        type=Path,
        help="a folder or file; default: OUTRIDER_POLICIES, else ./policies, else the built-in baseline",
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the outcome for a build server")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """0: all pass; 1: a test fails; 2: a policy cannot be read."""
    try:
        path = args.policies or offline(load_settings())
        policies = load_policies(path, tested=False, keyless=True).policies
    except (SettingsError, PolicyError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if path == BUILT_IN:
        sys.stderr.write("There is no folder ./policies here: the built-in baseline is tested.\n")
    started = time.monotonic()
    played = [(policy, one, failures) for policy in policies for one, failures in _played(policy)]
    took = time.monotonic() - started
    failed = sum(bool(failures) for _, _, failures in played)
    if args.json:
        rows = [
            {
                "policy": p.name,
                "test": _name(t),
                "passed": not f,
                "failures": [one.message for one in f],
                "details": [asdict(one) for one in f],
            }
            for p, t, f in played
        ]
        sys.stdout.write(orjson.dumps({"tests": rows, "failed": failed}, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        for policy, one, failures in played:
            sys.stdout.write(f"{'FAIL' if failures else 'ok  '}  {policy.name}: {_name(one)}\n")
            sys.stdout.write("".join(f"      {line}\n" for line in _diff(failures)))
        sys.stdout.write(f"{len(played)} tests, {failed} failed, {took:.2f} s\n")
    if args.junit is not None:
        args.junit.write_text(_junit(played), encoding="utf-8")
    return 1 if failed else 0


def _played(policy: Policy) -> list[tuple[Trial, list[Failure]]]:
    return [(policy.head.tests[number], failures) for number, failures in trial.results(policy).items()]


def _diff(failures: Sequence[Failure]) -> Iterator[str]:
    """What was expected and what there was; below it, once, all that happened on that way."""
    if not failures:
        return
    first = failures[0]
    if not first.way:
        yield first.message  # it could not be played
        return
    yield f"{first.way}:"
    for failure in failures:
        yield f"- {failure.expected}"
        yield f"+ {failure.got}"
    width = max((len(name) for name in first.checks), default=0)
    yield from (f"  {name.ljust(width)}  {said}" for name, said in first.checks.items())
    client = None if first.client is None else json.dumps(first.client, ensure_ascii=False)
    yield f"  upstream got  {_clipped(first.upstream, 'nothing: it was not asked')}"
    yield f"  client got    {_clipped(client, 'nothing of the answer')}"


def _clipped(said: str | None, none: str) -> str:
    if said is None:
        return none
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 3]}..."


def _name(one: Trial) -> str:
    said = one.name or one.say or (f"reply {_reply(one)}" if one.messages is None else "a conversation")
    return said if len(said) <= 70 else f"{said[:67]}..."


def _reply(one: Trial) -> str:
    calls = [f"a call of {call.called['name']}" for call in one.reply.tool_calls]
    texts = [repr(one.reply.content)] if one.reply.content is not None else []
    return ", ".join(texts + calls) or "nothing"


def _junit(played: list[tuple[Policy, Trial, list[Failure]]]) -> str:
    failed = sum(bool(failures) for _, _, failures in played)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="outrider" tests="{len(played)}" failures="{failed}">',
    ]
    for policy, one, failures in played:
        lines.append(f"  <testcase classname={quoteattr(policy.name)} name={quoteattr(_plain(_name(one)))}>")
        if failures:
            told = "\n".join(_diff(failures))
            lines.append(
                f"    <failure message={quoteattr(_plain(failures[0].message))}>{escape(_plain(told))}</failure>"
            )
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>", ""])


def _plain(text: str) -> str:
    """Without the characters that XML cannot say."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
