"""Both clients behind the port: what calls give, how connections are kept, and how everything ends."""

import asyncio
import contextlib
import gc
import math
import ssl
import time
from pathlib import Path

import pytest

from gateway.server import lean
from gateway.server.calling import BrokenOff, CallLost, Late, Request, Unreachable, Unreadable
from gateway.server.clients import open_client
from gateway.server.connection import MOST_HELD
from gateway.server.trust import verifying
from gateway.wire import http1
from tests.end_to_end.process import free_port
from tests.patience import LONG, until
from tests.server.rough import Play, Rough, answer, in_chunks

PEM = Path(__file__).parent / "localhost.pem"  # signed by itself, for localhost
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(params=["lean", "aiohttp"])
async def client(request):
    made = open_client(request.param)
    yield made
    await made.close()


@pytest.fixture
async def own():
    made = open_client("lean")
    yield made
    await made.close()


def asks(url, body=b"{}", **more):
    return Request("POST", url, {"content-type": "application/json"}, body, **more)


def soon():
    return time.monotonic() + LONG


async def call(client, url, within=LONG, **more):
    """Status and body. Raises CallLost."""
    end = time.monotonic() + within
    found = await client.send(asks(url, **more), end)
    try:
        parts = []
        while data := await found.read(end):
            parts.append(data)
        found.release()
        return found.status, b"".join(parts)
    finally:
        found.close()


async def still(task):
    """It goes on, also when the loop has turned some times."""
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not task.done()


@pytest.mark.parametrize(
    "good", [answer(b"hi"), in_chunks(b"h", b"i"), OK + b"\r\nhi"], ids=["length", "chunks", "end"]
)
async def test_an_answer(client, good):
    then = "close" if good[-6:] == b"\r\n\r\nhi" and b"length" not in good else "keep"
    async with Rough([Play([good], then)]) as upstream:
        assert await call(client, upstream.url) == (200, b"hi")
        (_, head, body) = upstream.asked[0]
    assert head.lower().startswith(b"post /v1/x http/1.1\r\nhost: 127.0.0.1:")
    assert head.lower().count(b"content-length: 2\r\n") == 1
    assert body == b"{}"


async def test_headers_and_media(client):
    head = b"Content-Type: Application/JSON; charset=utf-8\r\nX-Request-Id: r1\r\nx-request-id: r2\r\n"
    async with Rough([Play([answer(headers=head)])]) as upstream:
        found = await client.send(asks(upstream.url), soon())
        assert found.media == "application/json"
        assert found.headers.get("x-request-id") == "r1"
        assert found.headers.get("x-none", "?") == "?"
        found.forget_headers()
        assert found.media == "application/json"
        found.close()


async def test_a_request_without_a_body(client):
    async with Rough([Play([answer(b"hi")])]) as upstream:
        found = await client.send(Request("GET", upstream.url, {}, None), soon())
        assert await found.read(soon()) == b"hi"
        found.close()
        assert upstream.asked[0][1].startswith(b"GET ")


async def test_a_large_request_and_a_large_answer(client):
    large = bytes(range(256)) * 4_000
    async with Rough([Play([answer(large * 4)])]) as upstream:
        assert await call(client, upstream.url, body=large) == (200, large * 4)
        assert upstream.asked[0][2] == large


async def test_a_connection_is_used_again(client):
    async with Rough([Play([answer(b"one")]), Play([in_chunks(b"two")]), Play([answer(b"three")])]) as upstream:
        for body in (b"one", b"two", b"three"):
            assert await call(client, upstream.url) == (200, body)
        assert upstream.connections == 1


async def test_calls_at_once_have_connections_of_their_own(client):
    async with Rough([Play([answer(b"a")], pause=0.05) for _ in range(20)]) as upstream:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(call(client, upstream.url)) for _ in range(20)]
        assert {one.result() for one in calls} == {(200, b"a")}
        assert upstream.connections == 20


@pytest.mark.parametrize("play", [Play([], "close"), Play([OK[:7]], "close"), Play([OK, b"a: b\r\n"], "close")])
async def test_no_answer_is_unreachable(client, play):
    async with Rough([play]) as upstream:
        with pytest.raises(Unreachable):
            await call(client, upstream.url)


async def test_nobody_listens(client):
    with pytest.raises(Unreachable):
        await call(client, f"http://127.0.0.1:{free_port()}/")


async def test_a_name_that_is_none(client):
    with pytest.raises(Unreachable):
        await call(client, "http://no-such-host.invalid/")


