"""A worker's line to the process that started it: tells how it stands, and asks how all of them stand.

The line is also what a worker lives by: when it breaks, nobody looks after the worker any more, and it drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.server.app import Gateway
from gateway.server.line import Message, Unpacking, packed
from gateway.server.sums import families, merged, text
from gateway.wire import canonical

EVERY = 1.0  # seconds between two looks whether there is something to tell
PATIENCE = 2.0  # seconds that an answer about all may take


@dataclass
class Whole:
    """How all workers stand."""

    wanted: int = 0
    restarts: int = 0
    states: list[Message] = field(default_factory=list)  # of those that answered
    gone: list[Message] = field(default_factory=list)  # families of those that did not, or are no more

    @property
    def ready(self) -> list[Message]:
        return [state for state in self.states if state["ready"]]

    def metrics(self) -> bytes:
        whole = merged([*(state["families"] for state in self.states), *self.gone])
        whole |= _own("outrider_workers", "Processes that share the port and answer", "gauge", len(self.states))
        whole |= _own("outrider_worker_restarts", "Processes started for others that died", "counter", self.restarts)
        return text(whole)

    def health(self) -> tuple[int, bytes]:
        """Ready while one of them is: the port is served."""
        told: dict[str, Any] = {
            "status": "ok" if self.ready else "draining" if self.states else "no worker answers",
            "workers": {"wanted": self.wanted, "ready": len(self.ready)},
            "policies": sorted({name for state in self.states for name in state["policies"]}),
        }
        if refused := sorted({mistake for state in self.states for mistake in state["refused"]}):
            told["refused"] = refused
        return (200 if self.ready else 503), canonical.dump(told)


def _own(name: str, said: str, kind: str, value: float) -> dict[str, dict[str, Any]]:
    sample = f"{name}_total" if kind == "counter" else name
    return {name: {"help": said, "type": kind, "samples": [[sample, {}, value]]}}


class Siblings:
    """One worker's end of the line."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Whole]] = {}

    async def run(self, gateway: Gateway, broken: Callable[[], None]) -> None:
        """Until it is cancelled; `broken` is called when the other end is gone."""
        reader, self._writer = await asyncio.open_connection(sock=self._line)
        self._say({"is": "listening", "pid": os.getpid()})
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell(gateway))
                await self._listen(reader, gateway)
                broken()
        finally:
            self._writer.close()

    async def whole(self) -> Whole:
        """How all workers stand now. Nothing is known of them where no answer comes in time."""
        number = next(self._numbers)
        asked: asyncio.Future[Whole] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        self._say({"is": "ask", "number": number})
        try:
            async with asyncio.timeout(PATIENCE):
                return await asked
        except TimeoutError:
            return Whole()
        finally:
            del self._asked[number]

    async def _listen(self, reader: asyncio.StreamReader, gateway: Gateway) -> None:
        unpacking = Unpacking()
        with contextlib.suppress(ConnectionError):  # killed, with something unread
            while data := await reader.read(65_536):
                for message in unpacking.feed(data):
                    self._take(message, gateway)

    def _take(self, message: Message, gateway: Gateway) -> None:
        if message["is"] == "tell":
            self._say({"is": "told", "number": message["number"], "state": _state(gateway)})
        elif (asked := self._asked.get(message["number"])) is not None and not asked.done():
            asked.set_result(Whole(message["wanted"], message["restarts"], message["states"], message["gone"]))

    async def _tell(self, gateway: Gateway) -> None:
        """What must not be lost with this process, and that there are new policies."""
        counted, policies = -1, gateway.policies
        while True:
            await asyncio.sleep(EVERY)
            if gateway.metrics.counted != counted:
                counted = gateway.metrics.counted
                self._say({"is": "told", "number": 0, "state": _state(gateway)})
            if gateway.policies is not policies:
                policies = gateway.policies
                self._say({"is": "loaded"})

    def _say(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(packed(message))


def _state(gateway: Gateway) -> Message:
    gateway.metrics.in_flight.set(gateway.in_flight)
    return {
        "ready": gateway.ready,
        "policies": [policy.version for policy in gateway.policies.policies],
        "refused": gateway.mistakes,
        "families": families(gateway.metrics.registry),
    }
