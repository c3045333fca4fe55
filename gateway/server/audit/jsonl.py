"""Receipts as JSON lines, for log shippers: one file that is written to, and those that were full before.

Each line is `{"seq": …, "before": …, "seal": …, "receipt": {…}}`; the seal covers the receipt's bytes as they
stand in the line. A line that a crash cut short is cut off when the file is opened.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson

from gateway.core.chain import Chain, Kept, Link
from gateway.server.audit.store import FILE_MODE, Entry, Selection, StoreError

TAIL = 1024  # bytes from the end of a file that are read for its last line, doubled until it is there
_LINE = re.compile(rb'\{"seq":(\d+),"before":"([0-9a-f]{64})","seal":"([0-9a-f]{64})","receipt":(.*)\}\n\Z', re.DOTALL)


class JsonlStore:
    """Appends under a lock, so that several processes may share the file."""

    def __init__(self, path: Path, chain: Chain, *, rotate: int, read_only: bool = False) -> None:
        """`rotate`: bytes from which a new file is begun."""
        self._chain = chain
        self._path = path
        self._rotate = rotate
        self._read_only = read_only
        with self._told():
            if read_only:
                if not path.exists():
                    raise StoreError(f"{path}: there is no such file")
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._alone() as file:
                _mend(file)

    def append(self, entries: Sequence[Entry]) -> None:
        with self._told(), self._alone() as file:
            begun = os.fstat(file).st_size
            before = self._head(file).seal
            lines = []
            for kept in self._chain.sealed(self._head(file), [one.body for one in entries]):
                lines.append(_line(kept, before))
                before = kept.seal
            try:
                _write(file, b"".join(lines))
                os.fsync(file)
            except OSError:
                os.ftruncate(file, begun)
                raise
            if begun + sum(map(len, lines)) >= self._rotate:
                self._path.rename(self._aside(time.time()))

    def read(self, selection: Selection) -> Iterator[Kept]:
        files = self._files()
        for path in reversed(files) if selection.newest_first else files:
            for line in self._lines(path, backwards=selection.newest_first):
                kept = _kept(line)
                if kept is None:
                    if line.endswith(b"\n"):
                        raise StoreError(f"{path}: a line is no receipt")
                    continue  # it is being written, or a crash cut it short
                if selection == Selection() or selection.takes(orjson.loads(kept[0].body)):
                    yield kept[0]

    def _lines(self, path: Path, *, backwards: bool) -> Iterator[bytes]:
        with self._told(), path.open("rb") as file:
            yield from reversed(file.readlines()) if backwards else file

    def ends(self) -> tuple[Link, Link | None]:
        """The newest is noted nowhere else: lines that were cut off from the end are not missed."""
        for path in self._files():
            with self._told(), path.open("rb") as file:
                for line in file:
                    if (kept := _kept(line)) is not None:
                        return Link(kept[0].seq - 1, kept[1]), None
        return Link(), None

    def prune(self, before: float) -> int:
        """Whole files are forgotten, whose last receipt is older."""
        forgotten = 0
        for path in self._files():
            with self._told():
                if path != self._path and path.stat().st_mtime < before:
                    forgotten += path.read_bytes().count(b"\n")
                    path.unlink()
        return forgotten

    def close(self) -> None:
        """Nothing is kept open."""

    def _files(self) -> list[Path]:
        """All files, the oldest first."""
        aside = sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}"))
        return [*aside, self._path] if self._path.exists() else aside

    def _aside(self, at: float) -> Path:
        day = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S.%f")
        return self._path.with_name(f"{self._path.stem}-{day}{self._path.suffix}")

    def _head(self, file: int) -> Link:
        last = _last_line(file)
        if not last and (aside := [path for path in self._files() if path != self._path]):
            before = os.open(aside[-1], os.O_RDONLY)
            try:
                last = _last_line(before)
            finally:
                os.close(before)
        kept = _kept(last)
        return Link() if kept is None else Link(kept[0].seq, kept[0].seal)

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """The file, and nobody else's turn; the one that has the name when it is our turn."""
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE_MODE)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    ours = os.fstat(file).st_ino == self._path.stat().st_ino
                except FileNotFoundError:
                    ours = False
                if ours:
                    yield file
                    return
            finally:
                os.close(file)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror or error}") from None


def _line(kept: Kept, before: str) -> bytes:
    head = f'{{"seq":{kept.seq},"before":"{before}","seal":"{kept.seal}","receipt":'
    return head.encode() + kept.body + b"}\n"


def _kept(line: bytes) -> tuple[Kept, str] | None:
    """A receipt, and the seal before it."""
    found = _LINE.match(line)
    if found is None:
        return None
    return Kept(int(found[1]), found[4], found[3].decode()), found[2].decode()


def _last_line(file: int) -> bytes:
    size = os.fstat(file).st_size
    tail = TAIL
    while True:
        start = max(0, size - tail)
        data = os.pread(file, size - start, start)
        at = data.rfind(b"\n", 0, -1)
        if at >= 0 or start == 0:
            return data[at + 1 :]
        tail *= 2


def _mend(file: int) -> None:
    """Cut off a last line that was not written to its end."""
    last = _last_line(file)
    if last and not last.endswith(b"\n"):
        os.ftruncate(file, os.fstat(file).st_size - len(last))


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
