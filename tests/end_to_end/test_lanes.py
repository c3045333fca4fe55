"""Streams that flow: what may be out when, with the lanes that hold little, seen on the raw socket."""

import asyncio
import json
import subprocess
import sys
import time

import pytest

from tests.end_to_end.process import (  # fmt: skip
    Fake,
    Gateway,
    Wire,
    ask,
    begin_stream,
    chunk,
    end_stream,
    environment,
    event,
    plain_answer,
    send_json,
    send_part,
)
from tests.patience import LONG

EXACT = """
policy: exact
checks:
  words: {use: keywords, words: [SWORDFISH-7], at: output}
  keys: {use: regex, patterns: {aws: '\\b(?:AKIA|ASIA)[0-9A-Z]{16}\\b'}, case_sensitive: true, at: output}
"""
WINDOW = "policy: w\nchecks: {tone: {use: judge, model: judge, at: output, stream: window, timeout: 5s}}\n"


def says(*texts, pause=0.03):
    """Texts, and events that are waited for."""

    async def play(seen, writer):
        await begin_stream(writer)
        for text in texts:
            if isinstance(text, asyncio.Event):
                await text.wait()
                continue
            await send_part(writer, event(chunk({"content": text})))
            await asyncio.sleep(pause)
        await send_part(writer, event(chunk(finish="stop")) + event(b"[DONE]"))
        await end_stream(writer)

    return play


async def test_harmless_text_is_out_long_before_the_end(gateways):
    words = [f"word{n} " for n in range(10)]
    out = asyncio.Event()
    async with Fake(says(*words[:5], out, *words[5:])) as fake:
        with gateways(fake.house, EXACT) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read(until=b"word1")
                out.set()
                await wire.read()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert wire.events[-1] == b"[DONE]"
    assert "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in wire.events[:-1]) == "".join(words)
    assert {(c["check"], c["verdict"]) for c in receipt["checks"]} == {
        ("exact.words", "clear"),
        ("exact.keys", "clear"),
    }
    assert all("choices[0].delta.content" in c["read"] for c in receipt["checks"])


@pytest.mark.parametrize("cut", range(1, 11))
async def test_no_character_of_a_hit_is_out_however_it_is_cut(cut, flowing):
    word, out = "SWORDFISH-7", asyncio.Event()
    script = says("Ordinary words first, ", out, f"and then {word[:cut]}", f"{word[cut:]} and more.")
    wire = await flowing(script, b"Ordinary words first, ", out)
    assert wire.status == 200
    assert b"Ordinary words first, " in wire.body
    assert b"SWORD" not in wire.data
    assert json.loads(wire.events[-2])["error"]["code"] == "content_filter"
    assert wire.events[-1] == b"[DONE]"


@pytest.fixture
async def flowing(gateways):
    async def run(script, first=b"", out=None):
        """The wire in the end. `out` is set once the client has what is first."""
        async with Fake(script) as fake:
            with gateways(fake.house, EXACT) as gateway:
                async with Wire(gateway.port) as wire:
                    await wire.post(ask(stream=True))
                    if out is not None:
                        await wire.read(first)
                        out.set()
                    await wire.read()
                await fake.seen[0].wait_closed()
        return wire

    return run


async def test_a_tool_call_comes_whole_or_not_at_all(flowing):
    def piece(arguments, **more):
        return chunk({"tool_calls": [{"index": 0, **more, "function": {"arguments": arguments}}]})

    for secret in (False, True):
        out = asyncio.Event()

        async def play(seen, writer, said="\\u0053WORDFISH-7" if secret else "fine", out=out):
            await begin_stream(writer)
            await send_part(writer, event(chunk({"role": "assistant", "content": "Let me look. "})))
            await out.wait()
            for document in (piece("", id="c1", type="function"), piece('{"q": "'), piece(said), piece('"}')):
                await send_part(writer, event(document))
                await asyncio.sleep(0.05)
            await send_part(writer, event(chunk(finish="tool_calls")) + event(b"[DONE]"))
            await end_stream(writer)

        wire = await flowing(play, b"Let me look.", out)
        assert b"Let me look." in wire.body
        assert (b"tool_calls" in wire.body) is not secret
        assert (b'"finish_reason":"tool_calls"' in wire.body) is not secret


