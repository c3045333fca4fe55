"""Answers in whatever pieces: what is read of good ones, what is refused, and what no bytes may bring about."""

import contextlib
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire import http1
from gateway.wire.http1 import Answer, Broken, Place
from tests.conftest import many
from tests.server.rough import answer, in_chunks

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


def read(*pieces, end=False):
    """The answer and its body; None for the answer when it is refused."""
    found = Answer()
    try:
        for piece in pieces:
            found.feed(piece)
        if end:
            found.end()
    except Broken:
        return None, found.take()
    return found, found.take()


def test_a_request_is_one_head_with_the_length_of_its_body():
    place, start = http1.line("POST", "http://127.0.0.1:8080/v1/chat?x=%20y")
    assert place == Place("127.0.0.1", 8080, False)
    assert http1.head(start, {"a": "b"}, b"{}") == (
        b"POST /v1/chat?x=%20y HTTP/1.1\r\nhost: 127.0.0.1:8080\r\na: b\r\ncontent-length: 2\r\n\r\n"
    )
    place, start = http1.line("GET", "https://example.org/models")
    assert place == Place("example.org", 443, True)
    assert http1.head(start, {}, None) == b"GET /models HTTP/1.1\r\nhost: example.org\r\n\r\n"
    assert http1.line("GET", "http://[::1]:99/")[1].endswith(b"host: [::1]:99\r\n")


@pytest.mark.parametrize(
    "headers", [{"a": "b\r\nc: d"}, {"a": "b\nc"}, {"a\r": "b"}, {"a": "b\0"}, {"a": "\r\n", "b": ""}]
)
def test_no_header_can_add_a_line(headers):
    with pytest.raises(ValueError):
        http1.head(b"GET / HTTP/1.1\r\n", headers, None)


@pytest.mark.parametrize("url", ["ftp://h/", "http:///x", "http://h/a b", "http://h/a\r\nx: y", "/v1", "http://h/\0"])
def test_no_url_can_add_a_line(url):
    with pytest.raises(ValueError):
        http1.line("GET", url)


@pytest.mark.parametrize(
    ("data", "body", "reusable"),
    [
        (answer(b"hi"), b"hi", True),
        (answer(b""), b"", True),
        (in_chunks(b"hello ", b"there"), b"hello there", True),
        (in_chunks(), b"", True),
        (in_chunks(b"hi", trailers=b"x: y\r\n"), b"hi", False),
        (CHUNKED + b'2;a="b"\r\nhi\r\n0;z\r\n\r\n', b"hi", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + answer(b"hi"), b"hi", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
        (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nhi", b"", False),
        (b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", b"", False),
        (OK + b"x-empty:\r\ncontent-length:  2 \r\n\r\nhi", b"hi", True),
        # what follows an answer is not of it
        (answer(b"hi") + b"garbage", b"hi", False),
        (answer(b"hi") + answer(b"bad"), b"hi", False),
        (in_chunks(b"hi") + b"garbage", b"hi", False),
        (in_chunks(b"hi") + b"\r\n", b"hi", False),
        (in_chunks(b"hi") + in_chunks(b"bad"), b"hi", False),
        (answer(b"") + b"\0", b"", False),
    ],
)
def test_a_whole_answer(data, body, reusable):
    found, got = read(data)
    assert (found.complete, got, found.reusable) == (True, body, reusable)
    one_by_one, got = read(*(data[i : i + 1] for i in range(len(data))))
    assert (one_by_one.complete, got) == (True, body)
    assert one_by_one.reusable <= reusable  # in doubt, not


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\r\n" + answer(),
        b"http/1.1 200 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 099 What\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
        OK + b"a: b\n\nhi\r\n\r\n",
        OK + b"a: b\r\n c: d\r\n\r\n",
        OK + b"a : b\r\n\r\n",
        OK + b"a: b\0\r\n\r\n",
        OK + b"a: b\rc: d\r\n\r\n",
        OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nhi",
        OK + b"content-length: 2, 2\r\n\r\nhi",
        OK + b"content-length: +2\r\n\r\nhi",
        OK + b"content-length: -2\r\n\r\nhi",
        OK + b"content-length: 0x2\r\n\r\nhi",
        OK + b"content-length: 99999999999999999999999\r\n\r\nhi",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"transfer-encoding: identity\r\n\r\nhi",
        CHUNKED + b"g\r\nhi\r\n0\r\n\r\n",
        CHUNKED + b"-2\r\nhi\r\n0\r\n\r\n",
        CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n",
        CHUNKED + b"2 \r\nhi\r\n0\r\n\r\n",
        CHUNKED + b"2\nhi\r\n0\r\n\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n",
        OK + b"a: b\r\n" * 300 + b"\r\n",
        OK + b"a: " + b"b" * 70_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
        CHUNKED + b"2;" + b"x" * 100_000,
        CHUNKED + b"0\r\n" + b"a: b\r\n" * 300 + b"\r\n",
    ],
)
def test_what_is_refused(data):
    assert read(data) == (None, b"")
    found, got = read(*(data[i : i + 1] for i in range(len(data))))
    assert found is None or not found.complete
    assert got == b""


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 204 No Content\n\n", b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", OK + b"a: b\n\nhi\r\n\r\n"]
)
def test_a_parser_that_sees_another_end_of_a_head_than_we_do_is_not_believed(data):
    found = Answer()
    found._parser.set_dangerous_leniencies(lenient_headers=True, lenient_optional_cr_before_lf=True)
    with pytest.raises(Broken):
        found.feed(data)
    assert found.take() == b""


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"", b""),
        (OK[:9], b""),
        (OK + b"content-length: 5\r\n\r\nhel", b"hel"),
        (CHUNKED + b"5\r\nhel", b"hel"),
        (CHUNKED + b"5\r\nhello\r\n", b"hello"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", b"hello"),
        (CHUNKED + b"5\r\nhello\r\n0\r\nx: y\r\n", b"hello"),
    ],
)
def test_an_end_that_comes_early_is_no_end(data, body):
    assert read(data, end=True) == (None, body)


