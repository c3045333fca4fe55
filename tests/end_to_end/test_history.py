"""Old turns: paid for once, or not shown; and the question that a check of the answer sees."""

import uuid

from tests.end_to_end.process import Fake, Gateway, Wire, plain_answer, send_json

POLICY = """
policy: p
checks:
  cached: {{use: judge, model: cached, at: [user, assistant], history: cached}}
  fresh:  {{use: judge, model: fresh, at: user, history: skip}}
  answer: {{use: llama_guard, model: guard, at: content, {0}}}
"""


async def answers(seen, writer):
    put = str(seen.body["messages"])
    match seen.body["model"]:
        case "cached":
            await send_json(writer, plain_answer("YES" if "forbidden" in put else "NO"))
        case "fresh":
            await send_json(writer, plain_answer("YES" if "unwanted" in put else "NO"))
        case "guard":
            await send_json(writer, plain_answer("safe"))
        case _:
            await send_json(writer, plain_answer(f"answer {uuid.uuid4()}"))


async def say(gateway, *turns):
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]
    async with Wire(gateway.port) as wire:
        await wire.post({"model": "m", "messages": messages})
        await wire.read()
        return wire.status


def asked(fake, model):
    return [one.body["messages"] for one in fake.seen if one.body["model"] == model]


async def test_a_conversation_is_not_paid_for_again_and_not_stuck_where_it_need_not_be(tmp_path):
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, POLICY.format("context: exchange")) as gateway:
            assert await say(gateway, "one", "first answer", "two") == 200
            assert len(asked(fake, "cached")) == 3
            assert await say(gateway, "one", "first answer", "two", "second answer", "three") == 200
            assert len(asked(fake, "cached")) == 5
            assert await say(gateway, "unwanted") == 400
            assert await say(gateway, "unwanted", "sorry", "something else") == 200  # skip: not stuck
            assert await say(gateway, "forbidden", "sorry", "something else") == 400  # cached: as strict as ever
            first = asked(fake, "guard")[0]
    assert first[0]["content"] == "two"
    assert first[1]["content"].startswith("answer ")


async def test_without_context_the_answer_is_judged_alone(tmp_path):
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, POLICY.format("context: none")) as gateway:
            assert await say(gateway, "one", "first answer", "two") == 200
            assert asked(fake, "guard")[0][0]["content"] == "(not shown)"