@pytest.mark.parametrize(
    "part", [OK + b"content-length: 5\r\n\r\nhel", in_chunks(b"hello")[:-2], in_chunks(b"he")[:-7]]
)
@pytest.mark.parametrize("then", ["close", "reset"])
async def test_an_answer_that_breaks_off(client, part, then):
    async with Rough([Play([part], then)]) as upstream:
        with pytest.raises(BrokenOff):
            await call(client, upstream.url)


async def test_rubbish_is_unreadable(client):
    async with Rough([Play([b"SSH-2.0-OpenSSH_9.6\r\n"])]) as upstream:
        with pytest.raises(Unreadable):
            await call(client, upstream.url)


async def test_a_header_that_would_break_the_request_is_not_sent(client):
    async with Rough() as upstream:
        bad = Request("POST", upstream.url, {"x": "y\r\nz: a"}, b"{}")
        with pytest.raises(Unreadable):
            await client.send(bad, soon())
        assert not upstream.asked


async def test_silence_before_the_head(client, leap):
    async with Rough([Play([], "stall")]) as upstream:
        asked = asyncio.create_task(call(client, upstream.url))
        await until(lambda: upstream.asked)
        leap(LONG)
        with pytest.raises(Late) as caught:
            await asked
        assert not caught.value.connecting
        await until(lambda: upstream.closed == {0})


async def test_silence_within_the_body(client, leap):
    async with Rough([Play([OK + b"content-length: 5\r\n\r\nhe"], "stall")]) as upstream:
        found = await client.send(asks(upstream.url), soon())
        assert await found.read(soon()) == b"he"
        reading = asyncio.create_task(found.read(soon()))
        await still(reading)
        leap(LONG)
        with pytest.raises(Late):
            await reading
        found.close()
        await until(lambda: upstream.closed == {0})


async def test_patience_that_shrinks(own, leap):
    more = asyncio.Event()
    async with Rough([Play([OK + b"content-length: 9\r\n\r\na", more, b"b"], "stall")]) as upstream:
        found = await own.send(asks(upstream.url), soon())
        assert await found.read(soon()) == b"a"
        more.set()
        assert await found.read(soon()) == b"b"
        reading = asyncio.create_task(found.read(time.monotonic() + 5))
        await asyncio.sleep(0)
        leap(5)  # sooner than what the timer was set to
        with pytest.raises(Late):
            async with asyncio.timeout(LONG / 2):
                await reading
        found.close()


async def test_patience_that_grows(own, leap):
    more = asyncio.Event()
    async with Rough([Play([OK + b"content-length: 9\r\n\r\n", more, b"a"], "stall")]) as upstream:
        found = await own.send(asks(upstream.url), soon())
        reading = asyncio.create_task(found.read(time.monotonic() + 3 * LONG))
        await asyncio.sleep(0)
        leap(LONG)  # the timer was to ring by now
        await still(reading)
        more.set()
        assert await reading == b"a"
        found.close()


async def test_a_connection_that_is_not_made_in_time(own, monkeypatch):
    async def hangs(_):
        await asyncio.sleep(60)

    monkeypatch.setattr(own, "_opened", hangs)
    with pytest.raises(Late) as caught:
        await own.send(asks("http://127.0.0.1:1/", connect=0.05), soon())
    assert caught.value.connecting


@pytest.mark.parametrize("part", [b"", OK + b"content-length: 5\r\n\r\nhe"], ids=["before", "within"])
async def test_a_call_that_is_cancelled_cuts_its_connection(client, part):
    async with Rough([Play([part], "stall")]) as upstream:
        task = asyncio.create_task(call(client, upstream.url))
        await until(lambda: upstream.asked)
        await asyncio.sleep(0.02)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        await until(lambda: upstream.closed == {0})


async def test_a_stream_that_is_left_cuts_its_connection(client):
    async with Rough([Play([in_chunks(b"x" * 10)[:-5]] + [b"a\r\n0123456789\r\n"] * 500, pause=0.01)]) as upstream:
        found = await client.send(asks(upstream.url), soon())
        await found.read(soon())
        found.close()
        await until(lambda: upstream.closed == {0})


