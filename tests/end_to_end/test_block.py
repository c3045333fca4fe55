"""Blocks, seen from both ends of the wire: what the client got, what became of the upstream."""

import asyncio
import json
import time

import pytest

from tests.end_to_end.process import (
    Fake,
    Gateway,
    Wire,
    ask,
    begin_stream,
    chunk,
    event,
    never,
    new,
    plain_answer,
    send_json,
    send_part,
    stream_all,
)
from tests.patience import until

JUDGE = "policy: safety\nchecks: {harm: {use: judge, model: judge, at: input}}\n"
WORDS = "policy: words\nchecks: {words: {use: keywords, words: [FORBIDDEN], at: output}}\n"
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


def script(judge, answer):
    async def play(seen, writer):
        if seen.body["model"] == "judge":
            await judge(seen, writer)
        else:
            await answer(seen, writer)

    return play


def judge_says(word, after):
    async def play(_seen, writer):
        await asyncio.sleep(after)
        await send_json(writer, plain_answer(word))

    return play


async def talks_at_once(seen, writer):
    if seen.body["stream"]:
        await stream_all(writer, chunk({"role": "assistant", "content": "All is well."}), chunk(finish="stop"))
    else:
        await send_json(writer, plain_answer())


async def talks_for_ever(_seen, writer):
    await begin_stream(writer)
    while True:
        await send_part(writer, event(chunk({"content": "word "})))
        await asyncio.sleep(0.01)


@BOTH
@pytest.mark.parametrize("answer", [never, talks_at_once], ids=["silent", "ready"])
async def test_a_blocked_question_closes_the_upstream_and_sends_nothing_of_it(gateways, stream, answer):
    """The call and the check go out together: the check speaks once the call is there, and the call may never end."""

    async def judge(_seen, writer):
        await until(lambda: len(fake.seen) == 2)
        await send_json(writer, plain_answer("YES"))

    async with Fake(script(judge, answer)) as fake:
        with gateways(fake.house, JUDGE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(new(), stream=stream))
                await wire.read()
            assert wire.status == 400
            assert wire.error["code"] == "content_filter"
            assert wire.error["moderation_details"] == {"moderation_stage": "input", "categories": ["judge"]}
            assert wire.headers["x-should-retry"] == "false"
            assert wire.headers["x-outrider-decision"] == "blocked"
            assert b"well" not in wire.data
            call = next(s for s in fake.seen if s.body["model"] == "m")
            await call.wait_closed()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert receipt["decision"] == "blocked"
    assert receipt["why"].startswith("safety.harm (input)")


async def test_a_stream_that_is_being_held_is_closed_by_a_block(gateways):
    async with Fake(script(judge_says("YES", 0.3), talks_for_ever)) as fake:
        with gateways(fake.house, JUDGE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(new(), stream=True))
                await wire.read()
            assert wire.status == 400
            assert b"word" not in wire.data
            await next(s for s in fake.seen if s.body["model"] == "m").wait_closed()


@BOTH
async def test_not_a_byte_comes_before_the_check_has_spoken(gateways, stream):
    spoke = []

    async def judge(_seen, writer):
        await asyncio.sleep(0.4)
        spoke.append(time.monotonic())
        await send_json(writer, plain_answer("NO"))

    async with Fake(script(judge, talks_at_once)) as fake:
        with gateways(fake.house, JUDGE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(new(), stream=stream))
                await wire.read()
    assert wire.status == 200
    assert wire.first_byte >= spoke[0]
    assert b"All is well." in wire.body


@BOTH
async def test_a_blocked_answer_sends_nothing_of_it(gateways, stream):
    async def play(seen, writer):
        if seen.body["stream"]:
            await stream_all(
                writer, chunk({"content": "it is FORB"}), chunk({"content": "IDDEN"}), chunk(finish="stop")
            )
        else:
            await send_json(writer, plain_answer("it is FORBIDDEN"))

    async with Fake(play) as fake:
        with gateways(fake.house, WORDS) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=stream))
                await wire.read()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert wire.status == 400
    assert wire.error["moderation_details"]["moderation_stage"] == "output"
    assert b"FORB" not in wire.data
    if not stream:
        assert receipt["calls"][0]["usage"]["total_tokens"] == 7


