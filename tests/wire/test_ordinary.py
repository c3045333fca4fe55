"""A plain answer of the ordinary shape is what it would have been read by the walk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import ordinary
from gateway.wire.canonical import Malformed
from gateway.wire.chat import ChatReader

ANSWER = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-5.4",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 19, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 0}},
    "service_tier": "default",
    "system_fingerprint": "fp_a1",
}


class Walking(ChatReader):
    def known(self, frame, size):
        return None


def stands(piece):
    return None if piece.origin is None else piece.origin.spans(0, len(piece.text))


def told(reader, delta):
    return (
        delta.frame,
        [(p, stands(p)) for p in delta.pieces],
        sorted((s.channel, s.start, s.text, s.steps, s.key, s.holder[s.key]) for s in delta.spots),
        delta.size,
        delta.group,
        [(p, stands(p)) for p in reader.closing()],
        reader.usage,
        reader.finished,
    )


def both(document, *, rewritable):
    found = []
    for kind in (ChatReader, Walking):
        reader = kind({}, stream=False)
        reader.rewritable = rewritable
        try:
            found.append(told(reader, reader.delta(document, 7)))
        except Malformed as error:
            found.append(str(error))
    return found


texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "stop",
            "default",
            "assistant",
            '{"a": "b"}',
            "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=",
            "data:,hidden",
            "\\u0068\\u0069",
            "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        ]
    ),
)
values = st.one_of(
    texts,
    st.none(),
    st.integers(),
    st.booleans(),
    st.just([]),
    st.just({}),
    st.lists(texts, max_size=2),
    st.floats(0, 1),
)
more = st.dictionaries(st.sampled_from(["id", "name", "tool_calls", "audio", "service_tier", "x"]), values, max_size=2)


def parts_of(document):
    return st.lists(st.sampled_from(sorted(document)), unique=True).map(lambda names: {n: document[n] for n in names})


@st.composite
def answers(draw):
    """Answers of that shape, and many that only nearly are."""

    def seldom(what):
        return draw(what) if draw(st.integers(0, 5)) == 0 else {}

    message = {**draw(parts_of(ANSWER["choices"][0]["message"])), "content": draw(st.one_of(texts, texts, values))}
    message |= seldom(more)
    message |= seldom(st.fixed_dictionaries({"refusal": values}))
    choice = {**draw(parts_of(ANSWER["choices"][0])), "message": message}
    for name in ("finish_reason", "logprobs", "index"):
        choice |= seldom(st.fixed_dictionaries({name: values}))
    choices = [choice] * draw(st.sampled_from([1, 1, 1, 1, 1, 2]))
    document = {**draw(parts_of(ANSWER)), "choices": choices}
    document |= seldom(st.fixed_dictionaries({"usage": st.one_of(st.dictionaries(texts, values, max_size=2), values)}))
    for name in ("id", "model", "object", "system_fingerprint", "created"):
        document |= seldom(st.fixed_dictionaries({name: st.one_of(texts, values)}))
    return document | seldom(more)


@given(answers(), st.booleans())
def test_it_is_read_as_the_walk_reads_it(document, rewritable):
    quick, slow = both(document, rewritable=rewritable)
    assert quick == slow


@pytest.mark.parametrize("rewritable", [False, True])
def test_what_openai_sends_is_of_this_shape(rewritable):
    frame = ChatReader({}, stream=False).fit(ANSWER)
    assert [text for _, _, text, _, _ in ordinary.strings(frame)] == [
        ANSWER["id"],
        ANSWER["model"],
        "Hello!",
        ANSWER["system_fingerprint"],
    ]
    quick, slow = both(ANSWER, rewritable=rewritable)
    assert quick == slow


@pytest.mark.parametrize(
    "change",
    [
        {"citations": []},
        {"created": []},
        {"usage": {"prompt_tokens": "many"}},
        {"usage": {"invented": 1}},
        {"usage": {"prompt_tokens_details": {"invented": 1}}},
        {"choices": [ANSWER["choices"][0], {**ANSWER["choices"][0], "index": 1}]},
        {"choices": [{**ANSWER["choices"][0], "index": 3}]},
        {"choices": [{**ANSWER["choices"][0], "logprobs": {"content": []}}]},
        {"choices": [{"index": 0, "message": {"content": "x", "tool_calls": []}}]},
        {"choices": [{"index": 0, "message": {"content": ["x"]}}]},
    ],
)
def test_what_is_not_is_walked(change):
    frame = ChatReader({}, stream=False).fit({**ANSWER, **change})
    assert ordinary.strings(frame) is None
