"""Outrider asked by other gateways: LiteLLM's generic guardrail, and a detector of the FMS orchestrator."""

import base64
import json

import pytest

from tests.end_to_end.process import Wire, plain_answer, send_json
from tests.end_to_end.stage import Stage

HOOK = "/beta/litellm_basic_guardrail_api"
CONTENTS = "/api/v1/text/contents"
POLICIES = """
policy: p
opaque: block
checks:
  words: {use: keywords, words: [FORBIDDEN]}
  mail: {use: pii, entities: [email], do: mask}
  keys: {use: secrets, do: redact, at: [user, content]}
  watched: {use: keywords, words: [WATCHED], mode: shadow}
  calls: {use: keywords, words: [rm -rf], at: [tool_call, tool_definition]}
  harm: {use: judge, model: judge, at: input}
"""
KEY = "AKIAIOSFODNN7ABCDEFG"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("plugged"), POLICIES) as stage:
        yield stage


async def judge(seen, writer):
    text = seen.body["messages"][1]["content"]
    await send_json(writer, plain_answer("YES" if "HARM" in text else "what?" if "ODD" in text else "NO"))


async def hook(stage, *texts, kind="request", **more):
    document = {"texts": list(texts), "input_type": kind, "request_data": {}, "litellm_call_id": "c1", **more}
    wire, receipt, _ = await stage.ask(document, judge, path=HOOK)
    return wire, receipt


@pytest.mark.parametrize(
    ("texts", "kind", "answer"),
    [
        (["hello", "world"], "request", {"action": "NONE"}),
        ([], "request", {"action": "NONE"}),
        (["hello", "so FORBIDDEN"], "request", {"action": "BLOCKED", "blocked_reason": "Blocked by p.words."}),
        (["so FORBIDDEN"], "response", {"action": "BLOCKED", "blocked_reason": "Blocked by p.words."}),
        (["WATCHED"], "request", {"action": "NONE"}),
        (["HARM"], "request", {"action": "BLOCKED", "blocked_reason": "Blocked by p.harm."}),
        (["ODD"], "request", {"action": "BLOCKED", "blocked_reason": "Blocked by p.harm."}),
        (["HARM"], "response", {"action": "NONE"}),
        ([f"{KEY}.", "fine"], "request", {"action": "GUARDRAIL_INTERVENED", "texts": ["[AWS_ACCESS_KEY_ID].", "fine"]}),
    ],
)
async def test_a_verdict(stage, texts, kind, answer):
    wire, receipt = await hook(stage, *texts, kind=kind)
    assert (wire.status, json.loads(wire.body)) == (200, answer)
    decision = {"NONE": "released", "BLOCKED": "blocked", "GUARDRAIL_INTERVENED": "masked"}[answer["action"]]
    assert (receipt["endpoint"], receipt["decision"]) == ("webhook", decision)


async def test_masks_stay_the_same_in_a_conversation(stage):
    said = []
    for trace, text in (("t1", "bob@x.org is here"), ("t1", "again bob@x.org"), ("t2", "bob@x.org is here")):
        wire, _ = await hook(stage, text, litellm_trace_id=trace)
        (changed,) = json.loads(wire.body)["texts"]
        assert "bob@" not in changed
        said.append(next(word for word in changed.split() if word.startswith("<EMAIL_")))
    assert said[0] == said[1] != said[2]


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"tools": [{"type": "function", "function": {"name": "x", "description": "rm -rf"}}]}, "request"),
        ({"tool_calls": [{"function": {"name": "sh", "arguments": '{"c": "rm -rf /"}'}}]}, "response"),
        ({"images": ["data:image/png;base64,AAAA"]}, "request"),
    ],
)
async def test_more_than_texts_is_read(stage, more, kind):
    wire, _ = await hook(stage, "hello", kind=kind, **more)
    assert json.loads(wire.body)["action"] == "BLOCKED"


async def test_what_is_wrapped_is_found(stage):
    wrapped = base64.b64encode(b"this is FORBIDDEN, whatever coat it wears").decode()
    wire, _ = await hook(stage, wrapped)
    assert json.loads(wire.body)["action"] == "BLOCKED"


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({"texts": ["x"]}, 400, "input_type"),
        ({"texts": "x", "input_type": "request"}, 400, "texts"),
        ({"texts": ["x"] * 513, "input_type": "request"}, 400, "at most 512"),
        ({"texts": [], "input_type": "request", "additional_provider_specific_params": {"policy": "q"}}, 404, "no policy 'q'"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_refused(stage, document, status, words):
    wire, _, _ = await stage.ask(document, judge, path=HOOK)
    assert wire.status == status
    assert words in wire.error["message"]


async def test_a_policy_may_be_named(stage):
    wire, _ = await hook(stage, "so FORBIDDEN", additional_provider_specific_params={"policy": "p"})
    assert json.loads(wire.body)["action"] == "BLOCKED"


async def detect(stage, detector, *texts):
    head = f"detector-id: {detector}\r\n".encode()
    wire, _, _ = await stage.ask({"contents": list(texts), "detector_params": {}}, judge, CONTENTS, headers=head)
    return wire


async def test_detections_have_places(stage):
    wire = await detect(stage, "p.mail", "to bob@x.org, ann@y.org", "nobody", "")
    (first, second, third) = json.loads(wire.body)
    assert (second, third) == ([], [])
    assert [(one["start"], one["end"], one["text"], one["detection"]) for one in first] == [
        (3, 12, "bob@x.org", "email"), (14, 23, "ann@y.org", "email")
    ]  # fmt: skip
    assert {one["detection_type"] for one in first} == {"p.mail"}


async def test_a_whole_policy_is_a_detector(stage):
    wire = await detect(stage, "p", "HARM", "a FORBIDDEN word", "fine")
    (first, second, third) = json.loads(wire.body)
    assert [(one["detection_type"], one["start"], one["end"]) for one in first] == [("p.harm", 0, 4)]
    assert ("p.words", 0, 16) in [(one["detection_type"], one["start"], one["end"]) for one in second] or second
    assert third == []


@pytest.mark.parametrize(
    ("detector", "text", "status", "words"),
    [
        ("q", "x", 404, "no policy 'q'"),
        ("p.word", "x", 404, "did you mean 'p.words'"),
        ("p.harm", "ODD", 502, "p.harm failed"),
    ],
)
async def test_errors_have_the_shape_of_detectors(stage, detector, text, status, words):
    wire = await detect(stage, detector, text)
    told = json.loads(wire.body)
    assert (wire.status, told["code"]) == (status, status)
    assert words in told["message"]


async def test_only_posts(stage):
    async with Wire(stage.port) as wire:
        await wire.send(f"GET {HOOK} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        await wire.read()
        assert wire.status == 405
