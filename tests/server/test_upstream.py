"""The parts of the upstream client that need no network: faults in our words, budgets, headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.config.model import House, UpstreamSettings
from gateway.server.lean import LeanClient
from gateway.server.stock import StockClient
from gateway.server.upstream import HttpUpstream, RetryBudget, refusal
from gateway.server.upstreams import make_upstreams


def test_retries_are_a_fifth_of_the_traffic():
    budget = RetryBudget()
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    spent = 0
    for _ in range(1000):
        budget.earn()
        spent += budget.spend()
    assert 190 <= spent <= 200


@given(
    st.integers(300, 599),
    st.dictionaries(st.sampled_from(["message", "code", "param", "type"]), st.text() | st.integers() | st.none()),
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry"]), st.text()),
)
def test_nothing_that_an_upstream_wrote_is_in_a_fault(status, error, headers):
    marker = "ZQX"
    marked = {k: f"{v}{marker}" for k, v in error.items()}
    fault = refusal(status, {"error": marked}, {k: v + marker for k, v in headers.items()}, own_key=True)
    assert marker not in repr(fault)
    assert 400 <= fault.status <= 599
    assert fault.status not in {401, 403, 408}


@pytest.mark.parametrize(
    ("param", "kept"),
    [
        ("max_tokens", True),
        ("messages[0].content", True),
        ("tools[3].function.parameters", True),
        ("secret_word", False),
        ("messages; drop", False),
        (7, False),
    ],
)
def test_only_parameters_of_the_protocol_are_echoed(param, kept):
    fault = refusal(400, {"error": {"param": param}}, {}, own_key=True)
    assert fault.param == (param if kept else None)


@pytest.mark.parametrize("error", ["text", None, [1], {"code": ["x"]}, {"code": {"a": 1}}])
def test_an_error_of_any_shape_is_told(error):
    assert refusal(400, {"error": error}, {}, own_key=True).status == 400


def test_headers_are_built_and_never_carry_a_control_character():
    settings = UpstreamSettings(base_url="http://h/v1", api_key="sk-own")
    sent = HttpUpstream(settings, None)._headers(
        {
            "authorization": "Bearer client",
            "idempotency-key": "a\r\nx: y",
            "traceparent": "00-1",
            "cookie": "c",
            "openai-project": "p",
        }
    )
    assert sent["authorization"] == "Bearer sk-own"
    assert "idempotency-key" not in sent
    assert sent["traceparent"] == "00-1"
    assert not {"cookie", "openai-project"} & set(sent)


@pytest.mark.parametrize(
    ("said", "kind"), [({}, LeanClient), ({"client": "lean"}, LeanClient), ({"client": "aiohttp"}, StockClient)]
)
async def test_an_upstream_is_called_by_the_client_that_it_names(said, kind):
    house = House(upstreams={"up": UpstreamSettings(base_url="http://h/v1", **said)})
    upstream = make_upstreams(house)["up"]
    assert type(upstream._client) is kind
    await upstream.close()


def test_there_is_no_third_client():
    with pytest.raises(ValidationError, match="'lean' or 'aiohttp'"):
        UpstreamSettings(base_url="http://h/v1", client="curl")
