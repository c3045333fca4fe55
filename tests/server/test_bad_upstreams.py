"""What no upstream can bring about, over real sockets: a call that hangs, bytes that are not of the answer's
body, an answer to the wrong request. Where HTTP says what an answer is, both clients say the same."""

import asyncio
import itertools
import time
from typing import NamedTuple

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.server.calling import CallLost, Late, Request
from gateway.server.clients import open_client
from tests.conftest import SHALLOW
from tests.server.rough import Play, Rough, answer

some = settings(max_examples=60 if SHALLOW else settings.default.max_examples)
PATIENCE = 20.0  # seconds for a call; none takes as long, however busy the machine
SHORT = 0.25
NEXT = b"the answer to the next request"
OK = b"HTTP/1.1 200 OK\r\n"


class Outcome(NamedTuple):
    got: bytes
    lost: str | None  # the name of the exception


async def call(client, url, patience=PATIENCE):
    until = time.monotonic() + patience
    got = b""
    try:
        found = await client.send(Request("POST", url, {"a": "b"}, b"{}"), until)
        try:
            while data := await found.read(until):
                got += data
            found.release()
        finally:
            found.close()
    except CallLost as lost:
        return Outcome(got, type(lost).__name__)
    return Outcome(got, None)


def play(name, writes, then="keep", loop=asyncio.new_event_loop, patience=PATIENCE):
    """The outcome; whether the next request, which is answered as it should be, went over the same connection."""

    async def both():
        async with Rough([Play(writes, then)] + [Play([answer(NEXT)]) for _ in range(3)]) as upstream:
            client = open_client(name)
            try:
                async with asyncio.timeout(3 * PATIENCE):
                    first = await call(client, upstream.url, patience)
                    if not upstream.asked:  # the call was given up before its request was read, if it ever is
                        upstream.plays.pop(0)
                    else:
                        while not upstream.played:  # all of it is on its way, before the next request is
                            await asyncio.sleep(0.001)
                    after = await call(client, upstream.url)
            finally:
                await client.close()
            return first, after, len({number for number, *_ in upstream.asked}) < len(upstream.asked)

    with asyncio.Runner(loop_factory=loop) as runner:
        first, after, shared = runner.run(both())
    if name == "lean":
        assert (after.got, after.lost) == (NEXT, None)
    return first, shared


LOOPS = st.sampled_from([asyncio.new_event_loop, uvloop.new_event_loop])
BODY = st.text("\u00e4\u20ac", max_size=30).map(str.encode)  # no byte of it is one of a head or a frame
CUTS = st.lists(st.integers(0, 400), max_size=6)
PROVISIONAL = st.lists(
    st.sampled_from(
        [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: <x>\r\ncontent-length: 7\r\n\r\n"]
    ),
    max_size=3,
).map(b"".join)
FIELDS = st.lists(
    st.sampled_from([b"x-a: b\r\n", b"x-empty:\r\n", b"X-Long: " + b"c" * 300 + b"\r\n"]), max_size=4
).map(b"".join)
EXTENSION = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b"'])
TRAILERS = st.sampled_from([b"", b"", b"x-trail: y\r\n", b"a: b\r\nc: d\r\n"])
RUBBISH = st.sampled_from(
    [b"\r\n", b"\0", b"garbage", b"0\r\n\r\n", answer(b"of nobody"), OK, OK + b"content-length: 3\r\n\r\n", b"5\r\n"]
)


@st.composite
def framed(draw):
    """A good answer whose end can be told: its bytes, its body."""
    head, body = draw(PROVISIONAL) + OK + draw(FIELDS), draw(BODY)
    if draw(st.booleans()):
        return head + b"content-length: %d\r\n\r\n" % len(body) + body, body
    at = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=4))})
    chunks = [body[a:b] for a, b in itertools.pairwise(at)]
    framing = b"".join(b"%x%b\r\n%b\r\n" % (len(one), draw(EXTENSION), one) for one in chunks)
    end = b"0%b\r\n%b\r\n" % (draw(EXTENSION), draw(TRAILERS))
    return head + b"transfer-encoding: chunked\r\n\r\n" + framing + end, body


