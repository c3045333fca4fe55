"""Which bytes are one whole request, so that nothing of another can be swallowed with it; which signals are heard when."""

import asyncio
import os
import signal

import pytest
from aiohttp import web

from gateway.config.model import House
from gateway.policy.model import PolicySet
from gateway.server.app import Gateway
from gateway.server.listen import Listener, is_whole, serve
from gateway.server.reload import Reloader, Watched
from gateway.settings import Settings
from tests.end_to_end.process import Wire, free_port
from tests.patience import until

BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nBusy."
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


def test_a_plain_request_is_whole():
    assert is_whole(HEAD + b"Content-Length: 2\r\n\r\n{}")
    assert is_whole(HEAD + b"content-length:0\r\nx: y\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + b"\r\n",
        HEAD + b"content-length: 2\r\n\r\n{",
        HEAD + b"content-length: 2\r\n\r\n{}P",
        HEAD + b"content-length: 2\r\n\r\n{}" + HEAD + b"content-length: 2\r\n\r\n{}",
        HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"x-content-length: 2\r\n\r\n{}",
        HEAD + b"content-length: +2\r\n\r\n{}",
        HEAD + b"content-length: 2, 2\r\n\r\n{}",
        HEAD + b"content-length: 000000002\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nExpect: 100-continue\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nOrigin: https://a.example\r\n\r\n{}",
        HEAD + b"content-length: 2\r\nConnection: close\r\n\r\n{}",
        HEAD.replace(b"1.1", b"1.0") + b"content-length: 2\r\n\r\n{}",
        HEAD.replace(b"POST", b"GET") + b"content-length: 2\r\n\r\n{}",
    ],
)
def test_everything_else_goes_to_the_parser(data):
    assert not is_whole(data)


async def test_who_is_told_that_it_serves_may_ask_for_new_policies_at_once():
    """A SIGHUP that nobody has asked for yet would end the process."""
    heard = []

    def started():
        heard.append(signal.getsignal(signal.SIGHUP))
        os.kill(os.getpid(), signal.SIGTERM)

    house = House.model_validate({"upstreams": {"up": {"scripted": []}}})
    gateway = Gateway(Settings(port=free_port(), admin_port=0), house, PolicySet(()), {}, keep=lambda _: None)
    await serve(gateway, started, Reloader(lambda: PolicySet(()), Watched(())))
    assert heard != [signal.SIG_DFL]


async def test_a_slow_head_of_a_further_request_is_cut_as_well(leap):
    begun = asyncio.Event()

    async def answer(request):
        begun.set()
        await request.read()
        return web.Response(text="All is well.")

    listener, port = Listener(answer, head_timeout=20.0, most=9), free_port()
    server = await asyncio.get_running_loop().create_server(listener, "127.0.0.1", port, reuse_port=True)
    async with server, Wire(port) as wire:
        for _ in range(2):
            wire.data = b""
            begun.clear()
            await wire.send(HEAD + b"content-length: 2\r\n\r\n")
            await begun.wait()
            await wire.send(b"{}")
            await wire.read(until=b"All is well.")
            leap(30)  # an idle connection may stay
        await wire.send(HEAD[:20])
        (connection,) = listener.connections
        await until(lambda: connection._head_timer is not None)
        leap(30)
        await wire.read()
    assert wire.data.endswith(b"All is well.")


async def test_who_was_served_before_is_sent_away_as_fast_as_anybody():
    """Reading a body lets the parser go on with nothing, which is nothing that came."""
    turns = iter([b"", BUSY, b"", BUSY])

    async def answer(request):
        await request.read()
        return web.Response(text="All is well.")

    listener, port = Listener(answer, head_timeout=20.0, most=9, shed=lambda: next(turns) or None), free_port()
    server = await asyncio.get_running_loop().create_server(listener, "127.0.0.1", port, reuse_port=True)
    async with server, Wire(port) as wire:
        for told in (b"All is well.", b"Busy.", b"All is well.", b"Busy."):
            wire.data = b""
            await wire.send(HEAD + b"content-length: 2\r\n\r\n{}")
            await wire.read(until=told)
