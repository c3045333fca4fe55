"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

WIDTH = 30
EVERY = 0.1  # seconds between two drawings


class Progress:
    """Use as a context; call `at` with the number that is done."""

    def __init__(self, what: str, total: int) -> None:
        """`total`: 0 where it is not known."""
        self._what = what
        self._total = total
        self._shown = 0.0
        self._on = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on:
            sys.stderr.write("\r\033[K")

    def at(self, done: int) -> None:
        now = time.monotonic()
        if not self._on or (now - self._shown < EVERY and done != self._total):
            return
        self._shown = now
        full = WIDTH * done // max(1, self._total)
        bar = f"[{'#' * full}{' ' * (WIDTH - full)}] {done}/{self._total}" if self._total else str(done)
        sys.stderr.write(f"\r{self._what} {bar}")
        sys.stderr.flush()
