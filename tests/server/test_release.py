"""Clients that do not read: every write has its limit, and what they were told in part ends visibly."""

import asyncio
import json
import socket
from types import SimpleNamespace

import pytest

from gateway.config.model import House
from gateway.core.terms import Delta, Piece, Place
from gateway.policy.model import PolicySet
from gateway.server import release
from gateway.server.app import Gateway
from gateway.server.release import ClientGone, Reaching
from gateway.server.whole import AT_ONCE, go_on
from gateway.settings import Settings
from gateway.wire.canonical import dump
from gateway.wire.endpoints import CHAT
from tests.patience import LONG, until

HOUSE = House.model_validate({"upstreams": {"up": {"scripted": []}}, "default_upstream": "up"})
LARGE = 20_000_000  # bytes: more than the sockets of both sides take


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(release, "STALLED", 0.2)


class Wordy:
    """Says one large text, plain or in a stream."""

    async def answer(self, call, headers, record, pulse):
        said = {"content": "x" * LARGE}
        frame = {"choices": [{"index": 0, "delta" if call.stream else "message": said, "finish_reason": "stop"}]}
        yield [Delta(frame, (Piece("c", Place.CONTENT, said["content"]),), LARGE)]


def read_all(sock):
    """To the end of the connection, however it ends: how many bytes came."""
    size = 0
    try:
        while data := sock.recv(1_000_000):
            size += len(data)
    except ConnectionError:
        pass
    return size


class Talkative:
    """Says as much in many small pieces."""

    def __init__(self):
        self.said = 0

    async def answer(self, call, headers, record, pulse):
        text = "x" * 4_000
        for _ in range(LARGE // len(text)):
            self.said += len(text)
            frame = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
            yield [Delta(frame, (Piece("c", Place.CONTENT, text),), len(text))]
            await asyncio.sleep(0)


async def test_what_is_written_piece_by_piece_waits_for_who_reads_nothing(impatient, monkeypatch, aiohttp_raw_server):
    """Or all of it would lie here, however long it is."""
    waiting = []

    def noted(http, data):
        done = go_on(http, data)
        waiting.append(http.transport.get_write_buffer_size())
        return done

    monkeypatch.setattr(release, "go_on", noted)
    upstream = Talkative()
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {"up": upstream}, keep=lambda _: None)
    server = await aiohttp_raw_server(gateway.handle)
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(head % len(body) + body)
        await until(lambda: upstream.said and not gateway.in_flight)
    assert len(waiting) > 2  # most pieces went this way
    assert max(waiting) <= 4 * AT_ONCE
    assert upstream.said < LARGE


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_reads_nothing_is_cut(stream, impatient, aiohttp_raw_server):
    receipts = []
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {"up": Wordy()}, keep=receipts.append)
    server = await aiohttp_raw_server(gateway.handle)
    body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "x"}]}).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(head % len(body) + body)
        await until(lambda: receipts)
        async with asyncio.timeout(LONG):
            assert await asyncio.to_thread(read_all, sock) < LARGE


@pytest.mark.parametrize("paused", [False, True])
async def test_a_write_that_waits_for_the_client_has_a_limit_however_small_it_is(paused, impatient):
    """The connection was full; by now the client has read some of it, and then no more."""
    transport = SimpleNamespace(get_write_buffer_size=lambda: 20_000, abort=lambda: None)
    http = SimpleNamespace(transport=transport, protocol=SimpleNamespace(writing_paused=paused))

    async def write():
        async with Reaching(http, 10):
            await asyncio.sleep(0.4)

    if paused:
        with pytest.raises(ClientGone):
            await write()
    else:
        await write()


class Together:
    """All chunks of an answer in one read."""

    def __init__(self, *, indexed):
        self.indexed = indexed

    async def answer(self, call, headers, record, pulse):
        chunks = [{"delta": {"content": f" {number}"}, "finish_reason": None} for number in range(6)]
        chunks.append({"delta": {}, "finish_reason": "stop"})
        chunks = [{"index": 0, **chunk} if self.indexed else chunk for chunk in chunks]
        reader = CHAT.reader(call.document, stream=True)
        deltas = list(reader.events([dump({"id": "c", "choices": [chunk]}) for chunk in chunks]))
        assert any(delta.several for delta in deltas)
        yield deltas


@pytest.mark.parametrize("indexed", [True, False])  # a chunk without an index gets one
async def test_chunks_that_are_taken_as_one_reach_the_client_each_by_itself(
    indexed, aiohttp_raw_server, aiohttp_client
):
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {"up": Together(indexed=indexed)}, keep=lambda _: None)
    client = await aiohttp_client(await aiohttp_raw_server(gateway.handle))
    asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    async with client.post("/v1/chat/completions", json=asked) as response:
        said = (await response.text()).split("\n\n")
    assert said[-2:] == ["data: [DONE]", ""]
    events = [json.loads(event.removeprefix("data: "))["choices"][0] for event in said[:-2]]
    assert [event["delta"].get("content") for event in events] == [*(f" {number}" for number in range(6)), None]
    assert {event["index"] for event in events} == {0}
