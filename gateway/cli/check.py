"""Load the configuration and the policies, and say what they would do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson

from gateway.checks.base import Check
from gateway.cli.files import policies_for
from gateway.config.load import ConfigError, load_house
from gateway.config.model import House
from gateway.core.terms import INPUT_PLACES, OUTPUT_PLACES, Side, Watch
from gateway.policy.load import load_policies
from gateway.policy.model import Policy, PolicySet
from gateway.policy.plan import Plan, bound, failing, plan, wait
from gateway.server.upstreams import scripts
from gateway.settings import Settings, SettingsError, load_settings
from gateway.wire.endpoints import NAMES
from gateway.yamlfile import FileError, did_you_mean


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("policies", nargs="?", type=Path, help="a folder or file; default: as `serve` takes them")
    parser.add_argument("--model", default="any-model", help="the plan for this model name")
    parser.add_argument("--endpoint", default="chat", choices=sorted(NAMES), help="the plan for this endpoint")
    parser.add_argument("--key", help="the plan for the client's key of this name; absent: every policy for some keys")
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
    known = [key.name for key in house.keys] if house else []
    if args.key is not None and args.key not in known:
        sys.stderr.write(f"outrider.yaml has no key '{args.key}'{did_you_mean(args.key, known)}\n")
        return 2
    planned = plan(policies, models=_names(args.model, house), endpoint=args.endpoint, key=args.key)
    rows = [_row(watch, planned, house) for watch in planned.watches]
    others = {
        policy.name: _why_not(policy, args.endpoint, args.key)
        for policy in policies.policies
        if _absent(policy, planned)
    }
    if args.json:
        said = {"model": args.model, "endpoint": args.endpoint, "policies": planned.policies, "not_for_it": others}
        said |= {"block_as": planned.block_as, "checks": rows}
        sys.stdout.write(orjson.dumps(said, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(_told(args, planned, rows, others))
    return 0


def _absent(policy: Policy, planned: Plan) -> bool:
    return policy.version not in planned.policies


def _why_not(policy: Policy, endpoint: str, key: str | None) -> str:
    """Why a policy has no part in the plan."""
    wanted = policy.head.for_
    if policy.head.mode == "disabled":
        return "disabled"
    if wanted.endpoints is not None and not any(fnmatchcase(endpoint, one) for one in wanted.endpoints):
        return f"for the endpoints {', '.join(wanted.endpoints)}"
    if wanted.keys is not None and key is not None and not any(fnmatchcase(key, one) for one in wanted.keys):
        return f"for the keys {', '.join(wanted.keys)}"
    return f"for the models {', '.join(wanted.models or ())}"


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
    keys = [key.name for key in house.keys]
    return house, load_policies(path, known_model=lambda name: house.route(name) is not None, keys=keys)


def _row(watch: Watch, planned: Plan, house: House | None) -> dict[str, Any]:
    check = planned.checks[watch.name]
    when = f"{watch.when} the call" if watch.side is Side.INPUT else f"{watch.lane} lane"
    if not watch.gates:
        when = "aside, nobody waits"
    does = "shadow" if watch.shadow else str(watch.action.name).lower()
    return {
        "check": watch.name,
        "kind": check.use,
        "side": str(watch.side),
        "reads": _places(watch),
        "when": when,
        "does": does,
        "asks": _asks(check, house),
        "deadline_s": watch.timeout,
        "on_error": "allow" if watch.fails_open else "block",
        "if_it_fails": failing(watch),
        "out_before_block": bound(watch),
        "waits": wait(watch),
    }


def _places(watch: Watch) -> str:
    """The places of one side by the shortest name."""
    every = INPUT_PLACES if watch.side is Side.INPUT else OUTPUT_PLACES
    return str(watch.side) if watch.places >= every else ", ".join(sorted(map(str, watch.places)))


def _asks(check: Check, house: House | None) -> str:
    """Whom it asks: models with where they are, or the address of a service; nobody, if it is local."""
    url = getattr(check, "url", None)
    if check.local or isinstance(url, str):
        return url if isinstance(url, str) else "-"
    routes = {name: house.route(name) if house is not None else None for name in dict.fromkeys(check.models())}
    return ", ".join(
        name if route is None else f"{name} ({route.model} at {route.upstream})" for name, route in routes.items()
    )


GROUPS = ("Before the call", "Beside the call", "On the answer", "Aside: nobody waits for it, and nothing changes")
ALWAYS = ("check", "kind", "reads", "does", "asks", "deadline", "if it fails")
COLUMNS = {"On the answer": (*ALWAYS[:-1], "lane", "out before a block", "waits", ALWAYS[-1])}


def _told(args: argparse.Namespace, planned: Plan, rows: list[dict[str, Any]], others: Mapping[str, str]) -> str:
    named = ", ".join(planned.policies) or "no policy matches"
    lines = [f"Plan for model '{args.model}' at {args.endpoint}: {named}; a block is told as {planned.block_as}."]
    lines += [f"Not for it: {', '.join(f'{name} ({why})' for name, why in others.items())}."] if others else []
    for group in GROUPS:
        found = [_cells(row) for row in rows if _group(row) == group]
        if found:
            lines += ["", f"{group}:", *_table(COLUMNS.get(group, ALWAYS), found)]
    return "\n".join(lines) + "\n"


def _group(row: Mapping[str, Any]) -> str:
    if row["when"].startswith("aside"):
        return GROUPS[3]
    return GROUPS[2] if row["side"] == "output" else GROUPS[0] if row["when"].startswith("before") else GROUPS[1]


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    told = {key.replace("_", " "): str(value) for key, value in row.items()}
    lane = row["when"].removesuffix(" lane")
    return {**told, "deadline": f"{row['deadline_s']:g} s", "lane": lane, "out before a block": row["out_before_block"]}


def _table(names: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in names]
    lines = [list(names), *([row[name] for name in names] for row in rows)]
    return ["  " + "  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() for line in lines]
