"""Services as checks in the real process: what they find is masked, what they block stays in, and how they fail."""

import json
import uuid

import pytest

from tests.end_to_end.process import Fake, ask, chunk, plain_answer, send_json
from tests.end_to_end.stage import answers

POLICY = """
policy: p
checks:
  names: {{use: presidio, url: "{url}", do: {do}}}
  hook: {{use: webhook, url: "{url}", do: {hook}}}
"""
BOTH = pytest.mark.parametrize("stream", [False, True])
NAME = "Ann Lee"


async def service(seen, writer):
    """Knows one name, and a word that it blocks."""
    if b"/analyze" in seen.head:
        at = seen.body["text"].find(NAME)
        found = [{"entity_type": "PERSON", "start": at, "end": at + len(NAME), "score": 0.9}]
        await send_json(writer, found if at >= 0 else [])
    elif any("GARBAGE" in text for text in seen.body["texts"]):
        await send_json(writer, {"action": "PERHAPS"})
    elif any("BAD" in text for text in seen.body["texts"]):
        await send_json(writer, {"action": "BLOCKED", "blocked_reason": "it says BAD"})
    elif any("BOAT" in text for text in seen.body["texts"]):
        texts = [text.replace("BOAT", "****") for text in seen.body["texts"]]
        await send_json(writer, {"action": "GUARDRAIL_INTERVENED", "texts": texts})
    else:
        await send_json(writer, {"action": "NONE"})


def saying(text):
    pieces = [chunk({"content": character}) for character in text]
    return answers(plain_answer(text), [*pieces, chunk(finish="stop")])


@pytest.fixture
async def both(stages):
    async with Fake(service) as fake:
        url = fake.url.removesuffix("/v1")
        with stages(POLICY.format(url=url, do="mask", hook="redact")) as stage:
            yield fake, stage


@BOTH
async def test_what_a_service_finds_is_masked_and_comes_back(both, stream):
    fake, stage = both
    mine = uuid.uuid4()
    wire, receipt, seen = await stage.ask(ask(f"{mine} I am {NAME}.", stream=stream), saying("Hello."))
    assert wire.status == 200, wire.data
    (asked,) = seen
    text = asked.body["messages"][0]["content"]
    assert NAME not in text
    placeholder = text.removeprefix(f"{mine} I am ").removesuffix(".")
    assert placeholder.startswith("<PERSON_")
    assert receipt["decision"] == "masked"
    wire, receipt, seen = await stage.ask(ask(f"{mine} I am {NAME}.", stream=stream), saying(f"Hello {placeholder}!"))
    assert wire.status == 200
    assert f"Hello {NAME}!" in _said(wire, stream)
    assert any(b"/analyze" in one.head for one in fake.seen)


@BOTH
async def test_what_a_service_wants_changed_is_cut_out(both, stream):
    _, stage = both
    wire, receipt, seen = await stage.ask(ask(f"{uuid.uuid4()} one BOAT.", stream=stream), saying("My BOAT floats."))
    assert (wire.status, receipt["decision"]) == (200, "masked"), receipt
    assert "one [CHANGED]." in seen[0].body["messages"][0]["content"]
    assert _said(wire, stream) == "My [CHANGED] floats."


@BOTH
@pytest.mark.parametrize(("question", "answer"), [("BAD", "fine"), ("fine", "so BAD"), ("GARBAGE", "fine")])
async def test_what_a_service_blocks_stays_in(both, stream, question, answer):
    _, stage = both
    wire, receipt, _ = await stage.ask(ask(f"{uuid.uuid4()} {question}", stream=stream), saying(answer))
    assert (wire.status, receipt["decision"]) == (400, "blocked")
    assert b"so" not in wire.data.partition(b"\r\n\r\n")[2].replace(b"reason", b"")
    failed = [check for check in receipt["checks"] if check["verdict"] == "failed"]
    assert bool(failed) == (question == "GARBAGE")


def _said(wire, stream):
    if not stream:
        return json.loads(wire.body)["choices"][0]["message"]["content"]
    events = [json.loads(one) for one in wire.events if one.startswith(b"{")]
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
