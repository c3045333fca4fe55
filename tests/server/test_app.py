"""A fault of ours: a 500 in OpenAI's shape before anything was sent, a visible cut after."""

import asyncio

import aiohttp
import pytest

from gateway.config.model import House
from gateway.core.terms import Delta
from gateway.policy.model import PolicySet
from gateway.server.app import Gateway
from gateway.settings import Settings

HOUSE = House.model_validate({"upstreams": {"up": {"scripted": []}}, "default_upstream": "up"})


class Faulty:
    """Its frames cannot be written as JSON from number `good` on."""

    def __init__(self, good):
        self.good = good

    async def answer(self, call, headers, record, pulse):
        for _ in range(self.good):
            yield [Delta({"choices": []})]
        await asyncio.sleep(0.05)
        yield [Delta({"choices": [object()]})]


@pytest.mark.parametrize("good", [0, 1])
async def test_a_fault_of_ours(good, aiohttp_raw_server):
    receipts = []
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {"up": Faulty(good)}, keep=receipts.append)
    server = await aiohttp_raw_server(gateway.handle)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    async with aiohttp.ClientSession() as client:
        asked = client.post(server.make_url("/v1/chat/completions"), json=body)
        if good:
            with pytest.raises(aiohttp.ClientPayloadError):
                async with asked as answer:
                    await answer.read()
        else:
            async with asked as answer:
                assert answer.status == 500
                assert (await answer.json())["error"]["message"] == "The gateway failed."
    assert receipts[0].decision == "failed"
