"""Play kept traffic under other policies: what they would have found, and which requests would have ended otherwise."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from gateway.checks.base import Check
from gateway.cli.progress import Progress
from gateway.cli.receipts import Receipt, Unreadable, receipts, selecting, wanted
from gateway.config.load import load_house
from gateway.config.model import House
from gateway.core.terms import Examine, Finding
from gateway.policy.load import load_policies
from gateway.policy.model import PolicySet
from gateway.policy.replayed import AskAgain, Tally
from gateway.server.consult import Counsel, look_once
from gateway.server.targets import Targets
from gateway.server.upstream import Upstream
from gateway.server.upstreams import make_upstreams
from gateway.settings import SettingsError, load_settings
from gateway.yamlfile import FileError

PART = 200  # receipts that one worker of a cluster takes at a time
AT_ONCE = 16  # parts that are under way; more wait to be read

Files = tuple[tuple[str, bytes], ...]  # name below the folder, content


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "`outrider replay votes FILE` replays recorded answers of a vote instead; see its own --help."
    parser.add_argument("source", metavar="FILE", help="exported receipts (JSON lines), or the address of a store")
    parser.add_argument("--policies", type=Path, required=True, help="the folder or file of the other policies")
    parser.add_argument("--live", action="store_true", help="ask models again instead of trusting the receipts")
    parser.add_argument("--ray", metavar="ADDRESS", help="on a Ray cluster: its address, or `local` (extra `ray`)")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    selecting(parser)


def run(args: argparse.Namespace) -> int:
    """0: nothing would have changed; 1: something would; 2: a file or an argument cannot be used."""
    try:
        settings = load_settings()
        house = load_house(settings) if args.live else None
        policies = _policies(args.policies, house)
        found = receipts(args.source, settings, wanted(args))
        tally = _tally(args, found, policies, house)
    except (SettingsError, FileError, Unreadable) as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    if not tally.requests:
        missing = f"{tally.without_text} receipts hold no text: it is kept with OUTRIDER_AUDIT_TEXT=full"
        sys.stderr.write(f"outrider: {missing if tally.without_text else 'there are no receipts to play'}\n")
        return 2
    told = {"policies": [policy.version for policy in policies.policies], **tally.told()}
    sys.stdout.write((orjson.dumps(told).decode() + "\n") if args.json else _shown(told))
    return int(tally.changed > 0)


def _policies(path: Path, house: House | None) -> PolicySet:
    """The other policies. Models that only this house knows are not missed where none is asked."""
    return load_policies(path, known_model=(lambda name: house.route(name) is not None) if house else None)


def _tally(args: argparse.Namespace, found: Iterator[Receipt], policies: PolicySet, house: House | None) -> Tally:
    if args.ray is not None:
        if house is not None:
            raise Unreadable("--live asks from this machine; leave --ray out")
        return _on_ray(args.ray, found, args.policies)
    if house is None:
        return _played(found, policies, None)
    with asyncio.Runner() as runner:
        asking = _Live(house, runner)
        try:
            return _played(found, policies, asking.again)
        finally:
            runner.run(asking.close())


def _played(found: Iterable[Receipt], policies: PolicySet, again: AskAgain | None) -> Tally:
    tally = Tally()
    with Progress("receipts", 0) as progress:
        for number, receipt in enumerate(found, 1):
            tally.take(receipt, policies, again)
            progress.at(number)
    return tally


class _Live:
    """Asks the models of this house, one look after the other, under the failure policy of all checks."""

    def __init__(self, house: House, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._house = house
        self._upstreams: dict[str, Upstream] = {}
        self._targets: Targets | None = None
        self._counsel: Counsel | None = None

    def again(self, check: Check, examine: Examine) -> Finding:
        return self._runner.run(self._look(check, examine))

    async def _look(self, check: Check, examine: Examine) -> Finding:
        if self._counsel is None:  # its connections belong to the loop that runs now
            self._upstreams = make_upstreams(self._house)
            self._targets = Targets(self._house, self._upstreams)
            self._counsel = Counsel(self._targets.until)
        return await look_once(check, examine, self._counsel)

    async def close(self) -> None:
        if self._targets is not None:
            await self._targets.close()
        for upstream in set(self._upstreams.values()):
            await upstream.close()


def _on_ray(address: str, found: Iterator[Receipt], path: Path) -> Tally:
    """The same on a cluster: parts of the input, played by whoever has time, counted in their order."""
    try:
        import ray  # noqa: PLC0415 -- an extra
    except ImportError:
        raise Unreadable("a cluster needs the extra: pip install 'outrider[ray]'") from None
    where: dict[str, Any] = {"num_cpus": 2, "include_dashboard": False} if address == "local" else {"address": address}
    ray.init(log_to_driver=False, configure_logging=False, **where)
    try:
        played = ray.remote(_part)
        files = ray.put(_files(path))
        tally = Tally()
        waiting: list[Any] = []
        with Progress("receipts", 0) as progress:
            while part := list(islice(found, PART)):
                waiting.append(played.remote(files, part))
                if len(waiting) >= AT_ONCE:
                    tally.add(ray.get(waiting.pop(0)))
                    progress.at(tally.requests + tally.without_text)
            for one in waiting:
                tally.add(ray.get(one))
        return tally
    finally:
        ray.shutdown()


def _files(path: Path) -> Files:
    """The policies and what lies beside them, for machines that do not have them."""
    folder = path if path.is_dir() else path.parent
    found = sorted(one for one in folder.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return tuple((str(one.relative_to(folder)), one.read_bytes()) for one in found)


def _part(files: Files, part: list[Receipt]) -> Tally:
    return _played(part, _unpacked(files), None)


@lru_cache(2)
def _unpacked(files: Files) -> PolicySet:
    """Policies that came as bytes; their tests have been played where they came from."""
    with tempfile.TemporaryDirectory(prefix="outrider-replay-") as folder:
        for name, content in files:
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return load_policies(Path(folder), tested=False)


def _shown(told: dict[str, Any]) -> str:
    lines = [
        f"{told['requests']} requests under {', '.join(told['policies'])}: {told['changed']} would have ended otherwise."
    ]
    if told["without_text"]:
        lines.append(f"{told['without_text']} more hold no text (OUTRIDER_AUDIT_TEXT=full keeps it).")
    for name, change in told["changes"].items():
        lines.append(f"  {name}: {change['count']}   {' '.join(change['ids'])}")
    lines += ["", "check                                     hits before    now    new   gone  unknown"]
    for row in told["checks"]:
        counts = (row["hits_before"], row["hits_now"], row["new"], row["gone"], row["unknown"])
        lines.append(
            f"{row['check']:40}"
            + "".join(f"{count:{width}}" for count, width in zip(counts, (13, 7, 7, 7, 9), strict=True))
        )
        lines += [f"    {name}: {' '.join(row[f'{name}_ids'])}" for name in ("new", "gone") if row[f"{name}_ids"]]
    if any(row["unknown"] for row in told["checks"]):
        lines += ["", "Unknown: what these checks would say is in no receipt; --live asks them."]
    return "\n".join(lines) + "\n"
