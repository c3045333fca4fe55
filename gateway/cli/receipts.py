"""Where commands read receipts from: a store, or a file that was exported from one."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from gateway.core.chain import Kept
from gateway.server.audit.opening import open_store
from gateway.server.audit.store import Selection, Store, StoreError
from gateway.settings import Settings
from gateway.units import seconds

Receipt = dict[str, Any]
_AGO = re.compile(r"\d+(\.\d+)?(ms|s|m|h|d)\Z")


class Unreadable(Exception):
    """A store, a file or an argument that cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Wanted:
    """Which receipts a command is to work on: what a store selects, and what is looked for in each."""

    selection: Selection
    policy: str = ""
    key: str = ""
    check: str = ""
    verdict: str = ""

    def takes(self, receipt: Receipt) -> bool:
        """Whether a selected receipt has the policy, the check and the verdict that are wanted."""
        if self.policy and not any(str(one).partition("@")[0] == self.policy for one in receipt.get("policies", ())):
            return False
        if self.key and receipt.get("key") != self.key:
            return False
        if not self.check and not self.verdict:
            return True
        return any(
            self.check in {"", look.get("check"), str(look.get("check")).partition(".")[2]}
            and self.verdict in {"", look.get("verdict")}
            for look in receipt.get("checks", ())
        )


def selecting(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which receipts."""
    parser.add_argument("--since", default="", help="24h, 7d, or a moment: 2026-01-31 or 2026-01-31T10:00")
    parser.add_argument("--until", default="", help="the same")
    parser.add_argument("--id", default="", help="this request")
    parser.add_argument("--decision", default="", help="released, masked, blocked, failed, left, refused, lost")
    parser.add_argument("--endpoint", default="", help="chat, responses, ...")
    parser.add_argument("--model", default="", help="as it was asked for")
    parser.add_argument("--policy", default="", help="where this policy applied")
    parser.add_argument("--key", default="", help="of the client's key of this name")
    parser.add_argument("--check", default="", help="where this check looked: its name, or policy.check")
    parser.add_argument("--verdict", default="", help="where it found this: hit, clear, failed, ...")


def reading(parser: argparse.ArgumentParser) -> None:
    """The argument that says where from."""
    parser.add_argument("--from", dest="source", default="", help="a store's address, or an exported file")


def wanted(args: argparse.Namespace, *, newest_first: bool = False) -> Wanted:
    """What the arguments say. Raises Unreadable."""
    selection = Selection(
        since=_moment(args.since),
        until=_moment(args.until),
        id=args.id,
        endpoint=args.endpoint,
        model=args.model,
        decision=args.decision,
        newest_first=newest_first,
    )
    return Wanted(selection, args.policy, args.key, args.check, args.verdict)


def _moment(said: str) -> float | None:
    """Seconds since 1970 of `24h` (ago) or of a date."""
    if not said:
        return None
    if _AGO.match(said):
        return time.time() - seconds(said)
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise Unreadable(f"{said!r} is no moment; write for example 24h, 7d or 2026-01-31T10:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def opened(source: str, settings: Settings) -> Store:
    """The store that is read: the one that was named, else the one that is configured. Raises Unreadable."""
    key = settings.audit_key.get_secret_value().encode() if settings.audit_key else b""
    try:
        store = open_store(source or settings.audit_url, key, read_only=True)
    except StoreError as error:
        raise Unreadable(str(error)) from None
    if store is None:
        raise Unreadable("no receipts are kept: OUTRIDER_AUDIT_URL is none://")
    return store


def receipts(source: str, settings: Settings, want: Wanted) -> Iterator[Receipt]:
    """The receipts that are wanted, each once, as it was in the end. Raises Unreadable."""
    if source and "://" not in source:
        yield from _each_once(lambda: _lines(Path(source), want.selection), want)
        return
    with closing(opened(source, settings)) as store:
        yield from _each_once(lambda: _of_store(store, want.selection), want)


def _each_once(read: Any, want: Wanted) -> Iterator[Receipt]:
    """An answer that went on after its receipt was kept has a second one, which counts."""
    later = {receipt["id"] for receipt in read() if receipt.get("again")}
    for receipt in read():
        if (receipt.get("again") or receipt.get("id") not in later) and want.takes(receipt):
            yield receipt


def _of_store(store: Store, selection: Selection) -> Iterator[Receipt]:
    try:
        for kept in store.read(selection):
            yield parsed(kept)
    except StoreError as error:
        raise Unreadable(str(error)) from None


def parsed(kept: Kept) -> Receipt:
    try:
        receipt = orjson.loads(kept.body)
    except orjson.JSONDecodeError:
        receipt = None
    if not isinstance(receipt, dict):
        raise Unreadable(f"receipt {kept.seq} is not what was kept: `outrider audit verify` tells more")
    return receipt


def _lines(path: Path, selection: Selection) -> Iterator[Receipt]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from None
    with file:
        found = list(_read(path, file)) if selection.newest_first else _read(path, file)
        for receipt in reversed(found) if isinstance(found, list) else found:
            if selection.takes(receipt):
                yield receipt


def _read(path: Path, lines: Any) -> Iterator[Receipt]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            receipt = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Unreadable(f"{path}:{number}: not valid JSON: {error}") from None
        if isinstance(receipt, dict) and isinstance(receipt.get("receipt"), dict):
            receipt = receipt["receipt"]  # a line of a jsonl:// store
        if not isinstance(receipt, dict) or "id" not in receipt:
            raise Unreadable(f"{path}:{number}: is no receipt")
        yield receipt
