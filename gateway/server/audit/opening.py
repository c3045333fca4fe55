"""From an address to a store: `sqlite:///file.db`, `postgresql://...`, `jsonl:///file.jsonl`, `none://`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from gateway.core.chain import Chain
from gateway.server.audit.jsonl import JsonlStore
from gateway.server.audit.sqlite import SqliteStore
from gateway.server.audit.store import Store, StoreError
from gateway.settings import store

ROTATE = 64 * 1024**2  # bytes


def open_store(url: str, key: bytes = b"", *, rotate: int = ROTATE, read_only: bool = False) -> Store | None:
    """The store; None for `none://`. Three slashes: from the working folder; four: from the root. Raises StoreError."""
    try:
        kind, rest = store(url)
    except ValueError as error:
        raise StoreError(str(error)) from None
    chain, path = Chain(key), Path(unquote(rest))
    match kind:
        case "sqlite":
            return SqliteStore(path, chain, read_only=read_only)
        case "jsonl":
            return JsonlStore(path, chain, rotate=rotate, read_only=read_only)
        case "postgresql":
            return _postgres(url, chain, read_only=read_only)
    return None


def _postgres(url: str, chain: Chain, *, read_only: bool) -> Store:
    try:
        from gateway.server.audit.postgres import PostgresStore  # noqa: PLC0415 -- an extra
    except ImportError:
        raise StoreError("receipts in PostgreSQL need the extra: pip install 'outrider[postgres]'") from None
    return PostgresStore(url, chain, read_only=read_only)
