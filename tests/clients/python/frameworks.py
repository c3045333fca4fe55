"""Frameworks that users build on, unchanged against the gateway whose base URL is the first argument; prints JSON."""

import asyncio
import json
import sys

import instructor
import openai
from agents import Agent as OpenAIAgent
from agents import ModelSettings, RunConfig, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

BASE = sys.argv[1]
KEY = "sk-none"


class City(BaseModel):
    """Where it is."""

    city: str


def fails(work):
    """The name of what it raises, and the error's code where there is one."""
    try:
        work()
    except Exception as error:
        cause = error
        while cause is not None and not hasattr(cause, "code"):
            cause = cause.__cause__ or cause.__context__
        return [type(error).__name__, getattr(cause, "code", None), "content_filter" in f"{error!r} {cause!r}"]
    return None


def langchain():
    chat = ChatOpenAI(base_url=BASE, api_key=KEY, model="m")
    responses = ChatOpenAI(base_url=BASE, api_key=KEY, model="m", use_responses_api=True)
    called = chat.bind_tools([City]).invoke("the weather?").tool_calls[0]
    vectors = OpenAIEmbeddings(base_url=BASE, api_key=KEY, model="m", check_embedding_ctx_length=False)
    return {
        "plain": chat.invoke("hello").content,
        "streamed": "".join(c.content for c in chat.stream("hello")),
        "tool": [called["name"], called["args"]],
        "structured": chat.with_structured_output(City, method="json_schema").invoke("as json").city,
        "responses": responses.invoke("hello").text,
        "responses streamed": "".join(c.text for c in responses.stream("hello")),
        "embedding": len(vectors.embed_query("hello")),
        "blocked": fails(lambda: chat.invoke("a bomb")),
        "blocked stream": fails(lambda: list(chat.stream("a bomb"))),
        "blocked responses": fails(lambda: responses.invoke("a bomb")),
    }


def llama_index():
    llm = OpenAILike(model="m", api_base=BASE, api_key=KEY, is_chat_model=True, max_retries=0)
    ask = [ChatMessage(role="user", content="hello")]
    bomb = [ChatMessage(role="user", content="a bomb")]
    return {
        "plain": llm.chat(ask).message.content,
        "streamed": "".join(c.delta or "" for c in llm.stream_chat(ask)),
        "blocked": fails(lambda: llm.chat(bomb)),
        "blocked stream": fails(lambda: list(llm.stream_chat(bomb))),
    }


def pydantic_ai():
    provider = OpenAIProvider(base_url=BASE, api_key=KEY)
    chat = Agent(OpenAIChatModel("m", provider=provider))
    responses = Agent(OpenAIResponsesModel("m", provider=provider))
    typed = Agent(OpenAIChatModel("m", provider=provider), output_type=City)

    async def streamed(agent):
        async with agent.run_stream("hello") as run:
            return "".join([piece async for piece in run.stream_text(delta=True)])

    return {
        "plain": chat.run_sync("hello").output,
        "streamed": asyncio.run(streamed(chat)),
        "structured": typed.run_sync("final, please").output.city,
        "responses": responses.run_sync("hello").output,
        "responses streamed": asyncio.run(streamed(responses)),
        "blocked": fails(lambda: chat.run_sync("a bomb")),
        "blocked responses": fails(lambda: responses.run_sync("a bomb")),
    }


def instructed():
    client = instructor.from_openai(openai.OpenAI(base_url=BASE, api_key=KEY))
    ask = lambda text: client.chat.completions.create(  # noqa: E731
        model="m", response_model=City, messages=[{"role": "user", "content": text}], max_retries=0
    )
    return {"structured": ask("city, please").city, "blocked": fails(lambda: ask("a bomb"))}


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def agents():
    set_tracing_disabled(True)
    set_default_openai_client(openai.AsyncOpenAI(base_url=BASE, api_key=KEY), use_for_tracing=False)
    agent = OpenAIAgent(name="a", model="m", tools=[get_weather], model_settings=ModelSettings(store=False))
    config = RunConfig(tracing_disabled=True)

    async def streamed():
        run = Runner.run_streamed(agent, "hello", run_config=config)
        said = ""
        async for event in run.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                said += event.data.delta
        return said

    return {
        "plain": Runner.run_sync(agent, "hello", run_config=config).final_output,
        "streamed": asyncio.run(streamed()),
        "tool": Runner.run_sync(agent, "the weather?", run_config=config).final_output,
        "blocked": fails(lambda: Runner.run_sync(agent, "a bomb", run_config=config)),
    }


if __name__ == "__main__":
    asyncio.set_event_loop(asyncio.new_event_loop())
    told = {f.__name__: f() for f in (langchain, llama_index, pydantic_ai, instructed, agents)}
    print(json.dumps(told))
