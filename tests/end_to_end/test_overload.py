"""More than the process may answer at a time: who comes in, who waits, who is sent away, and that nothing is lost."""

import asyncio
import json
import operator

from tests.end_to_end.process import (
    Fake,
    Gateway,
    Wire,
    ask,
    begin_stream,
    chunk,
    end_stream,
    event,
    free_port,
    plain_answer,
    send_json,
    send_part,
)
from tests.end_to_end.test_admin import metrics, settled, told
from tests.patience import until

POLICY = "policy: p\nchecks: {words: {use: keywords, words: [swordfish], at: input}}\n"
WHOLE = "policy: w\nchecks: {ok: {use: judge, model: judge, at: output, stream: whole}}\n"


class Held:
    """Answers when it is told to; a stream begins at once and waits with its end."""

    def __init__(self):
        self.go = asyncio.Event()

    async def __call__(self, seen, writer):
        if seen.body.get("stream"):
            await begin_stream(writer)
            await send_part(writer, event(chunk({"content": "All is "})))
            await self.go.wait()
            await send_part(writer, event(chunk({"content": "well."}, "stop")))
            await send_part(writer, event(b"[DONE]"))
            await end_stream(writer)
        else:
            await self.go.wait()
            await send_json(writer, plain_answer())


async def test_one_has_the_place_one_waits_and_the_third_is_told_when_to_come_again(tmp_path):
    admin = free_port()
    held = Held()
    async with Fake(held) as fake:
        house = {"max_concurrent": 1, "max_queued": 1, "queue_wait": "60s", "admin_port": admin}
        with Gateway(tmp_path, fake.house, POLICY, **house) as gateway:
            async with Wire(gateway.port) as first, Wire(gateway.port) as second, Wire(gateway.port) as third:
                await first.post(ask("one", stream=True))
                await first.read(b"All is ")  # its stream is under way, and keeps its place
                await second.post(ask("two"))
                await settled(admin, "outrider_queued", 1)
                # Only a part of the third's body is sent: it is answered all the same.
                head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                await third.send(head + b"content-length: 5000\r\n\r\n{")
                await third.read(b'"code":"overloaded"')
                assert third.status == 503
                assert int(third.headers["retry-after"]) >= 1
                held.go.set()
                await first.read()
                await second.read()
            assert first.events[-1] == b"[DONE]"
            assert second.status == 200
            await settled(admin, "outrider_admitted", 0)
            text = (await metrics(admin))[1]
            assert told(text, 'outrider_shed_total{reason="full"}') == 1
            assert told(text, "outrider_queue_seconds_count") == 1
            assert told(text, "outrider_memory_held_bytes") == 0
            receipts = await asyncio.to_thread(gateway.receipts, 3)
    assert sorted((r["status"], r.get("why", "")) for r in receipts) == [(200, ""), (200, ""), (503, "overloaded")]
    assert len(fake.seen) == 2
    assert [r["queued_ms"] > 0 for r in receipts if "queued_ms" in r] == [True]


async def test_a_connection_that_was_sent_away_is_served_when_there_is_a_place(tmp_path):
    admin = free_port()
    held = Held()
    body = json.dumps(ask("two")).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    whole = head % len(body) + body
    async with Fake(held) as fake:
        with Gateway(tmp_path, fake.house, POLICY, max_concurrent=1, max_queued=0, admin_port=admin) as gateway:
            async with Wire(gateway.port) as first, Wire(gateway.port) as second, Wire(gateway.port) as pieces:
                await first.post(ask("one"))
                await until(lambda: fake.seen)
                for wire in (second, pieces):
                    for _ in range(3):
                        wire.data = b""
                        parts = [whole] if wire is second else [whole[:50], whole[50:-5], whole[-5:]]
                        for part in parts:
                            await wire.send(part)
                            await asyncio.sleep(0.02)
                        await wire.read(b'"code":"overloaded"}}')
                        assert wire.status == 503
                        assert int(wire.headers["retry-after"]) >= 1
                        assert int(wire.headers["content-length"]) == len(wire.body)
                        assert wire.error["type"] == "server_error"
                held.go.set()
                await first.read()
                for wire in (second, pieces):
                    await settled(admin, "outrider_admitted", 0)
                    wire.data = b""
                    await wire.send(whole)
                    await wire.read(b"All is well.")
                    assert wire.status == 200
            assert told((await metrics(admin))[1], 'outrider_shed_total{reason="full"}') == 6
            receipts = await asyncio.to_thread(gateway.receipts, 9)
    assert [r["why"] for r in receipts if r["status"] == 503] == ["overloaded"] * 6


