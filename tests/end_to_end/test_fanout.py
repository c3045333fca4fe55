"""Virtual models against the real process: every strategy, plain and streamed, with checks, on the raw socket."""

import asyncio
import json
import re

import openai
import pytest

from tests.end_to_end.process import (
    Wire,
    begin_stream,
    chunk,
    end_stream,
    event,
    never,
    plain_answer,
    send_json,
    send_part,
)
from tests.end_to_end.stage import Stage
from tests.patience import until

MARK = "SWORDFISH-7"
POLICY = f"""
policy: p
checks:
  words: {{use: keywords, words: [{MARK}, PART ONE]}}
  mail: {{use: regex, do: mask, patterns: {{email: '[a-z]+@[a-z]+[.]org'}}}}
"""
NAMES = ("m1", "m2", "m3", "m4", "m5", "judge", "agg", "score")
MEMBERS = "[{model: m1}, {model: m2}, {model: m3}, {model: m4}, {model: m5}]"
HOUSE = "".join(f"  {name}: {{upstream: up, model: {name}}}\n" for name in NAMES)
VIRTUAL = f"""
models:
{HOUSE}
  triage: {{strategy: vote, members: {MEMBERS}, keepalive: 100ms, grace: 60s}}
  small: {{strategy: vote, members: [{{model: m1}}, {{model: m2}}, {{model: m3}}], expose: full, grace: 60s}}
  lenient: {{strategy: vote, members: [{{model: m1}}, {{model: m2}}, {{model: m3}}], quorum: 1, grace: 60s, on_no_consensus: {{escalate: agg}}}}
  alike: {{strategy: vote, members: [{{model: m1}}, {{model: m2}}, {{model: m3}}], grace: 60s, ballot: {{type: text, cluster: {{model: judge}}}}}}
  careful: {{strategy: best_of, members: [{{model: m1}}, {{model: m2}}, {{model: m3}}], judge: {{model: judge, orders: 2}}, usage: winner}}
  writer: {{strategy: synthesize, members: [{{model: m1}}, {{model: m2}}], aggregator: {{model: agg}}}}
  analyst: {{strategy: sections, model: m1, sections: {{finance: {{prompt: "Finance: {{input}}"}}, market: {{prompt: "Market: {{input}}", model: m2}}}}}}
  joined: {{strategy: sections, model: m1, headings: false, sections: {{a: {{prompt: "{{input}}"}}, b: {{prompt: "{{input}}", model: m2}}}}}}
  critic: {{strategy: criteria, model: score, criteria: {{accuracy: {{}}, tone: {{weight: 0.5}}}}}}
  fast: {{strategy: hedge, members: [{{model: m1}}, {{model: m2}}, {{model: m3}}], delay: 0s}}
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("fan"), POLICY, VIRTUAL) as stage:
        yield stage


async def at_once():
    pass


def after(stage, name):
    """Once the answer of this one has been read to its end."""
    return lambda: until(lambda: [one for one in stage.seen if one.body["model"] == name and one.closed])


def told(texts, turns=None):
    """Each model says its text, some when it is their turn; streamed word by word where it is asked so."""

    async def play(seen, writer):
        name = seen.body["model"]
        await (turns or {}).get(name, at_once)()
        text = texts[name]
        if callable(text):
            await text(seen, writer)
            return
        if not seen.body.get("stream"):
            await send_json(writer, plain_answer(text))
            return
        await begin_stream(writer)
        for word in text.split(" "):
            await send_part(writer, event(chunk({"content": f"{word} "})))
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        last = {**chunk(), "choices": [], "usage": usage}
        await send_part(writer, event(chunk(finish="stop")) + event(last) + event(b"[DONE]"))
        await end_stream(writer)

    return play


def ask(model, stream=False, **more):
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Which?"}], **more}


def text_of(wire, stream):
    if not stream:
        return json.loads(wire.body)["choices"][0]["message"]["content"]
    frames = [json.loads(e) for e in wire.events if e != b"[DONE]" and not e.startswith(b":")]
    return "".join(f["choices"][0]["delta"].get("content") or "" for f in frames if f["choices"]).strip()


def extension(wire, stream):
    if not stream:
        return json.loads(wire.body)["outrider"]["fanout"]
    frames = [json.loads(e) for e in wire.events if e != b"[DONE]" and not e.startswith(b":")]
    return next(f for f in frames if f["choices"] and f["choices"][0]["finish_reason"])["outrider"]["fanout"]


@pytest.mark.parametrize("stream", [False, True])
async def test_three_that_agree_of_five_are_enough_and_the_others_are_closed(stage, stream):
    texts = dict.fromkeys(("m1", "m2", "m3"), "yes") | {"m4": "no", "m5": "no"}
    turns = {"m2": after(stage, "m1"), "m3": after(stage, "m2"), "m4": never, "m5": never}
    wire, receipt, seen = await stage.ask(ask("triage", stream), told(texts, turns))
    assert text_of(wire, stream) == "yes"
    for one in seen:
        if one.body["model"] in {"m4", "m5"}:
            await one.wait_closed()
    said = extension(wire, stream)
    assert (said["decision"], said["stopped"], said["cancelled"]) == ("decided", "exact", 2)
    assert [m["status"] for m in said["members"]] == ["valid"] * 3 + ["cancelled"] * 2
    assert receipt["fanout"]["decision"] == "decided"
    assert len({one["answer"] for one in receipt["fanout"]["ballots"]}) == 1
    if not stream:
        assert wire.headers["x-outrider-strategy"] == "vote"
        assert wire.headers["x-outrider-votes"] == "3/3"
        assert wire.headers["x-outrider-winner"] == "m1"
    else:
        assert wire.events[-1] == b"[DONE]"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_blocked_candidate_is_no_ballot_and_nobody_sees_it(stage, stream):
    texts = {"m1": f"the word is {MARK}", "m2": "fine", "m3": "fine"}
    then = after(stage, "m1")
    wire, receipt, _ = await stage.ask(ask("small", stream), told(texts, {"m2": then, "m3": then}))
    assert text_of(wire, stream) == "fine"
    assert MARK.encode() not in wire.data
    member = extension(wire, stream)["members"][0]
    assert (member["status"], member["check"]) == ("invalid", "p.words")
    assert any(c.get("call") == "m1" and c["verdict"] == "hit" for c in receipt["checks"])


@pytest.mark.parametrize("model", ["small", "fast", "careful", "writer", "analyst"])
@pytest.mark.parametrize("stream", [False, True])
async def test_where_every_answer_is_stopped_it_is_a_block(stage, model, stream):
    wire, receipt, _ = await stage.ask(ask(model, stream), told(dict.fromkeys(NAMES, f"it is {MARK}")))
    assert MARK.encode() not in wire.data
    assert receipt["decision"] == "blocked"
    if stream and wire.status == 200:  # a slow machine: a comment or the first words went out before the last had come
        *said, last, done = (e for e in wire.events if not e.startswith(b":"))
        before = [json.loads(e)["choices"][0]["delta"].get("content") or "" for e in said]
        assert f"it is {MARK}".startswith("".join(before))
        assert (json.loads(last)["error"]["code"], done) == ("content_filter", b"[DONE]")
        return
    assert wire.status == 400
    assert wire.error["code"] == "content_filter"
    assert wire.headers["x-should-retry"] == "false"


async def test_the_question_is_checked_once_beside_all_of_it(stage):
    wire, receipt, seen = await stage.ask(
        {**ask("triage"), "messages": [{"role": "user", "content": MARK}]}, told(dict.fromkeys(NAMES, "x"))
    )
    assert wire.status == 400
    assert seen == []
    assert {c["side"] for c in receipt["checks"]} == {"input"}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_judge_and_the_aggregator_see_only_what_was_cleared(stage, stream):
    texts = {"m1": "first", "m2": f"bad {MARK}", "m3": "third", "agg": "both of it"}

    async def judge(seen, writer):
        assert MARK not in json.dumps(seen.body)
        shown = seen.body["messages"][1]["content"]
        place = 1 if shown.index("first") < shown.index("third") else 2
        await send_json(writer, plain_answer(json.dumps({"choice": place})))

    wire, _, seen = await stage.ask(ask("careful", stream), told({**texts, "judge": judge}))
    assert text_of(wire, stream) == "first"
    judges = [one.body for one in seen if one.body["model"] == "judge"]
    assert len(judges) == 2
    assert all(body["temperature"] == 0 for body in judges)
    wire, _, seen = await stage.ask(ask("writer", stream), told({**texts, "m2": "second"}))
    assert text_of(wire, stream) == "both of it"
    shown = next(one.body for one in seen if one.body["model"] == "agg")["messages"][-1]["content"]
    assert "first" in shown
    assert "second" in shown


@pytest.mark.parametrize("stream", [False, True])
async def test_sections_and_criteria(stage, stream):
    wire, _, seen = await stage.ask(ask("analyst", stream), told({"m1": "money", "m2": "rivals"}))
    assert text_of(wire, stream).split() == ["##", "finance", "money", "##", "market", "rivals"]
    assert {one.body["messages"][-1]["content"] for one in seen} == {"Finance: Which?", "Market: Which?"}
    wire, _, _ = await stage.ask(ask("critic", stream), told({"score": '{"score": 7, "reason": "good"}'}))
    judged = json.loads(text_of(wire, stream))
    assert judged["pass"] is True
    assert judged["criteria"]["tone"] == {"score": 7.0, "reason": "good", "pass": True}


@pytest.mark.parametrize("stream", [False, True])
async def test_words_that_two_sections_make_together_are_found(stage, stream):
    """Each half passes by itself; what is put together is read again as a whole."""
    wire, receipt, _ = await stage.ask(ask("joined", stream), told({"m1": "it ends with PART", "m2": "ONE begins"}))
    assert receipt["decision"] == "blocked"
    assert b"ONE" not in wire.data
    assert b"PART" not in wire.data


async def fails(seen, writer):
    await send_json(writer, {"error": {"message": "no"}}, "500 Oops")


async def error_frame(seen, writer):
    await begin_stream(writer)
    await send_part(writer, event({"error": {"message": "no"}}))
    await end_stream(writer)


async def comments(seen, writer):
    await begin_stream(writer)
    await send_part(writer, b": hello\n\n: again\n\n")
    await end_stream(writer)


async def empty(seen, writer):
    await begin_stream(writer)
    await send_part(writer, event(chunk({"role": "assistant"})) + event(chunk(finish="stop")) + event(b"[DONE]"))
    await end_stream(writer)


async def stalls(seen, writer):
    await begin_stream(writer)
    await send_part(writer, event(chunk({"role": "assistant"})))
    await never()


@pytest.mark.parametrize("loser", [fails, error_frame, comments, empty, stalls], ids=lambda f: f.__name__)
async def test_what_is_no_answer_never_wins_a_hedge(stage, loser):
    texts = {"m1": loser, "m2": loser, "m3": "I am here"}
    late = {"m3": lambda: asyncio.sleep(0.15)}
    wire, receipt, _seen = await stage.ask(ask("fast", stream=True), told(texts, late))
    assert text_of(wire, True) == "I am here"
    assert receipt["fanout"]["winner"] == "m3"
    assert wire.events[-1] == b"[DONE]"


async def test_when_all_fail_the_reasons_are_told(stage):
    wire, receipt, _ = await stage.ask(ask("fast"), told(dict.fromkeys(NAMES, fails)))
    assert wire.status == 502
    assert wire.error["code"] == "all_failed"
    assert "m3: upstream_500" in wire.error["message"]
    assert receipt["decision"] == "failed"


async def test_no_consensus_is_escalated_and_streamed_live(stage):
    wire, _, _ = await stage.ask(
        ask("lenient", stream=True), told({"m1": "x", "m2": "y", "m3": "z", "agg": "so it is"})
    )
    assert text_of(wire, True) == "so it is"
    assert extension(wire, True)["escalated_to"] == "agg"


async def test_comments_keep_a_stream_alive_that_is_being_decided(stage):
    heard = []
    stage.plays(told(dict.fromkeys(NAMES, "x"), dict.fromkeys(NAMES, lambda: until(lambda: heard))))
    async with Wire(stage.port) as wire:
        await wire.post(ask("triage", stream=True))
        await wire.read(until=b": keep-alive")
        heard.append(True)
        await wire.read()
    assert wire.events[0].startswith(b": keep-alive")
    assert text_of(wire, True) == "x"


async def test_usage_of_all_or_of_the_winner(stage):
    asked = ask("small", stream=True, stream_options={"include_usage": True})
    wire, _, _ = await stage.ask(asked, told(dict.fromkeys(NAMES, "x")))
    usage = json.loads(wire.events[-2])["usage"]
    assert usage["total_tokens"] in {14, 21}
    judge = json.dumps({"choice": 1})
    wire, _, _ = await stage.ask(ask("careful"), told({"m1": "x", "m2": "x", "m3": "x", "judge": judge}))
    said = json.loads(wire.body)
    assert wire.status in {200, 502}
    if wire.status == 200:
        assert said["usage"]["total_tokens"] == 7
        assert said["outrider"]["fanout"]["usage_total"]["total_tokens"] == 35


async def test_texts_that_an_embeddings_model_finds_alike(stage):
    async def embed(seen, writer):
        data = [
            {"index": n, "embedding": [1.0, 0.0] if "Paris" in t else [0.0, 1.0]}
            for n, t in enumerate(seen.body["input"])
        ]
        await send_json(writer, {"object": "list", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}})

    wire, receipt, _ = await stage.ask(
        ask("alike"), told({"m1": "Paris it is", "m2": "London", "m3": "It must be Paris", "judge": embed})
    )
    assert wire.status == 200, (wire.body, receipt)
    assert "Paris" in text_of(wire, False)
    assert extension(wire, False)["tally"][0]["weight"] == 2.0
    assert [call["name"] for call in receipt["calls"]][-1] == "embeddings"


async def test_what_is_masked_stays_masked_for_every_member_and_comes_back_once(stage):
    async def member(seen, writer):
        name = re.search(r"<EMAIL_[0-9a-f]{4}>", json.dumps(seen.body))[0]
        assert "bob@x.org" not in json.dumps(seen.body)
        await send_json(writer, plain_answer(f"Mail {name}"))

    document = {"model": "small", "messages": [{"role": "user", "content": "I am bob@x.org"}]}
    wire, receipt, _ = await stage.ask(document, told(dict.fromkeys(NAMES, member)))
    assert text_of(wire, False) == "Mail bob@x.org"
    assert receipt["decision"] == "masked"


async def test_what_a_virtual_model_refuses(stage):
    wire, _, seen = await stage.ask(ask("triage", n=2), told({}))
    assert (wire.status, wire.error["param"]) == (400, "n")
    wire, _, seen = await stage.ask({"model": "triage", "input": "x"}, told({}), "/v1/embeddings")
    assert (wire.status, wire.error["param"]) == (400, "model")
    assert seen == []


async def test_the_client_that_leaves_ends_every_call(stage):
    stage.plays(never)
    async with Wire(stage.port) as wire:
        await wire.post(ask("triage"))
        await until(lambda: len(stage.seen) == 5)
    for one in stage.seen:
        await one.wait_closed()


@pytest.mark.parametrize("model", ["triage", "careful", "writer", "analyst", "critic", "fast"])
async def test_the_official_client_needs_no_change(stage, model):
    texts = dict.fromkeys(NAMES, "hello there") | {"score": '{"score": 5, "reason": ""}'}

    async def judge(seen, writer):
        await send_json(writer, plain_answer(json.dumps({"choice": 1})))

    stage.plays(told({**texts, "judge": judge}))
    client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{stage.port}/v1", api_key="x", max_retries=0)
    messages = [{"role": "user", "content": "hi"}]
    if model == "careful":  # two orders of a judge that always takes the first place never agree
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model=model, messages=messages)
        await client.close()
        return
    whole = await client.chat.completions.create(model=model, messages=messages)
    assert whole.choices[0].message.content
    assert whole.model == model
    assert whole.outrider["fanout"]["decision"] == "decided"
    said = ""
    async for part in await client.chat.completions.create(model=model, messages=messages, stream=True):
        for choice in part.choices:
            said += choice.delta.content or ""
    assert said.strip() == whole.choices[0].message.content.strip()
    await client.close()