@BOTH
@pytest.mark.parametrize(
    "place",
    ["reasoning_content", "refusal", "vendor_field", "tool", "id", "second", "logprobs", "finish", "json"],
)
async def test_a_marker_anywhere_in_an_answer_is_seen(gateways, stream, place):
    """The check is `at: output`: every field of every choice."""
    field = {
        "tool": {
            "tool_calls": [
                {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"FORBIDDEN"}'}}
            ]
        },
        "json": {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "c",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a":"\\u0046ORBIDDEN"}'},
                }
            ]
        },
    }.get(place, {place: "FORBIDDEN"})
    document = plain_answer()
    choice = document["choices"][0]
    if place == "id":
        document["id"] = "FORBIDDEN"
    elif place == "second":
        document["choices"].append({**choice, "index": 1, "message": {"role": "assistant", "content": "FORBIDDEN"}})
    elif place == "logprobs":
        tokens = [{"token": t, "logprob": -1, "bytes": list(t.encode()), "top_logprobs": []} for t in ("FORB", "IDDEN")]
        choice["logprobs"] = {"content": tokens, "refusal": None}
    elif place == "finish":
        choice["finish_reason"] = "FORBIDDEN"
    else:
        choice["message"].update(field)

    async def play(seen, writer):
        if not seen.body["stream"]:
            await send_json(writer, document)
            return
        chunks = [
            {**document, "choices": [{**{k: v for k, v in c.items() if k != "message"}, "delta": c["message"]}]}
            for c in document["choices"]
        ]
        await stream_all(writer, *chunks)

    async with Fake(play) as fake:
        with gateways(fake.house, WORDS) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=stream))
                await wire.read()
    assert b"FORBIDDEN" not in wire.data
    if stream and place == "second" and wire.status == 200:  # the first choice, cleared, did not wait for it
        assert json.loads(wire.events[-2])["error"]["code"] == "content_filter"
        return
    assert wire.status == 400, wire.data


@pytest.mark.parametrize("way", ["message", "refusal"])
@BOTH
async def test_a_block_can_be_an_answer(gateways, way, stream):
    policy = f"policy: soft\nblock_as: {way}\nrefusal: Not this.\nchecks: {{words: {{use: keywords, words: [bomb], at: input}}}}\n"
    async with Fake(never) as fake:
        with gateways(fake.house, policy) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask("a bomb", stream=stream))
                await wire.read()
    assert wire.status == 200
    assert not fake.seen
    if stream:
        assert wire.events[-1] == b"[DONE]"
        deltas = [json.loads(e)["choices"][0] for e in wire.events[:-1] if json.loads(e)["choices"]]
        told, finish = deltas[0]["delta"], deltas[-1]["finish_reason"]
    else:
        told, finish = (json.loads(wire.body)["choices"][0][k] for k in ("message", "finish_reason"))
    assert told["content" if way == "message" else "refusal"] == "Not this."
    assert finish == ("content_filter" if way == "message" else "stop")


async def test_a_cut_in_mid_stream_is_an_error_event_and_never_looks_complete(gateways):
    policy = "policy: w\nchecks: {words: {use: keywords, words: [FORBIDDEN], at: output, stream: after}}\n"

    out = asyncio.Event()

    async def play(_seen, writer):
        await begin_stream(writer)
        await send_part(writer, event(chunk({"content": "it is FORBIDDEN"})))
        await out.wait()
        await send_part(writer, event(chunk(finish="stop")) + event(b"[DONE]"))

    async with Fake(play) as fake:
        with gateways(fake.house, policy) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read(b"it is FORBIDDEN")
                out.set()
                await wire.read()
    assert wire.status == 200
    assert json.loads(wire.events[-2])["error"]["code"] == "content_filter"
    assert wire.events[-1] == b"[DONE]"


