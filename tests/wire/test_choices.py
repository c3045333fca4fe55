"""A stream that nobody asked for, gathered into the answer that was asked for."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.canonical import Malformed
from gateway.wire.chat import Chat
from gateway.wire.completions import Completions

CHAT = Chat()


def fitted(chunks):
    reader = CHAT.reader({}, stream=True)
    return [reader.fit(chunk) for chunk in chunks]


def call(index, arguments, **more):
    return {"index": index, **more, "function": {"arguments": arguments, **({"name": "f"} if more else {})}}


def test_a_chat_stream_becomes_the_whole_answer():
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [
        (0, {"role": "assistant", "content": "All "}, None),
        (1, {"role": "assistant", "tool_calls": [call(0, "", id="a", type="function")]}, None),
        (0, {"content": "well.", "reasoning_content": "hm"}, None),
        (1, {"tool_calls": [call(0, '{"q"'), call(1, "{", id="b", type="function")]}, None),
        (1, {"tool_calls": [call(0, ": 1}"), call(1, "}")]}, None),
        (0, {}, "stop"),
        (1, {}, "tool_calls"),
    ]
    chunks = [{**head, "choices": [{"index": i, "delta": d, "finish_reason": f}]} for i, d, f in deltas]
    whole = CHAT.whole(fitted([*chunks, {**head, "choices": [], "usage": {"total_tokens": 3}}]))
    assert whole["object"] == "chat.completion"
    assert whole["usage"] == {"total_tokens": 3}
    first, second = whole["choices"]
    assert first["message"] == {"role": "assistant", "content": "All well.", "reasoning_content": "hm"}
    assert (first["finish_reason"], second["finish_reason"]) == ("stop", "tool_calls")
    assert second["message"]["content"] is None
    assert second["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"arguments": '{"q": 1}', "name": "f"}},
        {"id": "b", "type": "function", "function": {"arguments": "{}", "name": "f"}},
    ]


@given(st.text(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_the_text_is_the_same_however_it_was_cut(text, cuts):
    bounds = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    deltas = [{"content": text[a:b]} for a, b in itertools.pairwise(bounds)]
    chunks = [{"choices": [{"index": 0, "delta": d}]} for d in deltas]
    assert CHAT.whole(fitted(chunks))["choices"][0]["message"]["content"] == text


def test_whole_and_chunks_are_each_others_reverse():
    message = {"role": "assistant", "content": "x", "tool_calls": [{"id": "a", "type": "function", "function": {}}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    document = {"id": "c", "object": "chat.completion", "choices": [choice], "usage": {"total_tokens": 1}}
    assert CHAT.whole(fitted(CHAT.chunks(document))) == document


def test_completions_are_gathered_as_well():
    chunks = [
        {"id": "c", "choices": [{"index": 0, "text": t, "finish_reason": f}]} for t, f in (("a", None), ("b", "stop"))
    ]
    whole = Completions().whole(chunks)
    assert whole["choices"] == [{"index": 0, "text": "ab", "finish_reason": "stop"}]


@pytest.mark.parametrize("chunks", [[], [{"choices": []}], [{"choices": [{"index": 0, "delta": {"tool_calls": [{"index": i} for i in range(300)]}}]}]])  # fmt: skip
def test_what_is_no_answer_is_malformed(chunks):
    with pytest.raises(Malformed):
        CHAT.whole(fitted(chunks))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.sampled_from("index id content function x".split()), c),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from("role content tool_calls refusal x".split()), values)
odd = st.builds(lambda i, d: {"choices": [{"index": i, "delta": d}], "x": d.get("x")}, values, bodies)


@given(st.lists(odd, max_size=4))
def test_any_chunks_are_gathered_or_malformed(chunks):
    try:
        whole = CHAT.whole(fitted(chunks))
    except Malformed:
        return
    CHAT.reader({}, stream=False).delta(whole)
