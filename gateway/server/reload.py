"""New policies while the gateway serves: read and tested whole, swapped whole; the last good ones stay until then.

A request plans once, so it sees one version from start to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from gateway.policy.model import PolicySet
from gateway.yamlfile import FileError

if TYPE_CHECKING:
    from gateway.server.app import Gateway

log = structlog.get_logger()

EVERY = 1.0  # seconds between two looks at the files
MOST_FILES = 2000

Seen = tuple[tuple[str, int, int], ...]


class Watched:
    """Files and folders, and how they look from outside: names, times, sizes. Made before they are read."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether they look otherwise than when this was made, or last asked."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> Seen:
        found: list[tuple[str, int, int]] = []
        for path in self._paths:
            files = sorted(path.rglob("*"))[:MOST_FILES] if path.is_dir() else [path]
            for file in files:
                try:
                    told = file.stat()
                except OSError:
                    found.append((str(file), 0, 0))
                else:
                    found.append((str(file), told.st_mtime_ns, told.st_size))
        return tuple(found)


class Reloader:
    """Looks at the files of the policies, and reads them anew when they have changed or SIGHUP asks for it."""

    def __init__(self, load: Callable[[], PolicySet], files: Watched) -> None:
        """`load` raises FileError for what cannot take effect; `files` were watched before they were read."""
        self._load = load
        self._files = files
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """SIGHUP."""
        self._asked.set()

    async def run(self, gateway: Gateway) -> None:
        while True:
            try:
                async with asyncio.timeout(EVERY):
                    await self._asked.wait()
            except TimeoutError:
                pass
            changed = await asyncio.to_thread(self._files.changed)
            if self._asked.is_set() or changed:
                self._asked.clear()
                await self._reload(gateway)

    async def _reload(self, gateway: Gateway) -> None:
        try:
            policies = await asyncio.to_thread(self._load)
        except FileError as error:
            gateway.refused = tuple(map(str, error.mistakes))
            log.error("policies_refused", mistakes=gateway.refused)
            gateway.metrics.reloads.labels("refused").inc()
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with the files, the last good ones stay
            gateway.refused = (f"the policies cannot be read: {type(error).__name__}",)
            log.error("policies_refused", mistakes=gateway.refused)
            gateway.metrics.reloads.labels("refused").inc()
        else:
            gateway.policies, gateway.refused = policies, ()
            log.info("policies_loaded", policies=[policy.version for policy in policies.policies])
            gateway.metrics.reloads.labels("loaded").inc()
        gateway.metrics.refused.set(bool(gateway.refused))