async def test_closing_the_client_closes_what_rests_and_what_goes_on():
    made = open_client("lean")
    async with Rough([Play([answer()], pause=0.05), Play([answer()], pause=0.05), Play([], "stall")]) as upstream:
        async with asyncio.TaskGroup() as group:
            group.create_task(call(made, upstream.url))
            group.create_task(call(made, upstream.url))
        busy = asyncio.create_task(call(made, upstream.url))
        await until(lambda: len(upstream.asked) == 3)
        await made.close()
        with pytest.raises(CallLost):
            await busy
        await until(lambda: upstream.closed == {0, 1})
        with pytest.raises(Unreachable):
            await call(made, upstream.url)
        assert len(upstream.asked) == 3


# The lean client's own promises


async def test_a_connection_that_was_closed_while_it_rested_costs_nothing(own):
    async with Rough([Play([answer(b"one")], "close"), Play([answer(b"two")])]) as upstream:
        assert await call(own, upstream.url) == (200, b"one")
        assert await call(own, upstream.url) == (200, b"two")  # at once: the end has not been noticed yet
        assert [number for number, *_ in upstream.asked] == [0, 1]


async def test_a_request_goes_again_only_over_a_connection_that_had_rested(own):
    async with Rough([Play([answer()]), Play([], "close"), Play([], "close"), Play([answer(b"no")])]) as upstream:
        await call(own, upstream.url)
        with pytest.raises(Unreachable):
            await call(own, upstream.url)  # once more over a new connection, and not a third time
        assert [number for number, *_ in upstream.asked] == [0, 0, 1]


async def test_a_request_does_not_go_again_when_a_byte_of_an_answer_has_come(own):
    async with Rough([Play([answer()]), Play([b"H"], "close"), Play([answer(b"no")])]) as upstream:
        await call(own, upstream.url)
        with pytest.raises(Unreachable):
            await call(own, upstream.url)
        assert len(upstream.asked) == 2


@pytest.mark.parametrize("late", [b"junk", answer(b"bad"), b"\r\n"])
async def test_what_comes_while_a_connection_rests_ends_it(own, late):
    rests = asyncio.Event()
    async with Rough([Play([answer(b"one"), rests, late]), Play([answer(b"two")])]) as upstream:
        assert await call(own, upstream.url) == (200, b"one")
        rests.set()
        await until(lambda: upstream.closed == {0})
        assert await call(own, upstream.url) == (200, b"two")
        assert upstream.connections == 2


async def test_what_has_come_and_was_not_seen_yet_ends_it_too(own):
    async with Rough([Play([answer(b"one")]), Play([answer(b"two")])]) as upstream:
        assert await call(own, upstream.url) == (200, b"one")
        upstream.writers[0].write(answer(b"of nobody"))  # and the loop does not turn before the next request
        assert await call(own, upstream.url) == (200, b"two")
        assert upstream.connections == 2


async def test_an_answer_before_the_request_was_all_sent_ends_its_connection(own):
    async with Rough(
        [Play([answer(b"no", b"413 Too Large")], "stall", early=True), Play([answer(b"two")])]
    ) as upstream:
        assert await call(own, upstream.url, body=b"x" * 30_000_000) == (413, b"no")
        assert await call(own, upstream.url) == (200, b"two")
        assert upstream.connections == 2


async def test_a_reset_is_not_the_end_of_an_answer_without_a_length(own):
    async with Rough([Play([OK + b"\r\nhello"], "reset", pause=0.05)]) as upstream:
        with pytest.raises(BrokenOff):
            await call(own, upstream.url)


async def test_connections_do_not_rest_for_ever(own, monkeypatch):
    monkeypatch.setattr(lean, "REST", 0.05)
    async with Rough([Play([answer()])]) as upstream:
        await call(own, upstream.url)
        await until(lambda: upstream.closed == {0})
        assert own._resting == {}
        assert not own._open


async def test_only_so_many_connections_rest(own, monkeypatch):
    monkeypatch.setattr(lean, "MOST_RESTING", 2)
    async with Rough([Play([answer()], pause=0.05) for _ in range(5)]) as upstream:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(call(own, upstream.url))
        await until(lambda: len(upstream.closed) == 3)
        assert len(own._open) == 2


async def test_reading_pauses_while_nobody_takes_what_has_come(own):
    large = b"x" * 30_000_000
    async with Rough([Play([answer(large)])]) as upstream:
        found = await own.send(asks(upstream.url), soon())
        await until(lambda: found._connection.answer.held > MOST_HELD)
        await asyncio.sleep(0.1)
        assert found._connection.answer.held < 1_000_000  # and one read more at most
        size = 0
        while data := await found.read(soon()):
            size += len(data)
        assert size == len(large)
        found.release()
        assert found._connection is None
        assert len(own._open) == 1


