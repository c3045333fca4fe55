"""New policies while the gateway serves: read and tested whole, swapped whole; the last good ones stay until then.

A request plans once, so it sees one version from start to end.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from gateway.policy.model import PolicySet
from gateway.policy.warm import warm
from gateway.server.heap import give_back
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
            for name, stat in _files(path)[:MOST_FILES]:
                try:
                    told = stat()
                except OSError:
                    found.append((name, 0, 0))
                else:
                    found.append((name, told.st_mtime_ns, told.st_size))
        return tuple(found)


def _files(path: Path) -> list[tuple[str, Callable[[], os.stat_result]]]:
    """A file, or a folder and everything below it, always in the same order; as plainly as can be, for each second."""
    found = {str(path): path.stat}
    folders = [str(path)]
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as inside:
            for one in inside:
                found[one.path] = one.stat
                if one.is_dir(follow_symlinks=False):
                    folders.append(one.path)
    return sorted(found.items())


class Reloader:
    """Looks at the files of the policies, and reads them anew when they have changed or SIGHUP asks for it."""

    def __init__(self, load: Callable[[], PolicySet], files: Watched) -> None:
        """`load` raises FileError for what cannot take effect; `files` were watched before they were read."""
        self._load = load
        self._files = files
        self._stirred = threading.Event()  # somebody asked, or it is over

    def ask(self) -> None:
        """SIGHUP."""
        self._stirred.set()

    async def run(self, gateway: Gateway) -> None:
        thread = ThreadPoolExecutor(1, thread_name_prefix="reload")
        try:
            while True:
                await asyncio.get_running_loop().run_in_executor(thread, self._until_due)
                self._stirred.clear()
                await self._reload(gateway)
        finally:
            self._stirred.set()
            thread.shutdown(wait=False)

    def _until_due(self) -> None:
        """Looks from a thread of its own, so that a gateway that idles sleeps on."""
        while True:
            asked = self._stirred.wait(EVERY)
            if self._files.changed() or asked:
                return

    def _loaded(self) -> PolicySet:
        policies = self._load()
        warm(policies)
        return policies

    async def _reload(self, gateway: Gateway) -> None:
        try:
            policies = await asyncio.to_thread(self._loaded)
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
            give_back()  # what compiling patterns took
            log.info("policies_loaded", policies=[policy.version for policy in policies.policies])
            gateway.metrics.reloads.labels("loaded").inc()
        gateway.metrics.refused.set(bool(gateway.refused))