async def test_a_window_check_lets_sentences_go_one_by_one(tmp_path):
    sentences = [f"This is sentence number {n}, and it is quite ordinary. " for n in range(12)]
    asked = []
    one, many = asyncio.Event(), asyncio.Event()
    script = says(*sentences[:2], one, *sentences[2:], many, "Then add poison. ", "And so on, for ever and ever. ")

    async def play(seen, writer):
        if seen.body["model"] == "judge":
            asked.append(seen.body["messages"][-1]["content"])
            await asyncio.sleep(0.2)
            await send_json(writer, plain_answer("YES" if "poison" in asked[-1] else "NO"))
        else:
            await script(seen, writer)

    async with Fake(play) as fake:
        with Gateway(tmp_path, fake.house, WINDOW) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read(until=b"number 0")
                one.set()
                await wire.read(until=b"number 5")
                many.set()
                await wire.read()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert b"number 5" in wire.body
    assert b"poison" not in wire.data
    assert json.loads(wire.events[-2])["error"]["code"] == "content_filter"
    assert 3 <= len(asked) <= 9, "windows grow"
    assert receipt["decision"] == "blocked"


COMMENT = b": keep-alive\n\n"


async def kept_alive(folder, before, between):
    """The wire at the end of a stream whose upstream has its last words ready once the client has two comments.

    It waits for `before` first, and does `between` again and again until then.
    """
    heard, spoke = asyncio.Event(), []

    async def play(_seen, writer):
        await begin_stream(writer)
        await asyncio.sleep(before)
        spoke.append(time.monotonic())
        await send_part(writer, event(chunk({"content": "first words "})))
        while not heard.is_set():
            await between(writer)
        await send_part(writer, event(chunk({"content": "and the last"}, "stop")) + event(b"[DONE]"))
        await end_stream(writer)

    async with Fake(play) as fake:
        with Gateway(folder, fake.house, EXACT, keepalive="200ms") as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read(until=COMMENT, times=2)
                heard.set()
                await wire.read()
    assert wire.first_byte >= spoke[0], "nothing, no comment either, before the first words"
    assert wire.body.count(COMMENT) <= (time.monotonic() - spoke[0]) / 0.2, "each follows on as much silence"
    assert wire.body.endswith(b"data: [DONE]\n\n")
    return wire


async def test_a_silent_stream_is_kept_alive_only_after_it_has_begun(tmp_path):
    await kept_alive(tmp_path, 0.7, lambda _: asyncio.sleep(0.01))


async def test_an_upstream_that_only_says_it_is_alive_keeps_no_comment_back(tmp_path):
    async def here(writer):
        await send_part(writer, b": still here\n\n")
        await asyncio.sleep(0.05)

    wire = await kept_alive(tmp_path, 0, here)
    assert b"still here" not in wire.body


async def test_the_bound_is_printed(tmp_path):
    (tmp_path / "p.yaml").write_text(EXACT)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "p.yaml", "--json"], cwd=tmp_path, env=environment(), capture_output=True, timeout=LONG, check=True
    )  # fmt: skip
    rows = json.loads(done.stdout)["checks"]
    assert {row["out_before_block"] for row in rows} == {"0"}
    assert {row["waits"] for row in rows} == {"only for text that may still become a hit"}
    async with Fake(says("x")) as fake:
        with Gateway(tmp_path, fake.house, WINDOW) as gateway:
            line = next(json.loads(one) for one in gateway.lines if '"event":"policy"' in one)
    assert line["out_before_block"] == {"w.tone": "0"}
    assert "a sentence" in line["waits"]["w.tone"]


def with_id(*chunks):
    async def play(_seen, writer):
        await begin_stream(writer, b"x-request-id: SWORDFISH-7\r\n")
        for document in chunks:
            await send_part(writer, event(document))
            await asyncio.sleep(0.05)
        await send_part(writer, event(b"[DONE]"))
        await end_stream(writer)

    return play


async def test_no_choice_goes_ahead_of_the_headers_it_would_bring(flowing):
    """The upstream's request id is text: a second choice does not carry it out while it is not cleared."""
    second = chunk({"content": "some ordinary words. "})
    second["choices"][0]["index"] = 1
    wire = await flowing(with_id(chunk({"content": "held SWORDF"}), second, second, chunk(finish="stop")))
    assert wire.status == 400
    assert b"SWORD" not in wire.data


async def test_a_refusal_told_as_a_message_brings_no_header_of_the_upstream(gateways):
    async with Fake(with_id(chunk({"content": "fine"}), chunk(finish="stop"))) as fake:
        with gateways(fake.house, EXACT.replace("checks:", "block_as: message\nchecks:")) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read()
    assert wire.status == 200
    assert b'"finish_reason":"content_filter"' in wire.body
    assert b"SWORD" not in wire.data