async def test_the_end_of_a_stream_may_come_a_little_later(own, monkeypatch):
    """After [DONE] nobody reads on; the last chunk, in a packet of its own, still makes the connection good."""
    monkeypatch.setattr("gateway.server.connection.LINGER", LONG)
    left = asyncio.Event()
    async with Rough([Play([in_chunks(b"[DONE]")[:-5], left, b"0\r\n\r\n"]), Play([answer(b"two")])]) as upstream:
        found = await own.send(asks(upstream.url), soon())
        assert await found.read(soon()) == b"[DONE]"
        found.release()
        found.close()
        assert not own._resting
        left.set()
        await until(lambda: own._resting)
        assert await call(own, upstream.url) == (200, b"two")
        assert upstream.connections == 1


async def test_an_end_that_does_not_come_is_not_waited_for(own, monkeypatch):
    monkeypatch.setattr("gateway.server.connection.LINGER", 0.05)
    async with Rough([Play([in_chunks(b"[DONE]")[:-5]], "stall")]) as upstream:
        found = await own.send(asks(upstream.url), soon())
        await found.read(soon())
        found.release()
        await until(lambda: upstream.closed == {0})


async def test_an_end_that_is_far_off_is_not_waited_for(own, monkeypatch):
    monkeypatch.setattr("gateway.server.connection.LINGER", LONG)
    async with Rough([Play([answer(b"x" * 30_000_000)])]) as upstream:
        found = await own.send(asks(upstream.url), soon())
        found.release()
        await until(lambda: upstream.closed == {0})


async def test_an_answer_that_was_read_and_refused_leaves_a_good_connection(client):
    async with Rough([Play([answer(b"no", b"500 Oops")]), Play([answer(b"two")])]) as upstream:
        found = await client.send(asks(upstream.url), soon())
        while await found.read(soon()):
            pass
        found.close()
        assert await call(client, upstream.url) == (200, b"two")
        assert upstream.connections == 1


@pytest.mark.parametrize("good", [answer(b"hi"), in_chunks(b"hi"), OK + b"content-length: 9\r\n\r\nhi"])
async def test_a_call_leaves_nothing_for_the_garbage_collector(own, good):
    """Kept, closed or left: what is left over in circles is no answer, and no body is kept by one."""
    async with Rough([Play([good]) for _ in range(5)]) as upstream:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                found = await own.send(asks(upstream.url), soon())
                assert await found.read(soon()) == b"hi"
                found.close()
                del found
            await asyncio.sleep(0.01)
            resting = [connection.answer for connections in own._resting.values() for connection in connections]
            assert resting in ([None], [])
            assert not [one for one in gc.get_objects() if isinstance(one, http1.Answer)]
        finally:
            gc.enable()


def trusting(monkeypatch, pem=PEM):
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    verifying.cache_clear()


@pytest.fixture
def tls():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    yield context
    verifying.cache_clear()


async def test_tls_and_its_connections_are_used_again(client, tls, monkeypatch):
    trusting(monkeypatch)
    async with Rough([Play([answer(b"one")]), Play([in_chunks(b"two")])], tls=tls) as upstream:
        assert await call(client, upstream.url) == (200, b"one")
        assert await call(client, upstream.url) == (200, b"two")
        assert upstream.connections == 1


async def test_a_certificate_that_nobody_trusts_is_unreachable(client, tls):
    verifying.cache_clear()
    async with Rough([Play([answer()])], tls=tls) as upstream:
        with pytest.raises(Unreachable):
            await call(client, upstream.url)
        assert not upstream.asked


async def test_a_certificate_for_another_name_is_unreachable(client, tls, monkeypatch):
    trusting(monkeypatch)
    async with Rough([Play([answer()])], tls=tls) as upstream:
        with pytest.raises(Unreachable):
            await call(client, upstream.url.replace("localhost", "127.0.0.1"))
        assert not upstream.asked


async def test_no_tls_where_it_is_expected(own):
    async with Rough([Play([answer()])]) as upstream:
        with pytest.raises(Late):  # each waits for the other to speak
            await call(own, upstream.url.replace("http://", "https://"), within=0.2)
        assert not upstream.asked


def test_a_request_may_take_any_time_to_connect_unless_it_says_otherwise():
    assert asks("http://h/").connect == math.inf
