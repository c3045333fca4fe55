"""How late the loop is, is looked at while requests come, and not while nobody asks."""

import asyncio

from gateway.config.model import House
from gateway.policy.model import PolicySet
from gateway.server import admin
from gateway.server.app import Gateway
from gateway.settings import Settings
from tests.patience import until

HOUSE = House.model_validate({"upstreams": {"up": {"scripted": []}}, "default_upstream": "up"})


async def test_a_gateway_that_idles_sleeps(monkeypatch):
    looks = []
    monkeypatch.setattr(admin, "EVERY", 0.0)
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {}, keep=lambda _: None)
    monkeypatch.setattr(gateway.metrics.lag, "observe", looks.append)
    watching = asyncio.create_task(admin.watch_loop(gateway))
    await turns(10)
    assert looks == []
    gateway.in_flight = 1
    gateway.stirred.set()
    await until(lambda: len(looks) > 2)
    gateway.in_flight = 0
    await turns(10)
    seen = len(looks)
    await turns(10)
    assert len(looks) == seen
    watching.cancel()
    await asyncio.wait({watching})


async def turns(number):
    for _ in range(number):
        await asyncio.sleep(0)
