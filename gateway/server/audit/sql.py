"""What the SQL stores share: one schema, and everything that is said in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gateway.core.chain import GENESIS, Chain, Kept, Link
from gateway.server.audit.store import Entry, Selection, StoreError, searchable

PRUNED_AT_ONCE = 5000  # receipts of one transaction, so that nobody waits long

# Each element brings a store one version on; what was released is never changed, only followed by another.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE receipts (seq BIGINT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, id TEXT NOT NULL,"
        " endpoint TEXT NOT NULL, model TEXT NOT NULL, decision TEXT NOT NULL, body TEXT NOT NULL, seal TEXT NOT NULL)",
        "CREATE INDEX receipts_at ON receipts (at)",
        "CREATE INDEX receipts_id ON receipts (id)",
        "CREATE TABLE chain (name TEXT PRIMARY KEY, seq BIGINT NOT NULL, seal TEXT NOT NULL)",
        f"INSERT INTO chain (name, seq, seal) VALUES ('start', 0, '{GENESIS}')",
        f"INSERT INTO chain (name, seq, seal) VALUES ('head', 0, '{GENESIS}')",
    ),
)
INSERT = "INSERT INTO receipts (seq, at, id, endpoint, model, decision, body, seal) VALUES (?,?,?,?,?,?,?,?)"

Row = Sequence[Any]


class SqlStore:
    """A store whose engine says how a transaction is made and a statement run; marks of values are `?`."""

    where: str  # for errors: the store as its owner knows it, without a password
    _chain: Chain

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing, alone with the chain, StoreError for whatever goes wrong."""
        raise NotImplementedError

    def looking(self) -> AbstractContextManager[None]:
        """For reading: StoreError for whatever goes wrong."""
        raise NotImplementedError

    def rows(self, statement: str, values: Row = ()) -> Sequence[Row]:
        raise NotImplementedError

    def stream(self, statement: str, values: Row = ()) -> Iterable[Row]:
        raise NotImplementedError

    def run(self, statement: str, values: Row = ()) -> int:
        """Run a statement; how many rows it changed."""
        raise NotImplementedError

    def run_each(self, statement: str, values: Sequence[Row]) -> None:
        raise NotImplementedError

    def migrate(self, done: int) -> None:
        """Bring the schema from version `done` to ours; inside a transaction."""
        if done > len(MIGRATIONS):
            raise StoreError(f"{self.where}: was written by a newer version")
        for statements in MIGRATIONS[done:]:
            for statement in statements:
                self.run(statement)

    def append(self, entries: Sequence[Entry]) -> None:
        with self.transaction():
            kept = list(self._chain.sealed(self._link("head"), [one.body for one in entries]))
            values = [(k.seq, *e[:5], k.body.decode(), k.seal) for k, e in zip(kept, entries, strict=True)]
            self.run_each(INSERT, values)
            self._note("head", Link(kept[-1].seq, kept[-1].seal))

    def read(self, selection: Selection) -> Iterator[Kept]:
        where, values = condition(selection)
        with self.looking():
            for seq, body, seal in self.stream(f"SELECT seq, body, seal FROM receipts {where}", values):
                yield Kept(seq, body.encode(), seal)

    def ends(self) -> tuple[Link, Link | None]:
        with self.looking():
            return self._link("start"), self._link("head")

    def prune(self, before: float) -> int:
        forgotten = 0
        while gone := self._prune_some(before):
            forgotten += gone
        return forgotten

    def _prune_some(self, before: float) -> int:
        with self.transaction():
            start = self._link("start")
            young = self.rows("SELECT MIN(seq) FROM receipts WHERE at >= ?", (before,))[0][0]
            most = start.seq + PRUNED_AT_ONCE
            most = most if young is None else min(most, young - 1)
            last = self.rows("SELECT seq, seal FROM receipts WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (most,))
            if not last:
                return 0
            self._note("start", Link(*last[0]))
            return self.run("DELETE FROM receipts WHERE seq <= ?", (last[0][0],))

    def _link(self, name: str) -> Link:
        found = self.rows("SELECT seq, seal FROM chain WHERE name = ?", (name,))
        if not found:
            raise StoreError(f"{self.where}: the ends of the chain are gone")
        return Link(*found[0])

    def _note(self, name: str, link: Link) -> None:
        self.run("UPDATE chain SET seq = ?, seal = ? WHERE name = ?", (*link, name))


def condition(selection: Selection) -> tuple[str, list[Any]]:
    """WHERE and ORDER BY of a selection, and the values for it."""
    wanted = {
        "at >= ?": selection.since,
        "at < ?": selection.until,
        "id = ?": selection.id or None,
        "endpoint = ?": selection.endpoint or None,
        "model = ?": searchable(selection.model) or None,
        "decision = ?": selection.decision or None,
    }
    said = {words: value for words, value in wanted.items() if value is not None}
    where = f"WHERE {' AND '.join(said)} " if said else ""
    return f"{where}ORDER BY seq{' DESC' if selection.newest_first else ''}", list(said.values())
