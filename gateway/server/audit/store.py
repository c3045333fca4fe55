"""What every store of receipts is, and how its address is read.

A store is written by one thread at a time. Several processes may share one: the chain goes through all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import orjson

from gateway.core.chain import Kept, Link

FILE_MODE = 0o640  # of files of receipts, which may hold text: not for everybody on the machine


class StoreError(Exception):
    """A store that cannot be opened, read or written now; the words name no text of an exchange and no password."""


class Entry(NamedTuple):
    """A receipt on its way into a store: what is looked for, and the whole."""

    at: float  # seconds since 1970
    id: str
    endpoint: str
    model: str
    decision: str
    body: bytes  # JSON


@dataclass(frozen=True, slots=True)
class Selection:
    """Which receipts are wanted; what is None or empty selects all."""

    since: float | None = None  # seconds since 1970
    until: float | None = None
    id: str = ""
    endpoint: str = ""
    model: str = ""
    decision: str = ""
    newest_first: bool = False

    def takes(self, receipt: dict[str, Any]) -> bool:
        """The same for a receipt that was read already."""
        at = moment(receipt)
        return (
            (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
            and all(
                not wanted or receipt.get(name) == wanted
                for name, wanted in (
                    ("id", self.id),
                    ("endpoint", self.endpoint),
                    ("model", self.model),
                    ("decision", self.decision),
                )
            )
        )


class Store(Protocol):
    """Where receipts are kept. Every method may raise StoreError."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Seal and keep them, all or none; they are on disk when this returns."""
        ...

    def read(self, selection: Selection) -> Iterator[Kept]: ...

    def ends(self) -> tuple[Link, Link | None]:
        """What came before the first receipt that is still kept, and the newest; None where that is not noted."""
        ...

    def prune(self, before: float) -> int:
        """Forget what is older; how many that were."""
        ...

    def close(self) -> None: ...


def entry(receipt: dict[str, Any]) -> Entry:
    """A receipt as it goes into a store. What is not JSON (half a surrogate pair) is escaped, never lost."""
    said = [str(receipt.get(field, "")) for field in ("id", "endpoint", "model", "decision")]
    name, endpoint, model, decision = said if _is_plain("".join(said)) else map(searchable, said)
    return Entry(moment(receipt), name, endpoint, model, decision, dumped(receipt))


def _is_plain(text: str) -> bool:
    return text.isprintable() and text.isascii()


def searchable(text: str) -> str:
    """A text that every engine takes: a client chooses a model's name, and one that cannot be kept would stop them all."""
    if _is_plain(text):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")


def dumped(receipt: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(receipt)
    except TypeError:
        return orjson.dumps(_told(receipt))


def _told(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {str(_told(name)): _told(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_told(one) for one in value]
    return value if value is None or isinstance(value, int | float | bool) else str(value)


def moment(receipt: dict[str, Any]) -> float:
    """Seconds since 1970 of a receipt; 0 where it tells none."""
    try:
        return datetime.fromisoformat(str(receipt.get("time", ""))).timestamp()
    except ValueError:
        return 0.0
