"""Answers, faults and hang-ups through the real process."""

import asyncio
import json

import pytest

from tests.end_to_end.process import (
    Fake,
    Wire,
    ask,
    begin_stream,
    chunk,
    end_stream,
    event,
    never,
    plain_answer,
    send_json,
    send_part,
    stream_all,
)
from tests.patience import until

SIZE = "policy: size\nchecks: {size: {use: length, at: input, max_characters: 100000}}\n"
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest.fixture(params=["lean", "aiohttp"], autouse=True)
def each_client(request, monkeypatch):
    monkeypatch.setattr(Fake, "client", request.param)


async def exchange(fake, gateways, body, policy=SIZE, headers=b"", **settings):
    with gateways(fake.house, policy, **settings) as gateway:
        async with Wire(gateway.port) as wire:
            await wire.post(body, headers=headers)
            await wire.read()
        receipts = await asyncio.to_thread(gateway.receipts)
        log = gateway.log
    return wire, receipts[0], log


async def test_a_plain_answer_arrives_field_by_field(gateways):
    answer = plain_answer("Grüße 🙂", system_fingerprint="fp", vendor={"deep": [1, 2.50, 12345678901234567890123]})
    raw = json.dumps(answer).replace("2.5,", "2.50,").encode()

    async def play(_seen, writer):
        await send_json(writer, raw)

    async with Fake(play) as fake:
        wire, receipt, _ = await exchange(fake, gateways, ask(top_k=5, seed=9007199254740993))
    assert wire.status == 200
    assert json.loads(wire.body) == answer
    assert b"12345678901234567890123" in wire.body
    assert wire.headers["x-outrider-decision"] == "released"
    assert wire.headers["x-outrider-checks"] == "size.size=clear"
    assert wire.headers["x-outrider-policy"].startswith("size@")
    assert wire.headers["x-request-id"] == wire.headers["x-outrider-id"] == receipt["id"]
    assert "upstream;dur=" in wire.headers["server-timing"]
    assert fake.seen[0].body == {**ask(top_k=5, seed=9007199254740993)}
    assert receipt["calls"][0]["usage"]["total_tokens"] == 7


@BOTH
@pytest.mark.parametrize(
    ("line", "stays"),
    [(b"HTTP/1.1\r\n", True), (b"HTTP/1.1\r\nconnection: close\r\n", False), (b"HTTP/1.0\r\n", False)],
    ids=["stays", "closes", "HTTP 1.0"],
)
async def test_an_answer_is_whole_whether_its_connection_stays_or_not(gateways, stream, line, stays):
    async def play(_seen, writer):
        said = [chunk({"content": "All "}), chunk({"content": "well"}), chunk(finish="stop")]
        await (stream_all(writer, *said) if stream else send_json(writer, plain_answer("All well")))

    body = json.dumps(ask(stream=stream)).encode()
    asked = b"POST /v1/chat/completions %bhost: x\r\ncontent-type: application/json\r\n" % line
    asked += b"content-length: %d\r\n\r\n%b" % (len(body), body)
    times = 2 if stays else 1
    async with Fake(play) as fake:
        with gateways(fake.house, SIZE) as gateway:
            async with Wire(gateway.port) as wire:
                for time in range(1, times + 1):
                    await wire.send(asked)
                    await wire.read(
                        until=(b"0\r\n\r\n" if stream else b'"total_tokens":7}}') if stays else None, times=time
                    )
            receipts = await asyncio.to_thread(gateway.receipts)
    assert wire.data.count(b" 200 OK\r\n") == times
    assert ("connection" in wire.headers) == (b"close" in line)
    assert wire.data.lower().count(b"\r\nconnection: ") <= 1
    assert wire.data.count(b"data: [DONE]") == (times if stream else 0)
    assert {one["status"] for one in receipts} == {200}
    if line.startswith(b"HTTP/1.1"):
        assert ("transfer-encoding" in wire.headers) == stream


