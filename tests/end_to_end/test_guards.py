"""Guard models behind the same upstream: chat and plain completions, both sides, and what is no verdict."""

import uuid

import pytest

from tests.end_to_end.process import ask, chunk, plain_answer, send_json
from tests.end_to_end.stage import Stage, answers

POLICY = """
policy: p
checks:
  safe: {use: llama_guard, model: llama, categories: [S9]}
  wild: {use: wildguard, model: wild, at: input}
  score: {use: shieldgemma, model: gemma, at: input, threshold: 0.6, do: flag}
"""
PATHS = {"llama": b"/v1/chat/completions", "wild": b"/v1/completions", "gemma": b"/v1/completions"}
BOTH = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("guards"), POLICY) as stage:
        yield stage


def playing(text, llama="safe", wild="no"):
    """The guards say what they make of the one word that they look for."""

    async def play(seen, writer):
        put = str(seen.body.get("messages") or seen.body.get("prompt"))
        match seen.body["model"]:
            case "llama":
                await send_json(writer, plain_answer(llama if "boats" in put else "safe"))
            case "wild":
                lines = f"Harmful request: {wild}\nResponse refusal: no\nHarmful response: no"
                await send_json(
                    writer, {"object": "text_completion", "choices": [{"text": lines, "finish_reason": "stop"}]}
                )
            case "gemma":
                first = {"top_logprobs": [{"Yes": -0.1, "No": -2.5}]}
                await send_json(writer, {"choices": [{"text": "Yes", "finish_reason": "length", "logprobs": first}]})
            case _:
                pieces = [chunk({"content": word + " "}) for word in text.split()]
                await answers(plain_answer(text), [*pieces, chunk(finish="stop")])(seen, writer)

    return play


@BOTH
@pytest.mark.parametrize(
    ("told", "said", "decision"),
    [
        (("hello", "fine."), {}, "released"),
        (("boats?", "fine."), {"llama": "\n\nunsafe\nS9"}, "blocked"),
        (("hello", "I like boats."), {"llama": "unsafe\nS9"}, "blocked"),
        (("hello", "I like boats."), {"llama": "unsafe\nS1"}, "released"),
        (("hello", "fine."), {"wild": "yes"}, "blocked"),
        (("boats?", "fine."), {"llama": "perhaps"}, "blocked"),
        (("hello", "fine."), {"wild": "perhaps"}, "blocked"),
    ],
)
async def test_a_guard_decides(stage, stream, told, said, decision):
    question, answer = told
    question, answer = (f"{text} {uuid.uuid4()}" for text in (question, answer))  # nobody has judged them yet
    wire, receipt, seen = await stage.ask(ask(question, stream=stream), playing(answer, **said))
    assert receipt["decision"] == decision, receipt
    assert (wire.status == 200) == (decision == "released")
    if decision == "blocked":
        assert b"boats." not in wire.data
    paths = {one.body["model"]: one.head.split()[1] for one in seen}
    assert all(path == PATHS.get(model, b"/v1/chat/completions") for model, path in paths.items())
    if decision == "blocked":  # what had not been asked when the first guard said no is not asked any more
        return
    assert PATHS.keys() <= paths.keys()
    scored = next(check for check in receipt["checks"] if check["check"] == "p.score")
    assert scored["score"] == pytest.approx(0.9168, abs=1e-3)
