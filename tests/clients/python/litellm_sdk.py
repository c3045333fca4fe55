"""LiteLLM's SDK, unchanged against the gateway whose base URL is the first argument; prints JSON."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

ASK = {"model": "openai/m", "api_base": sys.argv[1], "api_key": "sk-none", "num_retries": 0}


def hello(text="hello"):
    return [{"role": "user", "content": text}]


def fails(**more):
    try:
        answer = litellm.completion(**ASK, messages=hello("a bomb"), **more)
        if more.get("stream"):
            list(answer)
    except Exception as error:
        return [type(error).__name__, getattr(error, "status_code", None)]
    return None


called = litellm.completion(**ASK, messages=hello("the weather?")).choices[0].message.tool_calls[0].function
print(
    json.dumps(
        {
            "plain": litellm.completion(**ASK, messages=hello()).choices[0].message.content,
            "streamed": "".join(
                c.choices[0].delta.content or "" for c in litellm.completion(**ASK, messages=hello(), stream=True)
            ),
            "tool": [called.name, called.arguments],
            "embedding": len(litellm.embedding(**ASK, input=["hello"]).data[0]["embedding"]),
            "blocked": fails(),
            "blocked stream": fails(stream=True),
        }
    )
)
