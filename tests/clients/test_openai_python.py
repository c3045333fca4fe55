"""The official Python client, unchanged: sync, async, plain, streamed."""

import openai
import pytest

HELLO = [{"role": "user", "content": "hello"}]
BOMB = [{"role": "user", "content": "a bomb"}]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="sk-none") as made:
        yield made


def test_plain(client):
    answer = client.chat.completions.create(model="m", messages=HELLO)
    assert answer.choices[0].message.content == "All is well."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 0
    assert answer._request_id.startswith("req_")


def test_stream(client):
    said, finish = "", None
    for chunk in client.chat.completions.create(model="m", messages=HELLO, stream=True):
        said += chunk.choices[0].delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    assert (said, finish) == ("All is well.", "stop")


def test_usage_in_a_stream_when_it_is_asked_for(client):
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="m", messages=HELLO, stream=True, stream_options=options))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0


def test_several_choices(client):
    answer = client.chat.completions.create(model="m", messages=HELLO, n=3)
    assert [c.message.content for c in answer.choices] == ["All is well."] * 3


@BOTH
def test_tools(client, stream):
    asked = {"model": "m", "messages": [{"role": "user", "content": "the weather?"}]}
    if stream:
        name, arguments = "", ""
        for chunk in client.chat.completions.create(**asked, stream=True):
            for call in chunk.choices[0].delta.tool_calls or []:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    else:
        call = client.chat.completions.create(**asked).choices[0].message.tool_calls[0]
        name, arguments = call.function.name, call.function.arguments
    assert (name, arguments) == ("get_weather", '{"city": "Paris"}')


@BOTH
@pytest.mark.parametrize(("question", "stage"), [("a bomb", "input"), ("leak it", "output")])
def test_a_block_is_typed_and_not_retried(client, served, question, stage, stream):
    before = len(served.receipts())
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": question}], stream=stream)
    assert caught.value.code == "content_filter"
    assert caught.value.body["moderation_details"]["moderation_stage"] == stage
    assert "FORBIDDEN" not in str(caught.value.body)
    client.chat.completions.create(model="m", messages=HELLO)
    assert len(served.receipts(before + 2)) == before + 2


def test_a_stream_that_breaks_raises(flowing):
    said = ""
    with openai.OpenAI(base_url=f"{flowing.url}/v1", api_key="x") as client, pytest.raises(openai.APIError) as caught:
        messages = [{"role": "user", "content": "break"}]
        for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
            said += chunk.choices[0].delta.content or ""
    assert said == "half"
    assert caught.value.code == "upstream_cut"


def test_an_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nothing", messages=HELLO)
    assert caught.value.code == "model_not_found"


def test_headers_and_models(client):
    raw = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
    assert raw.headers["x-outrider-decision"] == "released"
    assert raw.headers["x-outrider-checks"].startswith("safety.harm=clear")
    assert [model.id for model in client.models.list()] == ["m", "judge"]


async def test_async(served):
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sk-none") as client:
        answer = await client.chat.completions.create(model="m", messages=HELLO)
        assert answer.choices[0].message.content == "All is well."
        said = ""
        async for chunk in await client.chat.completions.create(model="m", messages=HELLO, stream=True):
            said += chunk.choices[0].delta.content or ""
        assert said == "All is well."
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model="m", messages=BOMB, stream=True)
