"""The official Python client, unchanged: sync, async, plain, streamed."""

import openai
import pydantic
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


def test_responses(client):
    answer = client.responses.create(model="m", input="hello")
    assert answer.output_text == "All is well."
    assert answer.usage.total_tokens > 0
    said, kinds = "", []
    for event in client.responses.create(model="m", input="hello", stream=True):
        kinds.append(event.type)
        said += event.delta if event.type == "response.output_text.delta" else ""
    assert said == "All is well."
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    with client.responses.stream(model="m", input="hello") as stream:
        assert stream.get_final_response().output_text == "All is well."
    call = client.responses.create(model="m", input="the weather?").output[0]
    assert (call.type, call.name, call.arguments) == ("function_call", "get_weather", '{"city": "Paris"}')


@BOTH
@pytest.mark.parametrize("question", ["a bomb", "leak it"])
def test_a_block_of_responses_is_typed(client, question, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="m", input=question, stream=stream)
    assert caught.value.code == "content_filter"
    assert caught.value.param == "input"


class City(pydantic.BaseModel):
    city: str


def test_parse(client):
    messages = [{"role": "user", "content": "as json"}]
    answer = client.chat.completions.parse(model="m", messages=messages, response_format=City)
    assert answer.choices[0].message.parsed == City(city="Paris")
    assert client.responses.parse(model="m", input="as json", text_format=City).output_parsed == City(city="Paris")


def test_the_stream_helper_with_tools(client):
    messages = [{"role": "user", "content": "the weather?"}]
    with client.chat.completions.stream(model="m", messages=messages) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Paris"}')


def test_completions(client):
    assert client.completions.create(model="m", prompt="hello").choices[0].text == "All is well."
    chunks = client.completions.create(model="m", prompt="hello", stream=True)
    assert "".join(c.choices[0].text for c in chunks) == "All is well."


def test_embeddings(client):
    answer = client.embeddings.create(model="m", input=["a", "b"])
    floats = client.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    assert [len(one.embedding) for one in answer.data] == [8, 8]
    assert answer.data[0].embedding == pytest.approx(floats.data[0].embedding)
    assert answer.data[0].embedding != answer.data[1].embedding


def test_moderations(client):
    assert not client.moderations.create(model="m", input="hello").results[0].flagged
    result = client.moderations.create(model="outrider/safety", input=["a bomb", "hello"]).results
    assert [one.flagged for one in result] == [True, False]
    assert result[0].categories.violence is False


def test_a_model(client):
    assert client.models.retrieve("judge").owned_by == "outrider"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_images(client):
    picture = client.images.generate(model="m", prompt="a cat", n=2)
    assert len(picture.data) == 2
    assert picture.data[0].b64_json.startswith("iVBOR")
    edited = client.images.edit(model="m", image=("a.png", b"\x89PNG", "image/png"), prompt="a dog")
    assert edited.data[0].b64_json
    with pytest.raises(openai.BadRequestError):
        client.images.generate(model="m", prompt="a bomb")


def test_audio(client):
    with client.audio.speech.with_streaming_response.create(model="m", voice="alloy", input="hello") as answer:
        assert answer.read().startswith(b"RIFF")
    sound = ("a.mp3", b"\xff\xfb\x00", "audio/mpeg")
    assert client.audio.transcriptions.create(model="m", file=sound).text == "All is well."
    told = client.audio.transcriptions.create(model="m", file=sound, stream=True)
    assert [e.type for e in told][-1] == "transcript.text.done"
    with pytest.warns(DeprecationWarning):
        assert client.audio.translations.create(model="m", file=sound).text == "All is well."
    assert client.audio.transcriptions.create(model="m", file=sound, response_format="text") == "All is well."
