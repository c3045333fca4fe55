"""Serve the gateway until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
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
from gateway.server.listen import serve
from gateway.server.logs import set_up
from gateway.server.metrics import Metrics
from gateway.server.reload import Reloader
from gateway.server.upstreams import make_upstreams, scripts
from gateway.settings import Settings, SettingsError, load_settings
from gateway.yamlfile import FileError

log = structlog.get_logger()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Configured by OUTRIDER_* variables, outrider.yaml and policies/; see the README."


def run(_args: argparse.Namespace) -> int:
    try:
        settings = load_settings()
        house = load_house(settings)
        scripts(house)
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
    paths = watched(settings)
    return run_gateway(
        settings, house, policies, load=(lambda: policies_for(settings, house)) if paths else None, paths=paths
    )


def run_gateway(
    settings: Settings,
    house: House,
    policies: PolicySet,
    started: Callable[[Gateway], None] | None = None,
    *,
    load: Callable[[], PolicySet] | None = None,
    paths: tuple[Path, ...] = (),
) -> int:
    """Serve until told to stop. 0: drained; 2: could not start, with the reason on stderr.

    `load` reads the policies anew when something under `paths` changes.
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
        gc.collect()
        gc.freeze()  # what start-up made is never looked at by the collector again
        reloader = Reloader(load, paths) if load is not None else None
        await serve(gateway, (lambda: started(gateway)) if started else None, reloader)

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
