"""Receipts in one SQLite file: the default. Several processes of one machine may share it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from gateway.core.chain import Chain
from gateway.server.audit.sql import MIGRATIONS, Row, SqlStore
from gateway.server.audit.store import FILE_MODE, StoreError

ROWS = (64, 8, 1)  # of one statement: so many statements are kept as they are compiled
WAIT = 5.0  # seconds for another process to end its transaction


class SqliteStore(SqlStore):
    """WAL with every commit on disk: the price is one fsync for a group of receipts."""

    def __init__(self, path: Path, chain: Chain, *, read_only: bool = False) -> None:
        self._chain = chain
        self.where = str(path)
        with self.looking():
            self._db = _connected(path, read_only=read_only)
        if not read_only:
            with self.transaction():
                self.migrate(self.rows("PRAGMA user_version")[0][0])
                self.run(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def rows(self, statement: str, values: Row = ()) -> list[Row]:
        return self._db.execute(statement, values).fetchall()

    def stream(self, statement: str, values: Row = ()) -> Iterable[Row]:
        return self._db.execute(statement, values)

    def run(self, statement: str, values: Row = ()) -> int:
        return self._db.execute(statement, values).rowcount

    def run_each(self, statement: str, values: Sequence[Row]) -> None:
        """An INSERT of many rows. With each statement the interpreter is given up and waited for, so there are few."""
        into, _, marks = statement.partition(" VALUES ")
        at = 0
        for many in ROWS:
            several = f"{into} VALUES {', '.join([marks] * many)}"
            while len(values) - at >= many:
                self._db.execute(several, [*chain.from_iterable(values[at : at + many])])
                at += many

    def close(self) -> None:
        with self.looking():
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.looking():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def looking(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.where}: {error}") from None


def _connected(path: Path, *, read_only: bool) -> sqlite3.Connection:
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))  # the engine gives its other files the same mode
    uri = f"{path.absolute().as_uri()}{'?mode=ro' if read_only else ''}"
    db = sqlite3.connect(uri, uri=True, timeout=WAIT, check_same_thread=False, isolation_level=None)
    if not read_only:
        _use_wal(db)
        db.execute("PRAGMA synchronous=FULL")
    return db


def _use_wal(db: sqlite3.Connection) -> None:
    """Where another process is about to do the same to a new file, the engine does not wait by itself."""
    until = time.monotonic() + WAIT
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
