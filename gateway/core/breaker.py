"""A circuit breaker: what fails again and again is left alone for a while, then tried with one call."""

from __future__ import annotations

from enum import StrEnum

FAILURES = 5  # in a row
PAUSE = 5.0  # seconds


class State(StrEnum):
    CLOSED = "closed"  # calls go
    OPEN = "open"  # none goes
    PROBING = "half-open"  # one goes; what it meets decides


class Breaker:
    """Of one target. Times are seconds of one monotonic clock.

    Every call that `admits` let through is reported once: `succeeded`, `failed` or `dropped`.
    """

    def __init__(self, failures: int = FAILURES, pause: float = PAUSE) -> None:
        self._most = failures
        self._pause = pause
        self._failures = 0
        self._opened = 0.0
        self.state = State.CLOSED

    def admits(self, now: float) -> bool:
        """Whether a call may go."""
        if self.state is State.OPEN and now >= self._opened + self._pause:
            self.state = State.PROBING
            return True
        return self.state is State.CLOSED

    def succeeded(self) -> None:
        # A straggler from before it opened proves nothing: only the probe closes it.
        if self.state is not State.OPEN:
            self._failures, self.state = 0, State.CLOSED

    def failed(self, now: float) -> None:
        self._failures += 1
        if self.state is State.PROBING or (self.state is State.CLOSED and self._failures >= self._most):
            self.state, self._opened = State.OPEN, now

    def dropped(self) -> None:
        """Nobody waited for it: it says nothing, and the place of a probe is free again."""
        if self.state is State.PROBING:
            self.state = State.OPEN
