"""Real servers for tests: found where Debian's packages put them, started on a free port, ended by their pid."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.process import free_port

WITHIN = 60  # seconds


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


class Postgres:
    """A PostgreSQL of its own, with its data in `folder`; never run as root, which it refuses."""

    def __init__(self, folder):
        self._bin = needed("PostgreSQL", _postgres_folder())
        self._data = folder / "data"
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.port = free_port()
        self.url = f"postgresql://outrider:word@127.0.0.1:{self.port}/postgres"
        self._process = None
        if self._user:
            for parent in [folder, *folder.parents]:
                if not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", self._data, "-U", "outrider", "-A", "trust", "--no-sync")

    def _run(self, name, *args):
        subprocess.run([self._bin / name, *args], check=True, capture_output=True, cwd="/tmp", **self._user)

    def start(self):
        self._spawn()
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            if self._process.poll() is not None:  # the port was not free again yet
                self._spawn()
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port))
                return
            time.sleep(0.05)
        raise AssertionError("PostgreSQL did not start")

    def _spawn(self):
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._data}"]
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", self._data, "-p", str(self.port), *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/tmp",
            **self._user,
        )

    def stop(self):
        """At once, with what is under way broken off."""
        if self._process is not None:
            self._process.send_signal(3)
            self._process.wait(WITHIN)
            self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
