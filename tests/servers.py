"""Real servers for tests: found where Debian's packages put them, started on a free port, ended by their pid."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.end_to_end.process import free_port
from tests.patience import LONG


def needed(what, found):
    """What is missing is a visible skip here and a failure in CI, where `.ci/servers` has installed it."""
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not installed; .ci/servers installs it")
    pytest.skip(f"{what} is not installed (see .ci/servers)")


def _postgres_folder():
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if folders:
        return folders[-1]
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _each(option, values):
    return [word for value in values for word in (option, value)]


class Postgres:
    """A PostgreSQL of its own; never run as root, which it refuses.

    Its data are not in pytest's folders: those are open to whoever runs pytest only, and each run sees to it.
    """

    def __init__(self):
        self._bin = needed("PostgreSQL", _postgres_folder())
        self._folder = tempfile.TemporaryDirectory(prefix="outrider-", dir="/tmp")
        folder = Path(self._folder.name)
        self._data, self._log = folder / "data", folder / "log"
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.port = free_port()
        self.url = f"postgresql://outrider:word@127.0.0.1:{self.port}/postgres"
        self._process = None
        if self._user:
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", self._data, "-U", "outrider", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def _run(self, name, *args):
        subprocess.run(
            [self._bin / name, *args], check=True, capture_output=True, timeout=LONG, cwd="/tmp", **self._user
        )

    def start(self):
        self._spawn()
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            if self._process.poll() is not None:  # the port was not free again yet
                self._spawn()
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port))
                return
            time.sleep(0.05)
        raise AssertionError(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}")

    def _spawn(self):
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self._data}", "fsync=off"]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-p", str(self.port), *_each("-c", settings)],
                stdout=log,
                stderr=log,
                cwd="/tmp",
                **self._user,
            )

    def stop(self):
        """At once, with what is under way broken off."""
        if self._process is not None:
            self._process.send_signal(3)
            self._process.wait(LONG)
            self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self._folder.cleanup()