def test_a_body_without_a_length_ends_with_its_connection():
    found, body = read(OK + b"\r\nhello", b" there", end=True)
    assert (found.complete, found.reusable, body) == (True, False, b"hello there")


def test_headers_are_told_by_their_names_in_lower_case_the_first_of_each():
    found, _ = read(OK + b"X-A:  one \r\nx-a: two\r\nCONTENT-length: 0\r\n\r\n")
    assert found.headers == {"x-a": "one", "content-length": "0"}


def test_headers_of_a_provisional_answer_are_not_those_of_the_answer():
    found, body = read(
        b"HTTP/1.1 103 Early\r\ncontent-length: 9\r\nx-a: b\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi"
    )
    assert (found.headers, body, found.complete) == ({"content-length": "2"}, b"hi", True)


# No bytes whatever ...

BODIES = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"0\r\n\r\n", answer(b"x"), b"HTTP/1.1 200 OK\r\n\r\n"])
GOOD = st.one_of(
    BODIES.map(lambda body: (answer(body), body)),
    st.lists(BODIES.filter(len), max_size=5).map(lambda bodies: (in_chunks(*bodies), b"".join(bodies))),
)
CUTS = st.lists(st.integers(0, 400), max_size=8)
RUBBISH = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\0",
        b"\r",
        b" ",
        b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"content-length: 3\r\n",
        b"5\r\n",
        b"x" * 99,
    ]
) | st.binary(max_size=6)


def cut(data, cuts):
    at = sorted({c for c in cuts if c < len(data)} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@many
@given(GOOD, CUTS, RUBBISH | st.just(b""))
def test_a_good_answer_is_read_alike_in_any_pieces_with_anything_behind_it(good, cuts, behind):
    data, body = good
    found, got = read(*cut(data + behind, cuts))
    assert got == body
    assert found.complete
    assert not (behind and found.reusable)


@many
@given(GOOD, CUTS, st.integers(0, 400), RUBBISH, st.integers(0, 3))
@example((in_chunks(b"hi"), b"hi"), [], 62, b"\r\n", 0)
def test_a_damaged_answer_gives_what_its_pieces_agree_on(good, cuts, at, rubbish, lost):
    data = good[0][:at] + rubbish + good[0][at + lost :]
    whole, body = read(data)
    pieces, got = read(*cut(data, cuts))
    assert got == body
    assert (whole and whole.complete) == (pieces and pieces.complete)
    if whole and whole.reusable and whole.complete:
        assert data.endswith((body, b"0\r\n\r\n"))  # nothing of it is left over


@many
@given(st.lists(RUBBISH | GOOD.map(lambda good: good[0]), max_size=6))
def test_no_bytes_raise_anything_but_that_they_are_broken(pieces):
    found = Answer()
    with contextlib.suppress(Broken):
        for piece in pieces:
            found.feed(piece)
        found.end()
    assert not found.reusable or not found.complete


@many
@given(GOOD, st.integers(0, 400))
def test_no_answer_is_complete_before_its_end(good, size):
    data, _ = good
    found, _ = read(data[:size])
    assert found is None or found.complete <= (size >= len(data))
