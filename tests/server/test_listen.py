"""Which bytes are one whole request, so that nothing of another can be swallowed with it; which signals are heard when."""

import os
import signal

import pytest

from gateway.config.model import House
from gateway.policy.model import PolicySet
from gateway.server.app import Gateway
from gateway.server.listen import is_whole, serve
from gateway.server.reload import Reloader, Watched
from gateway.settings import Settings
from tests.end_to_end.process import free_port

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
