"""Receipts in PostgreSQL, for several replicas: the same schema as SQLite's. Needs the extra `postgres`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg

from gateway.core.chain import Chain
from gateway.server.audit.sql import MIGRATIONS, Row, SqlStore
from gateway.server.audit.store import StoreError

WAIT = 5  # seconds for a connection, and for a statement
ENCODINGS = {"UTF8", "SQL_ASCII"}  # of databases that keep every text; the second keeps bytes as they come
TURN = 0x6F757472  # the advisory lock of those who change the schema
_SECRET = re.compile(r"(?<=:)[^/@:]*(?=@)|(?<=password=)[^&\s]*")


class PostgresStore(SqlStore):
    """One connection, made anew when it is lost. A commit returns when the server has it on disk."""

    def __init__(self, url: str, chain: Chain, *, read_only: bool = False) -> None:
        self._chain = chain
        self._url = url
        self._read_only = read_only
        self.where = _SECRET.sub("...", url)
        self._db: psycopg.Connection | None = None
        with self.looking():
            pass

    def rows(self, statement: str, values: Row = ()) -> Sequence[Row]:
        return self._cursor(statement, values).fetchall()

    def stream(self, statement: str, values: Row = ()) -> Iterable[Row]:
        with self._open().cursor() as cursor:
            yield from cursor.stream(_marked(statement), values)

    def run(self, statement: str, values: Row = ()) -> int:
        return self._cursor(statement, values).rowcount

    def run_each(self, statement: str, values: Sequence[Row]) -> None:
        self._open().cursor().executemany(_marked(statement), values)

    def close(self) -> None:
        if self._db is not None:
            with suppress(psycopg.Error):
                self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.looking(), self._open().transaction():
            self._cursor("SELECT 1 FROM chain WHERE name = 'head' FOR UPDATE")  # the others wait for their turn
            yield

    @contextmanager
    def looking(self) -> Iterator[None]:
        try:
            if self._db is None or self._db.closed:
                self._db = self._connected()
            yield
        except psycopg.Error as error:
            raise StoreError(f"{self.where}: {_words(error)}") from None

    def _open(self) -> psycopg.Connection:
        assert self._db is not None
        return self._db

    def _cursor(self, statement: str, values: Row = ()) -> psycopg.Cursor:
        return self._open().execute(_marked(statement), values)

    def _connected(self) -> psycopg.Connection:
        self._db = psycopg.connect(
            self._url,
            connect_timeout=WAIT,
            autocommit=True,
            client_encoding="utf8",
            options=f"-c statement_timeout={WAIT * 1000}",
        )
        try:
            self._prepare(self._db)
        except BaseException:
            self.close()  # and it is prepared anew the next time
            raise
        return self._db

    def _prepare(self, db: psycopg.Connection) -> None:
        encoding = db.info.parameter_status("server_encoding")
        if encoding not in ENCODINGS:
            raise StoreError(f"{self.where}: its encoding is {encoding}, which cannot keep every text; make it UTF8")
        if not self._read_only:
            with db.transaction():
                self._migrate()

    def _migrate(self) -> None:
        """One replica at a time; those who come later find it done."""
        self.run("SELECT pg_advisory_xact_lock(?)", (TURN,))
        self.run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        done = self.rows("SELECT COALESCE(MAX(version), 0) FROM schema_version")[0][0]
        self.migrate(done)
        if done < len(MIGRATIONS):
            self.run("INSERT INTO schema_version VALUES (?)", (len(MIGRATIONS),))


def _marked(statement: str) -> bytes:
    """The statement with the marks of this driver."""
    return statement.replace("?", "%s").encode()


def _words(error: psycopg.Error) -> str:
    """The first line of what went wrong, without what a driver quotes of the address."""
    return _SECRET.sub("...", (str(error).strip() or type(error).__name__).splitlines()[0])