async def test_who_hangs_up_in_the_queue_frees_its_place_there(tmp_path):
    admin = free_port()
    held = Held()
    async with Fake(held) as fake:
        house = {"max_concurrent": 1, "max_queued": 1, "queue_wait": "60s", "admin_port": admin}
        with Gateway(tmp_path, fake.house, POLICY, **house) as gateway:
            async with Wire(gateway.port) as first, Wire(gateway.port) as third:
                await first.post(ask("one"))
                await until(lambda: fake.seen)
                async with Wire(gateway.port) as second:
                    await second.post(ask("two"))
                    await settled(admin, "outrider_queued", 1)
                await settled(admin, "outrider_queued", 0)
                await third.post(ask("three"))
                await settled(admin, "outrider_queued", 1)
                held.go.set()
                await first.read()
                await third.read()
            receipts = await asyncio.to_thread(gateway.receipts, 3)
    assert (first.status, third.status) == (200, 200)
    assert sorted(r["decision"] for r in receipts) == ["left", "released", "released"]
    assert len(fake.seen) == 2


async def test_who_waits_too_long_is_sent_away(tmp_path):
    admin = free_port()
    held = Held()
    settings = {"max_concurrent": 1, "queue_wait": "100ms", "admin_port": admin}
    async with Fake(held) as fake:
        with Gateway(tmp_path, fake.house, POLICY, **settings) as gateway:
            async with Wire(gateway.port) as first, Wire(gateway.port) as second, Wire(gateway.port) as third:
                await first.post(ask("one"))
                await until(lambda: fake.seen)
                await second.post(ask("two"))
                await second.read()
                assert second.status == 503
                held.go.set()
                await first.read()
                await settled(admin, "outrider_admitted", 0)
                await third.post(ask("three"))
                await third.read()
    assert (first.status, third.status) == (200, 200)


async def test_a_slow_sender_takes_no_place(tmp_path):
    held = Held()
    held.go.set()
    async with Fake(held) as fake:
        with Gateway(tmp_path, fake.house, POLICY, max_concurrent=1, max_queued=0) as gateway:
            async with Wire(gateway.port) as slow, Wire(gateway.port) as quick:
                head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                await slow.send(head + b"content-length: 5000\r\n\r\n{")
                await quick.post(ask("hello"))
                await quick.read()
    assert quick.status == 200


async def test_bodies_beyond_the_ceiling_are_refused_and_the_count_goes_back_to_nothing(tmp_path):
    admin = free_port()
    held = Held()
    async with Fake(held) as fake:
        with Gateway(tmp_path, fake.house, POLICY, max_memory_held="64KiB", admin_port=admin) as gateway:
            async with Wire(gateway.port) as first, Wire(gateway.port) as second, Wire(gateway.port) as third:
                await first.post(ask("x" * 40_000))
                await until(lambda: fake.seen)
                await second.post(ask("x" * 40_000))
                await second.read(b"overloaded")
                assert second.status == 503
                assert "retry-after" in second.headers
                assert told((await metrics(admin))[1], "outrider_memory_held_bytes") > 40_000
                held.go.set()
                await first.read()
                await settled(admin, "outrider_memory_held_bytes", 0)
                await third.post(ask("x" * 40_000))
                await third.read()
            assert told((await metrics(admin))[1], 'outrider_shed_total{reason="memory"}') == 1
    assert (first.status, third.status) == (200, 200)


async def test_a_plain_answer_that_does_not_fit_is_broken_off_while_it_comes(tmp_path):
    async def play(_seen, writer):
        await send_json(writer, plain_answer("x" * 100_000))

    async with Fake(play) as fake:
        with Gateway(tmp_path, fake.house, POLICY, max_memory_held="64KiB") as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask("one"))
                await wire.read()
    assert wire.status == 503
    assert wire.error["code"] == "overloaded"
    assert len(fake.seen) == 1


async def test_an_answer_that_does_not_fit_is_broken_off_and_a_client_that_leaves_holds_nothing(tmp_path):
    admin = free_port()
    go = asyncio.Event()

    async def play(seen, writer):
        if seen.body["model"] == "judge":
            await send_json(writer, plain_answer("well"))
            return
        await begin_stream(writer)
        for _ in range(40):
            await send_part(writer, event(chunk({"content": "x" * 1000})))
        await go.wait()

    async with Fake(play) as fake:
        settings = {"max_memory_held": "32KiB", "admin_port": admin}
        with Gateway(tmp_path, fake.house, WHOLE, **settings) as gateway:
            async with Wire(gateway.port) as first:
                await first.post(ask("one", stream=True))
                await first.read()
            await settled(admin, "outrider_memory_held_bytes", 0)
            assert first.status == 503
            assert first.error["code"] == "overloaded"
            assert first.headers["retry-after"] == "1"
            assert told((await metrics(admin))[1], 'outrider_shed_total{reason="answer"}') == 1
        with Gateway(tmp_path, fake.house, WHOLE, **settings | {"max_memory_held": "64KiB"}) as gateway:
            async with Wire(gateway.port) as second:
                await second.post(ask("two", stream=True))
                await settled(admin, "outrider_memory_held_bytes", 40_000, operator.ge)
            await settled(admin, "outrider_memory_held_bytes", 0)
            await settled(admin, "outrider_admitted", 0)
