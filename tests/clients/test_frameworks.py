"""Python frameworks in an environment of their own: they must work unchanged, and a block must be visible in each."""

from pathlib import Path

import pytest

from tests.clients.conftest import run_client

FOLDER = Path(__file__).parent / "python"
WELL = "All is well."


@pytest.fixture(scope="module")
def told(served):
    python = FOLDER / ".frameworks" / "bin" / "python"
    return run_client([str(python), "frameworks.py", f"{served.url}/v1"], FOLDER, python)


def texts(one):
    return {v for k, v in one.items() if k.removeprefix("responses ") in {"plain", "streamed", "responses"}}


def blocks(one):
    return [v for k, v in one.items() if k.startswith("blocked")]


def test_langchain(told):
    one = told["langchain"]
    assert texts(one) == {WELL}
    assert one["tool"] == ["get_weather", {"city": "Paris"}]
    assert one["structured"] == "Paris"
    assert one["embedding"] == 8
    assert all(b and b[1] == "content_filter" for b in blocks(one)), one


def test_llama_index(told):
    one = told["llama_index"]
    assert texts(one) == {WELL}
    assert all(b and b[1] == "content_filter" for b in blocks(one)), one


def test_pydantic_ai(told):
    one = told["pydantic_ai"]
    assert texts(one) == {WELL}
    assert one["structured"] == "Paris"
    assert all(b and b[2] for b in blocks(one)), one


def test_instructor(told):
    one = told["instructed"]
    assert one["structured"] == "Paris"
    assert all(b and b[2] for b in blocks(one)), one


def test_openai_agents(told):
    one = told["agents"]
    assert texts(one) == {WELL}
    assert one["tool"] == "It is sunny."
    assert all(b and b[1] == "content_filter" for b in blocks(one)), one


def test_litellm(served):
    python = FOLDER / ".litellm" / "bin" / "python"
    one = run_client([str(python), "litellm_sdk.py", f"{served.url}/v1"], FOLDER, python)
    assert texts(one) == {WELL}
    assert one["tool"] == ["get_weather", '{"city": "Paris"}']
    assert one["embedding"] == 8
    assert all(b and b[1] == 400 for b in blocks(one)), one
