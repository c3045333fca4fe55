"""The parts of the upstream client that need no network: faults in our words, budgets, headers."""

import asyncio
import threading
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import gateway.server.upstream
from gateway.config.model import House, UpstreamSettings
from gateway.core.terms import Call
from gateway.server.lean import LeanClient
from gateway.server.stock import StockClient
from gateway.server.upstream import (
    ERROR_FRAME,
    INLINE,
    CallRecord,
    HttpUpstream,
    Last,
    RetryBudget,
    UpstreamError,
    refusal,
)
from gateway.server.upstreams import make_upstreams
from gateway.wire import canonical, choices
from gateway.wire.canonical import dump
from gateway.wire.endpoints import CHAT
from gateway.wire.sse import frame
from gateway.wire.template import document_of


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


class Answered:
    """A client whose one answer is these reads of an event stream."""

    status = 200
    media = "text/event-stream"
    headers: ClassVar = {}

    def __init__(self, reads):
        self.reads = [*reads, b""]

    async def send(self, request, until):
        return self

    def forget_headers(self):
        """There are none."""

    async def read(self, until):
        return self.reads.pop(0)

    def release(self):
        """There is no connection."""

    close = release


def chunk(text, size=0, **choice):
    filled = {"x_padding": "p" * size} if size else {}
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None, **choice}
    return frame(dump({"id": "c", "choices": [choice], **filled}))


events = st.sampled_from(
    [
        chunk("a"),
        chunk(" b"),
        chunk("c", size=40),
        chunk("", finish_reason="stop"),
        frame(b"{}", "error"),
        frame(b'{"error": {"message": "x"}}'),
        frame(b"[1]"),
        frame(b'{"choices": 1}'),
        b": comment\n\n",
        b"data: [DONE]\n\n",
    ]
)


async def streamed(reads, path=CHAT.path):
    upstream = HttpUpstream(UpstreamSettings(base_url="http://h/v1"), Answered(reads))
    call = Call("only", "up", "m", {}, stream=True, path=path)
    said = []
    try:
        async for deltas in upstream.answer(call, {}, CallRecord("only", "up", "m")):
            said += [(document_of(d.frame), [p.text for p in d.pieces], d.size) for d in deltas]
    except UpstreamError as error:
        said.append(error.fault)
    return said


class AnsweredWhole(Answered):
    media = "application/json"
    ended = False
    ways: ClassVar = ()

    def release(self):
        self.ways = (*self.ways, "released")

    def close(self):
        self.ways = (*self.ways, "closed")


async def test_a_whole_answer_is_over_before_anybody_decides_about_it():
    """So it was not cancelled, whatever is decided, and its connection is free for the next call."""
    message = {"role": "assistant", "content": '{"a": "b"}'}
    client = AnsweredWhole([dump({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})])
    record = CallRecord("only", "up", "m")
    batches = HttpUpstream(UpstreamSettings(base_url="http://h/v1"), client).answer(
        Call("only", "up", "m", {}, stream=False, path=CHAT.path), {}, record
    )
    came = await anext(batches)
    assert type(came) is Last
    assert client.ways[0] == "released"
    assert "b" in came[-1].pieces[-1].text.split()  # what the JSON in it says is there as well
    await batches.aclose()
    assert not record.cancelled
    assert record.ended is not None


@given(st.lists(st.lists(events, max_size=5), max_size=4))
def test_what_is_read_on_a_thread_says_the_same(reads):
    reads = [b"".join(read) for read in reads if read]
    with pytest.MonkeyPatch.context() as patch:
        here = asyncio.run(streamed(reads))
        patch.setattr(gateway.server.upstream, "INLINE", 0)
        assert asyncio.run(streamed(reads)) == here


@pytest.mark.parametrize("size", [10, INLINE - 200, INLINE + 1])
async def test_where_a_large_event_is_read(size, monkeypatch):
    threads, parse = [], canonical.parse_answer

    def noted(*args):
        threads.append(threading.current_thread())
        return parse(*args)

    monkeypatch.setattr(choices, "parse_answer", noted)
    said = await streamed([chunk("a", size), chunk("", finish_reason="stop") + b"data: [DONE]\n\n"])
    assert len(said) == 2
    assert [thread is threading.main_thread() for thread in threads] == [size <= INLINE, True]


@pytest.mark.parametrize("limit", [INLINE, 0])
@pytest.mark.parametrize("error", [frame(b"{}", "error"), frame(b'{"error": {"message": "x"}}')])
async def test_nothing_behind_an_error_is_read(error, limit, monkeypatch):
    monkeypatch.setattr(gateway.server.upstream, "INLINE", limit)
    (_, texts, _), fault = await streamed([chunk("a") + error + chunk("b")])
    assert "a" in texts
    assert fault is ERROR_FRAME


@pytest.mark.parametrize("limit", [INLINE, 0])
async def test_nothing_behind_the_end_is_read(limit, monkeypatch):
    monkeypatch.setattr(gateway.server.upstream, "INLINE", limit)
    ended = frame(dump({"type": "response.completed", "response": {"id": "r", "output": []}}))
    late = frame(dump({"type": "response.output_text.delta", "item_id": "i", "delta": "late"}))
    ((document, _, _),) = await streamed([ended + late], "/responses")
    assert document["type"] == "response.completed"