def cut(data, cuts):
    at = sorted({c for c in cuts if c < len(data)} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@some
@given(framed(), CUTS, LOOPS)
def test_good_answers_are_read_alike(good, cuts, loop):
    data, body = good
    outcomes = [play(name, cut(data, cuts), loop=loop)[0] for name in ("lean", "aiohttp")]
    assert outcomes == [(body, None), (body, None)]


@some
@given(framed(), LOOPS)
def test_a_byte_at_a_time(good, loop):
    data, body = good
    assert play("lean", [data[i : i + 1] for i in range(len(data))], loop=loop)[0] == (body, None)


@some
@given(BODY, FIELDS, CUTS, LOOPS)
def test_a_body_that_ends_with_its_connection(body, fields, cuts, loop):
    writes = cut(OK + fields + b"\r\n" + body, cuts)
    outcomes = [play(name, writes, "close", loop)[0] for name in ("lean", "aiohttp")]
    assert outcomes == [(body, None), (body, None)]


@some
@given(framed(), RUBBISH, st.booleans(), CUTS, LOOPS)
def test_what_follows_an_answer_is_not_of_it_and_ends_its_connection(good, rubbish, apart, cuts, loop):
    data, body = good
    writes = [*cut(data, cuts), rubbish] if apart else cut(data + rubbish, cuts)
    outcome, shared = play("lean", writes, loop=loop)
    assert outcome == (body, None)
    assert not shared


@some
@given(framed(), st.integers(0, 300), CUTS, st.sampled_from(["close", "reset"]), LOOPS)
def test_an_answer_cut_short_is_never_whole(good, at, cuts, then, loop):
    data, body = good
    data = data[: min(at, len(data) - 1)]
    lost = {}
    for name in ("lean", "aiohttp"):
        outcome, shared = play(name, cut(data, cuts), then, loop)
        lost[name] = outcome.lost
        assert outcome.lost in {"Unreachable", "BrokenOff"} or name == "aiohttp"
        assert body.startswith(outcome.got)
        assert not shared
    assert lost["lean"] == lost["aiohttp"] or then == "reset"


@settings(max_examples=10 if SHALLOW else 200)
@given(framed(), st.integers(0, 300), LOOPS)
def test_an_answer_that_stops_is_late(good, at, loop):
    data, body = good
    outcome, shared = play("lean", [data[: min(at, len(data) - 1)]], "stall", loop, SHORT)
    assert outcome.lost == Late.__name__
    assert body.startswith(outcome.got)
    assert not shared


def test_a_call_that_is_late_before_it_is_sent():
    outcome, _ = play("lean", [answer()], patience=0.0)
    assert outcome == (b"", Late.__name__)


HEADS = st.sampled_from(
    [
        b"content-length: 5\r\ncontent-length: 5\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: 5, 5\r\n",
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        b"content-length: -5\r\n",
        b"content-length: +5\r\n",
        b"content-length: 5 5\r\n",
        b"content-length: 99999999999999999999999\r\n",
        b"content-length: 5\r\nx: a\0b\r\n",
        b"content-length: 5\r\nx : y\r\n",
        b"content-length: 5\r\n: y\r\n",
        b"content-length: 5\r\nno colon\r\n",
        b"a: b\r\n" * 5_000,
        b"a: " + b"b" * 200_000 + b"\r\n",
    ]
)


@some
@given(HEADS, BODY, CUTS, LOOPS)
def test_heads_that_both_refuse(head, body, cuts, loop):
    for name in ("lean", "aiohttp"):
        outcome, shared = play(name, cut(OK + head + b"\r\n" + body, cuts), loop=loop)
        assert outcome == (b"", "Unreadable")
        assert not shared


STRICTER = st.sampled_from(
    [
        (b"HTTP/1.1 200 OK\ncontent-length: 5\n\n", b""),
        (OK + b"content-length: 5\r\nx: a\r\n b\r\n\r\n", b""),
        (OK + b"transfer-encoding: gzip, chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"HTTP/2.0 200 OK\r\ncontent-length: 5\r\n\r\n", b"hello"),
        (b"HTTP/0.9 200 OK\r\ncontent-length: 5\r\n\r\n", b"hello"),
        (b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000, b""),
        (b"\r\n" + answer(b"hello"), b""),
        (b"hello", b""),
        (b"\0" * 9, b""),
        (OK + b"transfer-encoding: chunked\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n"),
        (OK + b"transfer-encoding: chunked\r\n\r\n", b"5\nhello\n0\n\n"),
        (OK + b"transfer-encoding: chunked\r\n\r\n", b"0x5\r\nhello\r\n"),
        (OK + b"transfer-encoding: chunked\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\n"),
        (OK + b"transfer-encoding: chunked\r\n\r\n", b"5;" + b"x" * 200_000),
        (OK + b"transfer-encoding: chunked\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 5_000),
    ]
)


@some
@given(STRICTER, CUTS, st.booleans(), LOOPS)
def test_what_the_lean_client_refuses_at_once(data, cuts, apart, loop):
    head, body = data
    outcome, shared = play("lean", [head, body] if apart else cut(head + body, cuts), loop=loop)
    assert outcome == (b"", "Unreadable")
    assert not shared


@some  # what comes only after the next request was sent cannot be told from its answer, by nobody
@given(framed(), st.integers(0, 300), RUBBISH, st.integers(0, 9), CUTS, LOOPS)
def test_a_damaged_answer_never_spoils_the_next(good, at, rubbish, lost, cuts, loop):
    data, _ = good
    damaged = data[:at] + rubbish + data[at + lost :]
    outcome, _ = play("lean", cut(damaged, cuts), loop=loop, patience=SHORT)
    assert outcome.lost in {None, "Unreachable", "Unreadable", "BrokenOff", "Late"}


@pytest.mark.parametrize("name", ["lean", "aiohttp"])
@pytest.mark.parametrize("part", [b"", OK, OK + b"x: y\r\n" * 3, b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_heads_that_never_end(name, part):
    outcome, shared = play(name, [part], "stall", patience=SHORT)
    assert (outcome.lost, shared) == ("Late", False)
