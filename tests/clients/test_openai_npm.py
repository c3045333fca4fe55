"""The npm clients: OpenAI's own and Vercel's AI SDK."""

import shutil
from pathlib import Path

import pytest

from tests.clients.conftest import run_client

FOLDER = Path(__file__).parent / "node"
BLOCK = {"name": "BadRequestError", "status": 400, "code": "content_filter"}


def run(script, served, package):
    needs = FOLDER / "node_modules" / package if shutil.which("node") else FOLDER / "no node"
    return run_client(["node", script, f"{served.url}/v1"], FOLDER, needs)


def test_the_official_client(served):
    told = run("chat.mjs", served, "openai")
    assert told["plain"] == told["streamed"] == told["response"] == told["responseStreamed"] == "All is well."
    assert told["requestId"].startswith("req_")
    assert told["tool"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert told["events"] == ["response.created", "response.completed"]
    assert told["embeddings"] == [8, 8]
    assert "m" in told["models"]
    assert told["flagged"] is True
    assert told["blocked"] == [BLOCK] * 4


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_the_ai_sdk(served, endpoint):
    told = run("ai_sdk.mjs", served, "ai")
    one = told[endpoint]
    assert one["plain"] == one["streamed"] == "All is well."
    assert one["finish"] == "stop"
    assert one["tokens"]
    assert one["tool"] == {"name": "get_weather", "input": {"city": "Paris"}}
    assert [(b["status"], b["retryable"]) for b in one["blocked"]] == [(400, False)]
    assert one["streamError"] == 400
    assert told["embedding"] == 8