@pytest.mark.parametrize("reply", ["NO, not at all... yes", "", "maybe", "yes and no"])
async def test_a_judge_that_gives_no_verdict_fails_closed(gateways, reply):
    async with Fake(script(judge_says(reply, 0), never)) as fake:
        with gateways(fake.house, JUDGE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(new()))
                await wire.read()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert wire.status == 400
    assert receipt["checks"][0]["verdict"] == "failed"
    assert "not a verdict" in receipt["checks"][0]["why"]


async def test_a_judge_that_hangs_fails_closed_at_its_deadline_and_open_where_allowed(tmp_path):
    slow = "policy: safety\ndefaults: {{timeout: 300ms, on_error: {}}}\nchecks: {{harm: {{use: judge, model: judge, at: input}}}}\n"
    async with Fake(script(never, talks_at_once)) as fake:
        for on_error, status in (("block", 400), ("allow", 200)):
            folder = tmp_path / on_error
            folder.mkdir()
            with Gateway(folder, fake.house, slow.format(on_error)) as gateway:
                async with Wire(gateway.port) as wire:
                    await wire.post(ask())
                    await wire.read()
                receipt = (await asyncio.to_thread(gateway.receipts))[0]
            assert wire.status == status
            assert receipt["checks"][0]["why"] == "timed out"
            assert ("failed_open" in receipt) == (on_error == "allow")


@BOTH
async def test_a_shadow_check_blocks_nothing_and_is_on_the_receipt(gateways, stream):
    """The check speaks only when the client has its answer."""
    policy = "policy: s\nmode: shadow\nchecks: {harm: {use: judge, model: judge, at: input}}\n"
    answered = asyncio.Event()

    async def judge(_seen, writer):
        await answered.wait()
        await send_json(writer, plain_answer("YES"))

    async with Fake(script(judge, talks_at_once)) as fake:
        with gateways(fake.house, policy) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(new(), stream=stream))
                await wire.read()
            answered.set()
            assert wire.status == 200
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert receipt["decision"] == "released"
    assert (receipt["checks"][0]["verdict"], receipt["checks"][0]["shadow"]) == ("hit", True), receipt


async def test_a_flag_is_on_the_receipt_and_changes_nothing(gateways):
    policy = "policy: f\nchecks: {words: {use: keywords, words: [hello], at: input, do: flag}}\n"
    async with Fake(talks_at_once) as fake:
        with gateways(fake.house, policy) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask("hello"))
                await wire.read()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert wire.status == 200
    assert (receipt["decision"], receipt["action"]) == ("released", "flag")
    assert receipt["checks"][0]["parts"] == ["messages[0].content"]


async def test_a_fast_upstream_is_slowed_while_the_question_is_checked(tmp_path):
    """What is held is bounded by MAX_HELD and then back-pressure; nothing of it is lost."""
    sent = []

    async def floods(_seen, writer):
        await begin_stream(writer)
        for number in range(400):
            await send_part(writer, event(chunk({"content": f"<{number}>" + "x" * 50_000})))
            sent.append(number)
        await send_part(writer, event(chunk(finish="stop")) + event(b"[DONE]"))

    at_verdict = []

    async def judge(_seen, writer):
        await asyncio.sleep(1)
        at_verdict.append(len(sent))
        await send_json(writer, plain_answer("NO"))

    async with Fake(script(judge, floods)) as fake:
        with Gateway(tmp_path, fake.house, JUDGE, max_held="256KiB") as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read()
    assert wire.status == 200
    assert at_verdict[0] < 300, "the upstream was read on although the hold was full"
    assert all(b"<%d>" % number in wire.data for number in (0, 199, 399))
    assert wire.events[-1] == b"[DONE]"


async def test_a_client_that_reads_slowly_slows_the_upstream(tmp_path):
    sent = []

    async def floods(_seen, writer):
        await begin_stream(writer)
        for number in range(600):
            await send_part(writer, event(chunk({"content": "x" * 50_000})))
            sent.append(number)

    async with Fake(floods) as fake:
        with Gateway(
            tmp_path, fake.house, "policy: s\nchecks: {s: {use: length, max_characters: 99, at: input}}\n"
        ) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await asyncio.sleep(1.5)
                assert len(sent) < 500
            await fake.seen[0].wait_closed()
