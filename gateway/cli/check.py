"""Load the configuration and the policies, and say what they would do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from gateway.cli.files import policies_for
from gateway.config.load import ConfigError, load_house
from gateway.config.model import House
from gateway.core.terms import Side, Watch
from gateway.policy.load import load_policies
from gateway.policy.model import PolicySet
from gateway.policy.plan import Plan, bound, plan, wait
from gateway.server.upstreams import scripts
from gateway.settings import Settings, SettingsError, load_settings
from gateway.wire.endpoints import NAMES
from gateway.yamlfile import FileError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("policies", nargs="?", type=Path, help="a folder or file; default: as `serve` takes them")
    parser.add_argument("--model", default="any-model", help="the plan for this model name")
    parser.add_argument("--endpoint", default="chat", choices=sorted(NAMES), help="the plan for this endpoint")
    parser.add_argument("--json", action="store_true", help="the plan as JSON")


def run(args: argparse.Namespace) -> int:
    """0: everything can act; 2: something cannot, each mistake on a line of its own."""
    try:
        settings = load_settings()
        house, policies = _load(settings, args.policies)
    except (SettingsError, FileError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for trap in house.traps() if house else ():
        sys.stderr.write(f"warning: {trap}\n")
    planned = plan(policies, models=_names(args.model, house), endpoint=args.endpoint)
    rows = [_row(watch, planned) for watch in planned.watches]
    if args.json:
        said = {"model": args.model, "policies": planned.policies, "block_as": planned.block_as, "checks": rows}
        sys.stdout.write(orjson.dumps(said, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(_table(args.model, planned, rows))
    return 0


def _names(model: str, house: House | None) -> tuple[str, ...]:
    """The name, and every name of the models behind it."""
    if house is None:
        return (model,)
    fan = house.fans.get(model)
    behind = fan.strategy.models().values() if fan is not None else (model,)
    routes = [(name, route.model) for name in behind if (route := house.route(name)) is not None]
    return tuple(dict.fromkeys([model, *(name for pair in routes for name in pair)]))


def _load(settings: Settings, path: Path | None) -> tuple[House | None, PolicySet]:
    """Policies given by path are checked without a house when there is none."""
    try:
        house = load_house(settings)
        scripts(house)
    except ConfigError:
        if path is None or settings.config is not None or Path("outrider.yaml").exists():
            raise
        return None, load_policies(path)
    if path is None:
        return house, policies_for(settings, house)
    return house, load_policies(path, known_model=lambda name: house.route(name) is not None)


def _row(watch: Watch, planned: Plan) -> dict[str, Any]:
    when = f"{watch.when} the call" if watch.side is Side.INPUT else f"{watch.lane} lane"
    if not watch.gates:
        when = "aside, nobody waits"
    does = "shadow" if watch.shadow else str(watch.action.name).lower()
    return {
        "check": watch.name,
        "kind": planned.checks[watch.name].use,
        "side": str(watch.side),
        "when": when,
        "does": does,
        "deadline_s": watch.timeout,
        "on_error": "allow" if watch.fails_open else "block",
        "out_before_block": bound(watch),
        "waits": wait(watch),
    }


def _table(model: str, planned: Plan, rows: list[dict[str, Any]]) -> str:
    head = f"Plan for model '{model}': {', '.join(planned.policies) or 'no policy matches'}; a block is told as {planned.block_as}.\n"
    if not rows:
        return head
    names = list(rows[0])
    widths = [max(len(name), *(len(str(row[name])) for row in rows)) for name in names]
    lines = [[*names], *([str(row[name]) for name in names] for row in rows)]
    return head + "".join(
        "  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )
