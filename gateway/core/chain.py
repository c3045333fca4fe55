"""The hash chain of the kept receipts: each seal covers its receipt and the seal before, so a change shows.

Without a key anybody who can write the store can make a new chain; with one only who holds it. A seal that
was noted elsewhere shows also that everything up to it is as it was.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

GENESIS = "0" * 64  # what the first receipt follows
MOST_FLAWS = 100


class Link(NamedTuple):
    """A place in the chain: how many receipts there are up to here, and the seal of the last."""

    seq: int = 0
    seal: str = GENESIS


class Kept(NamedTuple):
    """A receipt as a store holds it."""

    seq: int
    body: bytes
    seal: str  # 64 hex digits


class Chain:
    """Makes and verifies seals. `key` is empty for a chain without a key."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def seal(self, before: str, seq: int, body: bytes) -> str:
        """The seal of a receipt that follows the seal `before`."""
        message = b"%s %d " % (before.encode(), seq) + body
        if self._key:
            return hmac.new(self._key, message, hashlib.sha256).hexdigest()
        return hashlib.sha256(message).hexdigest()

    def sealed(self, head: Link, bodies: Iterable[bytes]) -> Iterator[Kept]:
        """The receipts that follow `head`."""
        seq, seal = head
        for body in bodies:
            seq += 1
            seal = self.seal(seal, seq, body)
            yield Kept(seq, body, seal)

    def verify(self, start: Link, kept: Iterable[Kept], head: Link | None, known: Iterable[Link] = ()) -> Verified:
        """Follow the chain from `start` to its `head`; `known` are seals that were noted at another time."""
        wanted = {link.seq: link.seal for link in known}
        found = Verified(start=start, head=start)
        for one in kept:
            self._follow(found, one)
            if wanted.pop(one.seq, one.seal) != one.seal:
                found.tell(one.seq, "its seal is not the one that was noted")
        if head is not None and head != found.head:
            found.tell(found.head.seq + 1, f"the chain ends here, but went on to receipt {head.seq}")
        for seq in sorted(wanted):
            found.tell(seq, "it was noted and is not there")
        return found

    def _follow(self, found: Verified, one: Kept) -> None:
        seq, before = found.head
        found.count += 1
        if one.seq != seq + 1:
            missing = f"receipts {seq + 1} to {one.seq - 1} are missing" if one.seq > seq else "it is there twice"
            found.tell(one.seq, missing)
        elif one.seal != self.seal(before, one.seq, one.body):
            found.tell(one.seq, "it, or its seal, was changed")
        found.head = Link(one.seq, one.seal)


@dataclass
class Verified:
    """What came of following a chain."""

    start: Link
    head: Link
    count: int = 0
    flaws: list[tuple[int, str]] = field(default_factory=list)  # receipt, what is wrong with it; the first of many

    def tell(self, seq: int, what: str) -> None:
        if len(self.flaws) < MOST_FLAWS:
            self.flaws.append((seq, what))
