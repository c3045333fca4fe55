"""Which bytes are one whole request, so that nothing of another can be swallowed with it."""

import pytest

from gateway.server.listen import is_whole

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
