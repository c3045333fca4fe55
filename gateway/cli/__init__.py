"""The `outrider` command: one file for each of its words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gateway import __version__
from gateway.cli import (
    audit,
    calibrate,
    check,
    demo,
    eval,  # noqa: A004
    import_,
    keys,
    replay,
    replay_votes,
    scan,
    schema,
    serve,
    test,
)
from gateway.settings import unknown_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 found something, 2 used wrongly."""
    parser = argparse.ArgumentParser(
        prog="outrider", description="An OpenAI-compatible gateway that checks while it answers."
    )
    parser.add_argument("--version", action="version", version=f"outrider {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (serve, check, test, scan, eval, calibrate, import_, audit, replay, replay_votes, keys, schema, demo):
        name = module.__name__.rpartition(".")[2].rstrip("_").replace("_", " ")  # import_: a word of Python
        said = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=said, description=said)
        module.arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(_joined(sys.argv[1:] if argv is None else argv))
    for warning in unknown_settings():
        sys.stderr.write(f"outrider: warning: {warning}\n")
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130


def _joined(words: Sequence[str]) -> list[str]:
    """`replay votes` is one command."""
    return ["replay votes", *words[2:]] if list(words[:2]) == ["replay", "votes"] else list(words)
