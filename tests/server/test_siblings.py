"""A worker's line to its parent: what may not be lost with the worker is told without being asked for."""

import asyncio
import socket

from gateway.config.model import House
from gateway.policy.model import PolicySet
from gateway.server import siblings
from gateway.server.app import Gateway
from gateway.server.line import Unpacking
from gateway.server.siblings import Siblings
from gateway.settings import Settings
from tests.patience import until

HOUSE = House.model_validate({"upstreams": {"up": {"scripted": []}}, "default_upstream": "up"})


async def test_what_was_counted_and_new_policies_are_told_within_a_second(leap):
    assert siblings.EVERY <= 1
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    unpacking, messages = Unpacking(), []

    def told(kind):
        try:
            messages.extend(unpacking.feed(ours.recv(1 << 18)))
        except BlockingIOError:
            pass
        return [message for message in messages if message["is"] == kind]

    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {}, keep=lambda _: None)
    running = asyncio.create_task(Siblings(theirs).run(gateway, lambda: None))
    await until(lambda: told("listening"))
    leap(siblings.EVERY)
    await until(lambda: told("told"))
    assert not told("loaded")
    gateway.policies = PolicySet(())
    leap(siblings.EVERY)
    await until(lambda: told("loaded"))
    assert len(told("told")) == 1  # nothing was counted since
    running.cancel()
    await asyncio.wait({running})
    ours.close()
