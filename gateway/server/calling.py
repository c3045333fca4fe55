"""The port to whoever makes HTTP calls out: one request, its answer read piece by piece, four ways to fail.

A client goes only where it is sent: it follows no redirect, keeps no cookie, uses no proxy of the
environment and inflates nothing. Times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    connect: float = math.inf  # seconds that making a connection may take


class CallLost(Exception):
    """The call came to nothing."""


class Unreachable(CallLost):
    """No connection, or one that was closed before there was an answer."""


class Late(CallLost):
    """Not in time."""

    def __init__(self, *, connecting: bool = False) -> None:
        super().__init__()
        self.connecting = connecting  # nothing was sent


class Unreadable(CallLost):
    """What came is no HTTP, or the request could not be made into any."""


class BrokenOff(CallLost):
    """The answer began and did not come to its end."""


class Answer(Protocol):
    """One answer. Whoever has it ends it with `release` or `close`."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By their names in lower case."""
        ...

    @property
    def media(self) -> str:
        """The content type without its parameters, in lower case."""
        ...

    def forget_headers(self) -> None:
        """They have been read, and are not kept for as long as the body takes."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it is known that nothing of the body is left to be read."""
        ...

    async def read(self, until: float) -> bytes:
        """What has come of the body, at least a byte; nothing at its end. Raises CallLost."""
        ...

    def release(self) -> None:
        """Enough was read: its connection may be used again if it is at the answer's end."""
        ...

    def close(self) -> None:
        """Cuts the connection at once, unless the answer was read to its end or released."""
        ...


class Client(Protocol):
    """Makes calls over connections that it keeps."""

    async def send(self, request: Request, until: float) -> Answer:
        """Returns when the head of the answer has come. Raises CallLost."""
        ...

    async def close(self) -> None: ...
