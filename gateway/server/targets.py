"""Calls of checks to models and services, under one failure policy for each target.

A call waits for room, goes if the breaker admits it, is made again after a connection failure or a
5xx while the deadline and the budget of retries allow it, and tells the breaker what it met.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson
import structlog

from gateway import __version__
from gateway.checks.base import Ask, CheckFault, ServiceCall
from gateway.config.model import DEFAULT, House
from gateway.core.breaker import Breaker, State
from gateway.core.terms import Document
from gateway.server.calling import Answer, CallLost, Client, Late, Request, Unreachable
from gateway.server.clients import open_client
from gateway.server.spending import Spent
from gateway.server.upstream import RETRIED_STATUSES, RetryBudget, Upstream, UpstreamError

log = structlog.get_logger()
T = TypeVar("T")

ATTEMPTS = 3
FIRST_WAIT = 0.05  # seconds; doubled for each further attempt, half of it at random
ROOM = 64  # calls of checks to one target at a time; more wait within their deadline
MAX_ANSWER = 4 * 1024**2  # bytes
GRACE = 1.0  # seconds beyond a look's deadline, which is to speak first


class _Lost(Exception):
    """One attempt failed; the words are safe for a receipt."""

    def __init__(self, words: str, *, again: bool, ill: bool) -> None:
        super().__init__(words)
        self.again = again  # another attempt may succeed
        self.ill = ill  # the target is to blame


class Target:
    """One model or service."""

    def __init__(self, name: str, room: int) -> None:
        self.name = name
        self.breaker = Breaker()
        self._room = asyncio.Semaphore(room)
        self._budget = RetryBudget()

    async def call(self, attempt: Callable[[], Awaitable[T]], until: float) -> T:
        """What the attempt gives. Raises CheckFault."""
        async with self._room:
            self._budget.earn()
            for number in range(ATTEMPTS):
                try:
                    return await self._once(attempt, until)
                except _Lost as lost:
                    wait = FIRST_WAIT * 2**number * random.uniform(0.5, 1)  # noqa: S311 -- spreads retries
                    last = number + 1 == ATTEMPTS or time.monotonic() + wait >= until
                    if last or not lost.again or not self._budget.spend():
                        raise CheckFault(str(lost)) from lost
                    await asyncio.sleep(wait)
            raise AssertionError("the last attempt returns or raises")

    async def _once(self, attempt: Callable[[], Awaitable[T]], until: float) -> T:
        if not self.breaker.admits(time.monotonic()):
            raise CheckFault("not asked: its target keeps failing (breaker open)")
        try:
            answer = await attempt()
        except _Lost as lost:
            self._met(lost.ill)
            raise
        except asyncio.CancelledError:
            # At its deadline that is the target's fault; before, nobody waited for it any more.
            if time.monotonic() >= until:
                self._met(ill=True)
            else:
                self.breaker.dropped()
            raise
        except BaseException:
            self.breaker.dropped()
            raise
        self._met(ill=False)
        return answer

    def _met(self, ill: bool) -> None:  # noqa: FBT001
        before = self.breaker.state
        if ill:
            self.breaker.failed(time.monotonic())
        else:
            self.breaker.succeeded()
        if self.breaker.state is not before:
            say = log.warning if self.breaker.state is State.OPEN else log.info
            say("breaker", target=self.name, state=str(self.breaker.state))


class Targets:
    """Every target that checks have called so far, and the one client to services."""

    def __init__(self, house: House, upstreams: Mapping[str, Upstream], room: int = ROOM) -> None:
        self._house = house
        self._upstreams = upstreams
        self._room = room
        self._targets: dict[str, Target] = {}
        self._client: Client | None = None

    def until(self, when: float, spent: Spent | None = None) -> Ask:
        """The port for one look, which ends at `when` (monotonic seconds); what it costs goes to `spent`."""
        return _Look(self, when, Spent() if spent is None else spent)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def states(self) -> list[tuple[str, State]]:
        """Each target that was called so far, and how its breaker stands."""
        return [(target.name, target.breaker.state) for target in self._targets.values()]

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            self._targets[name] = Target(name, self._room)
        return self._targets[name]

    async def ask(self, until: float, spent: Spent, endpoint: str, model: str, body: Document) -> Document:
        route = self._house.route(model)
        if route is None:
            raise CheckFault("its model is not known")
        upstream = self._upstreams[route.upstream]

        async def attempt() -> Document:
            try:
                answer = await upstream.ask(endpoint, route.model, body)
                usage = answer.get("usage")
                spent.add(usage if isinstance(usage, dict) else None, self._house.price(route.model))
                return answer
            except UpstreamError as error:
                ill = error.retry or error.fault.status >= 500
                words = f"its model failed: {error.fault.code}"
                raise _Lost(words, again=error.retry, ill=ill) from error

        return await self._target(f"{route.upstream}/{route.model}").call(attempt, until)

    async def post(self, until: float, call: ServiceCall) -> Any:
        if self._client is None:
            self._client = open_client(DEFAULT)
        client = self._client
        parts = urlsplit(call.url)
        late = until + GRACE
        return await self._target(f"{parts.netloc}{parts.path}").call(lambda: _post(client, call, late), until)


class _Look:
    """The port of one look."""

    def __init__(self, targets: Targets, until: float, spent: Spent) -> None:
        self._targets = targets
        self._until = until
        self._spent = spent

    async def __call__(self, endpoint: str, model: str, body: Document) -> Document:
        return await self._targets.ask(self._until, self._spent, endpoint, model, body)

    async def post(self, call: ServiceCall) -> Any:
        return await self._targets.post(self._until, call)


async def _post(client: Client, call: ServiceCall, until: float) -> Any:
    """One attempt. The look's own deadline is around it. Raises _Lost."""
    body = orjson.dumps(call.body)
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"outrider/{__version__}",
        **call.headers,
    }
    if call.sign is not None:
        headers |= await asyncio.to_thread(call.sign, call.url, body)
    try:
        answer = await client.send(Request("POST", call.url, headers, body), until)
        try:
            if answer.status != 200:
                again = answer.status in RETRIED_STATUSES
                raise _Lost(f"its service answered {answer.status}", again=again, ill=again)
            data = await _read(answer, until)
            answer.release()
        finally:
            answer.close()
    except (Unreachable, Late):
        raise _Lost("its service cannot be reached", again=True, ill=True) from None
    except CallLost:
        raise _Lost("its service's answer cannot be read", again=False, ill=True) from None
    return _parsed(data)


async def _read(answer: Answer, until: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await answer.read(until):
        size += len(part)
        if size > MAX_ANSWER:
            raise _Lost("its service's answer is too large", again=False, ill=True)
        parts.append(part)
    return b"".join(parts)


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise _Lost("its service's answer is no JSON", again=False, ill=True) from None
