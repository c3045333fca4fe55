"""A large body keeps nobody else waiting: it is read on a thread, a small one where it is."""

import json
import threading

import pytest

from gateway.config.model import House
from gateway.policy.model import PolicySet
from gateway.server.app import INLINE, QUOTES, Gateway
from gateway.server.upstreams import make_upstreams
from gateway.settings import Settings
from gateway.wire.endpoint import Endpoint

HOUSE = House.model_validate({"upstreams": {"up": {"scripted": [{"reply": "Read."}]}}, "default_upstream": "up"})


@pytest.mark.parametrize("size", [10, INLINE - 200, INLINE + 1, 1_000_000])
@pytest.mark.parametrize("strings", [1, QUOTES // 2 - 20, QUOTES // 2])
async def test_where_a_body_is_read(size, strings, monkeypatch, aiohttp_raw_server, aiohttp_client):
    threads, read = [], Endpoint.read

    def noted(*args):
        threads.append(threading.current_thread())
        return read(*args)

    monkeypatch.setattr(Endpoint, "read", noted)
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), make_upstreams(HOUSE), keep=lambda _: None)
    client = await aiohttp_client(await aiohttp_raw_server(gateway.handle))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * size}], "stop": ["."] * strings})
    async with client.post("/v1/chat/completions", data=body, headers={"content-type": "application/json"}) as response:
        assert response.status == 200
    assert [thread is threading.main_thread() for thread in threads] == [
        len(body) <= INLINE and body.count('"') <= QUOTES
    ]
