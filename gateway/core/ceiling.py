"""What all requests hold in memory, counted in bytes, under one ceiling.

Every request has an account; its parts say how large they are now. Closing the account gives back all of it,
so that nothing can stay counted for a request that is over.
"""

from __future__ import annotations


class Ceiling:
    """The bytes of one process; 0: counted, without a limit."""

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self.held = 0

    @property
    def reached(self) -> bool:
        return 0 < self._most <= self.held

    def account(self) -> Account:
        return Account(self)

    def add(self, size: int) -> bool:
        """Count so many more, or fewer; False: they do not fit and are not counted."""
        if size > 0 and 0 < self._most < self.held + size:
            return False
        self.held += size
        return True


class Account:
    """What one request holds, part by part."""

    __slots__ = ("_ceiling", "_closed", "_parts")

    def __init__(self, ceiling: Ceiling | None = None) -> None:
        self._ceiling = Ceiling() if ceiling is None else ceiling
        self._parts: dict[str, int] = {}
        self._closed = False

    @property
    def held(self) -> int:
        return sum(self._parts.values())

    def set(self, part: str, size: int) -> bool:
        """That a part is so large now; False: it cannot grow to that and stays counted as it was."""
        before = self._parts.get(part, 0)
        if size == before:
            return True
        if self._closed or not self._ceiling.add(size - before):
            return False
        self._parts[part] = size
        return True

    def grow(self, part: str, size: int) -> bool:
        return self.set(part, self._parts.get(part, 0) + size)

    def close(self) -> None:
        """The request is over: everything it held is given back, once."""
        self._closed = True
        self._ceiling.add(-self.held)
        self._parts.clear()
