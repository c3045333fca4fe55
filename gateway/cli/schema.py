"""Print the JSON Schema of a policy file, for editors."""

from __future__ import annotations

import argparse
import sys

import orjson

from gateway.policy.schema import schema


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Kinds of installed packages are in it as well."


def run(_args: argparse.Namespace) -> int:
    sys.stdout.buffer.write(orjson.dumps(schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 0
