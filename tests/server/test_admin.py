"""How late the loop is, is looked at while requests come; while nobody asks, memory is given back, once."""

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


async def test_memory_is_given_back_once_in_a_lull(monkeypatch):
    given = []
    monkeypatch.setattr(admin, "EVERY", 0.0)
    monkeypatch.setattr(admin, "LULL", 0.0)
    monkeypatch.setattr(admin, "give_back", lambda: given.append(1))
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {}, keep=lambda _: None)
    watching = asyncio.create_task(admin.watch_loop(gateway))
    for lulls in (1, 2):
        await until(lambda lulls=lulls: len(given) == lulls)
        await turns(10)
        assert len(given) == lulls
        gateway.stirred.set()
    watching.cancel()
    await asyncio.wait({watching})


async def turns(number):
    for _ in range(number):
        await asyncio.sleep(0)
