"""Verdicts that services and models have given, kept for a while: the same check is not paid twice for the same text."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.checks.base import Check
from gateway.core.terms import Judgement, Passage

MOST = 10_000  # verdicts
LIFETIME = 600.0  # seconds
LONGEST = 10_000  # characters of the paths in one: keys that a client made up stand in them


class Verdicts:
    """By the version of the check and the digest of what it was shown; the one not used for longest goes first.

    Holds no text. A failure is no verdict and is not kept.
    """

    def __init__(
        self, most: int = MOST, lifetime: float = LIFETIME, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._lifetime = lifetime
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, Judgement]] = OrderedDict()

    def key(self, check: Check, passages: Sequence[Passage]) -> bytes:
        parts = [part for passage in passages for part in (passage.path, passage.place, passage.text)]
        lengths = " ".join([str(len(part)) for part in parts])  # no other parts make the same text with these
        told = f"{check.version} {lengths}\n{''.join(parts)}"
        return hashlib.blake2b(told.encode(errors="surrogatepass"), digest_size=32).digest()

    def get(self, key: bytes) -> Judgement | None:
        """As it was given, but free of charge."""
        if (found := self._kept.get(key)) is None:
            return None
        until, judgement = found
        if self._clock() >= until:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return judgement

    def put(self, key: bytes, judgement: Judgement) -> None:
        """Keep it, unless it is too large to keep many."""
        if sum(map(len, judgement.paths)) + sum(len(span.path) for span in judgement.spans) > LONGEST:
            return
        self._kept[key] = (self._clock() + self._lifetime, replace(judgement, usage=None, note="cached"))
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
