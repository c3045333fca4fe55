"""The scripted upstream: rules, timing by an injected sleep, and the same faults as a real one."""

import pytest

from gateway.core.terms import Call
from gateway.server.scripted import ScriptedUpstream, scripted_rules
from gateway.server.upstream import CallRecord, UpstreamError


def call(text="hello", model="m", *, stream=True, **more):
    return Call("only", "demo", model, {"messages": [{"role": "user", "content": text}], **more}, stream)


async def play(rules, asked):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    upstream = ScriptedUpstream(scripted_rules(rules), sleep)
    record = CallRecord("only", "demo", "m")
    frames = [d.frame async for some in upstream.answer(asked, {}, record) for d in some if d.frame is not None]
    return frames, slept, record


def text_of(frames):
    return "".join(c["delta"].get("content") or "" for f in frames for c in f["choices"])


async def test_the_first_rule_that_matches_answers():
    rules = [{"when": "BYE", "reply": "bye"}, {"model": "x-*", "reply": "x"}, {"reply": ["a", "b c"]}]
    assert text_of((await play(rules, call("good bye")))[0]) == "bye"
    assert text_of((await play(rules, call(model="x-1")))[0]) == "x"
    assert text_of((await play(rules, call()))[0]) == "ab c"
    assert "no rule" in text_of((await play([], call()))[0])


async def test_time_is_as_scripted_and_usage_is_counted():
    frames, slept, record = await play([{"reply": "one two", "first_token": "200ms", "between_tokens": "20ms"}], call())
    assert slept == [0.2, 0.02, 0.02]
    assert frames[-1]["usage"]["total_tokens"] == record.usage["total_tokens"] > 0
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"


async def test_plain_and_several_choices():
    frames, _, _ = await play([{"reply": "hi", "reasoning": "hm", "finish": "length"}], call(stream=False, n=2))
    assert [c["message"]["content"] for c in frames[0]["choices"]] == ["hi", "hi"]
    assert frames[0]["choices"][0]["message"]["reasoning_content"] == "hm"
    assert frames[0]["choices"][0]["finish_reason"] == "length"


async def test_tool_calls_are_streamed_in_pieces():
    rules = [{"tool_calls": [{"name": "f", "arguments": '{"a": 1}'}]}]
    frames, _, _ = await play(rules, call())
    calls = [c for f in frames for choice in f["choices"] for c in choice["delta"].get("tool_calls", [])]
    assert "".join(c["function"].get("arguments", "") for c in calls) == '{"a": 1}'
    assert frames[-2]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("rule", "status", "code"),
    [
        ({"error": 429}, 429, "upstream_429"),
        ({"break_after": 1}, 502, "upstream_cut"),
        ({"hang": True}, 504, "upstream_timeout"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_faults(rule, status, code, stream):
    with pytest.raises(UpstreamError) as caught:
        await play([rule], call(stream=stream))
    assert (caught.value.fault.status, caught.value.fault.code) == (status, code)


async def test_moderation():
    upstream = ScriptedUpstream(scripted_rules([{"when": "bad", "flagged": True}]))
    answer = await upstream.ask("moderations", "m", {"input": ["good", "a bad one"]})
    assert [r["flagged"] for r in answer["results"]] == [False, True]


@pytest.mark.parametrize("rule", [{"replly": "x"}, {"first_token": 5}, {"error": 200}, "x"])
def test_a_rule_that_cannot_act_names_itself(rule):
    with pytest.raises(ValueError, match="rule 2"):
        scripted_rules([{"reply": "ok"}, rule])
