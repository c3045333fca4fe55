"""Who may come in, who waits, who is sent away: so many at a time, a short queue, first come, first served.

Nobody waits while there is a place; a place that becomes free goes to whoever has waited longest.
"""

from __future__ import annotations

from enum import StrEnum


class Answer(StrEnum):
    IN = "in"
    WAIT = "wait"
    FULL = "full"


class Admission:
    """The places of one process. Guests are known by their ids, and each comes once."""

    def __init__(self, most: int, most_waiting: int) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._inside: set[str] = set()
        self._waiting: dict[str, None] = {}  # in the order they came

    @property
    def inside(self) -> int:
        return len(self._inside)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether one more would be sent away."""
        return len(self._inside) >= self._most and len(self._waiting) >= self._most_waiting

    def ask(self, guest: str) -> Answer:
        if len(self._inside) < self._most:
            self._inside.add(guest)
            return Answer.IN
        if len(self._waiting) < self._most_waiting:
            self._waiting[guest] = None
            return Answer.WAIT
        return Answer.FULL

    def leave(self, guest: str) -> str | None:
        """Give a place back, or give up waiting; who comes in for that. Who is neither changes nothing."""
        if guest in self._waiting:
            del self._waiting[guest]
            return None
        if guest not in self._inside:
            return None
        self._inside.remove(guest)
        if not self._waiting:
            return None
        following = next(iter(self._waiting))
        del self._waiting[following]
        self._inside.add(following)
        return following
