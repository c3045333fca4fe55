"""Serve the gateway until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable

import uvloop

from gateway.cli.files import policies_for, watched
from gateway.config.load import load_house
from gateway.config.model import House
from gateway.core.terms import Side
from gateway.policy.model import PolicySet
from gateway.policy.plan import bound, wait, watches_of
from gateway.server.app import Gateway
from gateway.server.audit.keeper import Keeper
from gateway.server.audit.opening import open_store
from gateway.server.audit.store import StoreError
from gateway.server.heap import settle
from gateway.server.listen import reserve, serve
from gateway.server.logs import log, set_up
from gateway.server.metrics import Metrics
from gateway.server.reload import Reloader, Watched
from gateway.server.siblings import Siblings
from gateway.server.threads import give_way
from gateway.server.upstreams import make_upstreams, scripts
from gateway.server.workers import Supervisor
from gateway.settings import Settings, SettingsError, load_settings, share
from gateway.yamlfile import FileError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, metavar="N", help="processes that share the port (OUTRIDER_WORKERS)")
    parser.epilog = "Configured by OUTRIDER_* variables, outrider.yaml and policies/; see the README."


def run(args: argparse.Namespace) -> int:
    if args.workers is not None:
        os.environ["OUTRIDER_WORKERS"] = str(args.workers)
    try:
        settings = load_settings()
        house = load_house(settings)
        scripts(house)
        paths = watched(settings)
        files = Watched(paths)
        policies = policies_for(settings, house)
    except (SettingsError, FileError) as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    set_up(settings.log_level, settings.log_format)
    for trap in house.traps():
        log.warning("fan_out_trap", trap=trap)
    for policy in policies.policies:
        watches, _ = watches_of(policy)
        streams = [w for w in watches if w.side is Side.OUTPUT and w.gates]
        log.info(
            "policy",
            policy=policy.version,
            mode=policy.head.mode,
            out_before_block={w.name: bound(w) for w in streams},
            waits={w.name: wait(w) for w in streams},
        )
    load = (lambda: policies_for(settings, house)) if paths else None
    if settings.workers > 1:
        return run_workers(settings, house, policies, load=load, files=files)
    return run_gateway(settings, house, policies, load=load, files=files)


def run_workers(
    settings: Settings,
    house: House,
    policies: PolicySet,
    *,
    load: Callable[[], PolicySet] | None,
    files: Watched,
) -> int:
    """Several processes that serve the same, each with its share of the limits."""
    one = share(settings)
    newest = [policies]

    def work(line: socket.socket, again: bool) -> int:  # noqa: FBT001 -- called with what the parent knows
        for kept in ports:
            kept.close()
        return run_gateway(one, house, newest[0], load=load, files=files, line=line, again=again)

    def loaded() -> None:
        with contextlib.suppress(Exception):  # whatever is wrong with the files, the last good ones stay
            newest[0] = load() if load is not None else newest[0]
            log.info("policies_for_new_workers", policies=[policy.version for policy in newest[0].policies])

    try:
        ports = reserve(settings)
    except OSError as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    settle()  # what the workers share with this process is not copied because the collector looked at it
    return Supervisor(settings.workers, work, loaded=loaded, grace=settings.drain).run()


def run_gateway(
    settings: Settings,
    house: House,
    policies: PolicySet,
    started: Callable[[Gateway], None] | None = None,
    *,
    load: Callable[[], PolicySet] | None = None,
    files: Watched | None = None,
    line: socket.socket | None = None,
    again: bool = False,
) -> int:
    """Serve until told to stop. 0: drained; 2: could not start, with the reason on stderr.

    `load` reads the policies anew when something of `files` changes, and where this process serves `again` for one
    that died. `line` leads to the parent of several.
    """
    metrics = Metrics()
    try:
        keeper = _keeper(settings, metrics)
    except StoreError as error:
        sys.stderr.write(
            f"outrider: receipts cannot be kept: {error}. OUTRIDER_AUDIT_URL says where, none:// nowhere.\n"
        )
        return 2

    async def main() -> None:
        gateway = Gateway(settings, house, policies, make_upstreams(house), metrics=metrics, keeper=keeper)
        settle()
        give_way()
        reloader = Reloader(load, files) if load is not None and files is not None else None
        if again and reloader is not None:
            reloader.ask()
        siblings = Siblings(line) if line is not None else None
        await serve(gateway, (lambda: started(gateway)) if started else None, reloader, siblings)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except OSError as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    return 0


def _keeper(settings: Settings, metrics: Metrics) -> Keeper | None:
    """What gets receipts into the store that the settings name. Raises StoreError."""
    key = settings.audit_key.get_secret_value().encode() if settings.audit_key else b""
    store = open_store(settings.audit_url, key, rotate=settings.audit_rotate)
    if store is None:
        return None
    return Keeper(
        store,
        strict=settings.audit_durability == "strict",
        on_error=settings.audit_on_error,
        keep=settings.audit_keep,
        counted=lambda what, many: metrics.receipts.labels(what).inc(many),
    )
