"""The `outrider` command: one file for each of its words."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from gateway import __version__

COMMANDS = {
    "serve": "serve",
    "check": "check",
    "test": "test",
    "scan": "scan",
    "eval": "eval",
    "calibrate": "calibrate",
    "import": "import_",
    "audit": "audit",
    "replay": "replay",
    "replay votes": "replay_votes",
    "keys": "keys",
    "schema": "schema",
    "demo": "demo",
}  # word -> file


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 found something, 2 used wrongly."""
    with _for_good():
        settings = import_module("gateway.settings")
        args = _read(_joined(sys.argv[1:] if argv is None else argv))
    for warning in settings.unknown_settings():
        sys.stderr.write(f"outrider: warning: {warning}\n")
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130


def _read(words: Sequence[str]) -> argparse.Namespace:
    """The command's own arguments, with what runs it."""
    parser = argparse.ArgumentParser(
        prog="outrider", description="An OpenAI-compatible gateway that checks while it answers."
    )
    parser.add_argument("--version", action="version", version=f"outrider {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in (
        words[:1] if words[:1] and words[0] in COMMANDS else COMMANDS
    ):  # a server need not carry the other tools
        module = import_module(f"gateway.cli.{COMMANDS[name]}")
        said = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=said, description=said)
        module.arguments(command)
        command.set_defaults(run=module.run)
    return parser.parse_args(words)


@contextmanager
def _for_good() -> Iterator[None]:
    """What is imported stays: the collector looks at it neither now, which would be a tenth of a start, nor later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _joined(words: Sequence[str]) -> list[str]:
    """`replay votes` is one command."""
    return ["replay votes", *words[2:]] if list(words[:2]) == ["replay", "votes"] else list(words)