@pytest.mark.parametrize("wanted", [False, True])
async def test_a_stream_arrives_chunk_by_chunk(gateways, wanted):
    chunks = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "All "}),
        chunk({"content": "well"}),
        chunk(finish="stop"),
    ]
    usage = {**chunk(), "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}

    async def play(_seen, writer):
        await stream_all(writer, *chunks, usage)

    more = {"stream_options": {"include_usage": True}} if wanted else {}
    async with Fake(play) as fake:
        wire, receipt, _ = await exchange(fake, gateways, ask(stream=True, **more))
    assert wire.headers["content-type"].startswith("text/event-stream")
    assert [json.loads(e) for e in wire.events[:-1]] == [*chunks, *([usage] if wanted else [])]
    assert wire.events[-1] == b"[DONE]"
    assert receipt["calls"][0]["usage"]["total_tokens"] == 3
    assert fake.seen[0].body["stream_options"] == {"include_usage": True}


async def test_the_upstream_sees_only_declared_headers(gateways):
    async def play(_seen, writer):
        await send_json(writer, plain_answer())

    sent = b"authorization: Bearer sk-client\r\ncookie: a=b\r\nx-forwarded-for: 1.2.3.4\r\nx-outrider-policy: none\r\nidempotency-key: k1\r\n"
    async with Fake(play) as fake:
        await exchange(fake, gateways, ask(), headers=sent)
    head = fake.seen[0].head.decode().lower()
    names = {line.partition(":")[0] for line in head.split("\r\n")[1:] if line}
    assert names == {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "authorization",
        "idempotency-key",
    }
    assert "authorization: bearer sk-secret-key" in head
    assert "sk-client" not in head


async def test_the_clients_key_goes_through_only_where_configured(gateways):
    async def play(_seen, writer):
        await send_json(writer, plain_answer())

    async with Fake(play) as fake:
        house = fake.house.replace("sk-secret-key", "passthrough")
        with gateways(house, SIZE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(), headers=b"authorization: Bearer sk-client\r\n")
                await wire.read()
            assert "sk-client" not in gateway.log
    assert b"authorization: bearer sk-client" in fake.seen[0].head.lower()


ERRORS = [
    ("400 Bad Request", 400, "upstream_400"),
    ("401 Unauthorized", 502, "upstream_auth"),
    ("403 Forbidden", 502, "upstream_auth"),
    ("404 Not Found", 404, "upstream_404"),
    ("418 Teapot", 502, "upstream_418"),
    ("429 Too Many Requests", 429, "upstream_429"),
    ("500 Internal Server Error", 500, "upstream_500"),
    ("302 Found", 502, "upstream_malformed"),
]


@BOTH
@pytest.mark.parametrize(("status", "told", "code"), ERRORS, ids=[e[0][:3] for e in ERRORS])
async def test_an_upstreams_error_keeps_its_status_and_loses_its_words(gateways, status, told, code, stream):
    async def play(_seen, writer):
        error = {
            "message": "see http://10.0.0.7/secret SWORDFISH",
            "type": "x",
            "code": "SWORDFISH",
            "param": "SWORDFISH",
        }
        await send_json(
            writer,
            {"error": error},
            status,
            b"location: http://127.0.0.1:1/\r\nretry-after: 7\r\nx-leak: SWORDFISH\r\n",
        )

    async with Fake(play) as fake:
        wire, receipt, log = await exchange(fake, gateways, ask(stream=stream))
    assert wire.status == told
    assert wire.error["code"] == code
    assert set(wire.error) == {"message", "type", "param", "code"}
    for secret in (b"SWORDFISH", b"10.0.0.7", b"sk-secret-key"):
        assert secret not in wire.data
        assert secret.decode() not in log
    assert receipt["decision"] == "failed"
    if told == 429:
        assert wire.headers["retry-after"] == "7"


async def test_known_codes_and_parameters_are_kept(gateways):
    async def play(_seen, writer):
        await send_json(
            writer,
            {"error": {"message": "no", "code": "context_length_exceeded", "param": "messages[0].content"}},
            "400 Bad Request",
        )

    async with Fake(play) as fake:
        wire, _, _ = await exchange(fake, gateways, ask())
    assert (wire.error["code"], wire.error["param"]) == ("context_length_exceeded", "messages[0].content")


async def cut_stream(writer):
    await end_stream(writer)


async def dying_stream(writer):
    writer.transport.abort()


async def error_in_stream(writer):
    await send_part(writer, event({"error": {"message": "SWORDFISH"}}))
    await end_stream(writer)


async def nonsense_in_stream(writer):
    await send_part(writer, b"data: {SWORDFISH\n\n")
    await end_stream(writer)


@pytest.mark.parametrize("breaks", [cut_stream, dying_stream, error_in_stream, nonsense_in_stream])
async def test_a_stream_that_breaks_never_looks_complete(gateways, breaks):
    out = asyncio.Event()  # a fault in the same read would still be a 502 of its own

    async def play(_seen, writer):
        await begin_stream(writer)
        await send_part(writer, event(chunk({"content": "half"})))
        await out.wait()
        await breaks(writer)

    async with Fake(play) as fake:
        with gateways(fake.house, SIZE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read(b"half")
                out.set()
                await wire.read()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert wire.status == 200
    assert json.loads(wire.events[0])["choices"][0]["delta"]["content"] == "half"
    assert json.loads(wire.events[-2])["error"]["type"] == "upstream_error"
    assert b'finish_reason":"stop' not in wire.data
    assert b"SWORDFISH" not in wire.data
    assert receipt["decision"] == "failed"


async def closes_at_once(_seen, writer):
    writer.transport.abort()


async def not_json(_seen, writer):
    await send_json(writer, b"<html>SWORDFISH</html>")


async def no_choices(_seen, writer):
    await send_json(writer, {"id": "x", "choices": []})


async def zipped(_seen, writer):
    await send_json(writer, b"\x1f\x8b", headers=b"content-encoding: gzip\r\n")


async def comments_only(_seen, writer):
    await begin_stream(writer)
    while True:
        await send_part(writer, b": still here\n\n")
        await asyncio.sleep(0.02)


@BOTH
@pytest.mark.parametrize("play", [closes_at_once, not_json, no_choices, zipped])
async def test_an_unreadable_upstream_is_a_502(gateways, play, stream):
    async with Fake(play) as fake:
        wire, _, _ = await exchange(fake, gateways, ask(stream=stream))
    assert wire.status == 502
    assert wire.error["code"] in {"upstream_unreachable", "upstream_malformed"}
    assert b"SWORDFISH" not in wire.data


@pytest.mark.parametrize("slow", ["first_token", "comments", "between"])
async def test_a_slow_upstream_is_a_504_within_its_time(gateways, slow):
    async def play(seen, writer):
        if slow == "comments":
            await comments_only(seen, writer)
        if slow == "between":
            await begin_stream(writer)
            await send_part(writer, event(chunk({"content": "half"})))
        await never()

    first = "60s" if slow == "between" else "400ms"
    async with Fake(play) as fake:
        house = fake.house.replace("api_key", f"timeout: {{first_token: {first}, between_tokens: 300ms}}, api_key")
        with gateways(house, SIZE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read()
            await fake.seen[0].wait_closed()
    if slow == "between":
        assert json.loads(wire.events[-2])["error"]["code"] == "upstream_timeout"
    else:
        assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")
    assert len(fake.seen) == 1, "a call that may have been processed was made again"


async def test_a_failed_call_is_made_again_only_before_anything_came(gateways):
    async def play(_seen, writer):
        if len(fake.seen) == 1:
            await send_json(writer, {}, "503 Service Unavailable")
        else:
            await send_json(writer, plain_answer("second"))

    async with Fake(play) as fake:
        wire, receipt, _ = await exchange(fake, gateways, ask())
    assert wire.status == 200
    assert b"second" in wire.body
    assert receipt["calls"][0]["attempts"] == 2


async def test_a_client_that_is_retrying_itself_gets_no_retries_on_top(gateways):
    async def play(_seen, writer):
        await send_json(writer, {}, "503 Service Unavailable")

    async with Fake(play) as fake:
        wire, _, _ = await exchange(fake, gateways, ask(), headers=b"x-stainless-retry-count: 1\r\n")
    assert wire.status == 503
    assert len(fake.seen) == 1


async def test_json_to_a_stream_request_becomes_a_stream(gateways):
    async def play(_seen, writer):
        await send_json(writer, plain_answer("whole"))

    async with Fake(play) as fake:
        wire, _, _ = await exchange(fake, gateways, ask(stream=True))
    deltas = [json.loads(e)["choices"][0] for e in wire.events[:-1]]
    assert deltas[0]["delta"]["content"] == "whole"
    assert deltas[-1]["finish_reason"] == "stop"
    assert wire.events[-1] == b"[DONE]"


@pytest.mark.parametrize(("stream", "begun"), [(False, False), (True, False), (True, True)])
async def test_a_client_that_hangs_up_closes_the_upstream(gateways, stream, begun):
    async def play(_seen, writer):
        if begun:
            await begin_stream(writer)
            await send_part(writer, event(chunk({"content": "half"})))
        await never()

    async with Fake(play) as fake:
        with gateways(fake.house, SIZE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=stream))
                if begun:
                    await wire.read(until=b"half")
                await until(lambda: fake.seen)
            await fake.seen[0].wait_closed()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert receipt["decision"] == "left"
    assert receipt["calls"][0]["cancelled"]


@BOTH
@pytest.mark.parametrize(("text", "status"), [("ordinary", 200), ("-----BEGIN RSA PRIVATE KEY-----", 400)])
async def test_zero_configuration_serves_under_the_built_in_baseline(gateways, stream, text, status):
    async def play(seen, writer):
        await talk(seen, writer, text)

    async with Fake(play) as fake:
        with gateways(fake.house) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask("hello", stream=stream))
                await wire.read()
            async with Wire(gateway.port) as asking:
                await asking.post(ask(text, stream=stream))
                await asking.read()
    assert wire.status == asking.status == status
    assert wire.headers["x-outrider-policy"].startswith("baseline@")
    assert (b"PRIVATE" in wire.data) is False


async def talk(seen, writer, text):
    if seen.body["stream"]:
        await stream_all(writer, *(chunk({"content": c}) for c in text), chunk(finish="stop"))
    else:
        await send_json(writer, plain_answer(text))
