"""A chunk read by its template is what it would have been read in full."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.canonical import Malformed, dump, parse_answer
from gateway.wire.choices import ChoicesReader
from gateway.wire.endpoints import CHAT
from gateway.wire.reader import UpstreamErrorFrame
from gateway.wire.template import Chunk, document_of

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(text, index=0, **more):
    return {**HEAD, "choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}], **more}


def plain(delta):
    spots = [(s.channel, s.start, s.text, s.steps, s.key, s.holder[s.key]) for s in delta.spots]
    pieces = [(p.channel, p.place, p.text, p.closed, p.wrapped, p.fixed) for p in delta.pieces]
    return json.dumps(document_of(delta.frame)), pieces, sorted(map(repr, spots)), delta.size, delta.group


def both(events, *, rewritable):
    """Every event read as it is read in a stream, and in full."""
    quick, slow = CHAT.reader({}, stream=True), CHAT.reader({}, stream=True)
    quick.rewritable = slow.rewritable = rewritable
    for data in events:
        outcomes = []
        for read in (quick.event, lambda data: slow.delta(parse_answer(data), len(data))):
            try:
                outcomes.append(plain(read(data)))
            except (Malformed, UpstreamErrorFrame) as error:
                outcomes.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1]
    assert [p.text for p in quick.closing()] == [p.text for p in slow.closing()]
    assert (quick.finished, quick.usage) == (slow.finished, slow.usage)


texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "Hello", " wor\nld", '"', "\\", "é", "\u200b", "\u00a0", "\x7f", "eyJhIjoxfQ==", '{"a":1}', "content"]
    ),
)
others = st.sampled_from(
    [
        {},
        {"usage": None},
        {"usage": {"total_tokens": 3}},
        {"obfuscation": "xY12"},
        {"id": "c2"},
        {"model": '"delta":{"content":"Hello"'},
        {"service_tier": None},
        {"unknown": {"a": "b"}},
        {"error": {"message": "x"}},
    ]
)
chunks = st.one_of(
    st.builds(chunk, texts, st.sampled_from([0, 0, 0, 1])),
    st.builds(lambda text, more: chunk(text, **more), texts, others),
    st.builds(lambda text: {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}, texts),
    st.builds(lambda text: {**HEAD, "choices": [{"index": 0, "delta": {"content": text, "x": "y"}}]}, texts),
    st.just({**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    st.just({**HEAD, "choices": []}),
)
damage = st.sampled_from([None, None, None, (b'"created"', b'"id"'), (b"}", b"}}"), (b"null", b"NaN"), (b":", b": ")])


def data_of(document, hurt):
    data = dump(document)
    return data.replace(*hurt, 1) if hurt else data


@given(st.lists(st.builds(data_of, chunks, damage), max_size=12), st.booleans())
def test_it_makes_no_difference(events, rewritable):
    both(events, rewritable=rewritable)


@given(st.lists(st.binary(max_size=6), max_size=6), st.booleans())
def test_nor_for_bytes_in_the_place_of_the_text(middles, rewritable):
    head, _, tail = dump(chunk("MIDDLE")).partition(b"MIDDLE")
    both([dump(chunk("a")), dump(chunk("b")), *(head + middle + tail for middle in middles)], rewritable=rewritable)


def test_it_is_used(monkeypatch):
    reader = CHAT.reader({}, stream=True)
    reader.event(dump(chunk("one")))
    reader.event(dump(chunk(" two")))
    monkeypatch.setattr(ChoicesReader, "delta", None)
    delta = reader.event(dump(chunk(" three")))
    assert delta.pieces[0].text == " three"
    with pytest.raises(TypeError):
        reader.event(dump(chunk(" four", created=2)))


def test_frames_share_nothing_that_could_be_changed():
    reader = CHAT.reader({}, stream=True)
    reader.rewritable = True
    frames = [document_of(reader.event(dump(chunk(text))).frame) for text in ("a", "b", "c", "d")]
    frames[3]["choices"][0]["delta"]["content"] = "changed"
    frames[3]["model"] = "changed"
    assert [frame["choices"][0]["delta"]["content"] for frame in frames[:3]] == ["a", "b", "c"]
    assert frames[2]["model"] == "m"


@given(st.lists(st.builds(data_of, chunks, damage), max_size=12))
def test_bytes_that_may_go_on_as_they_came_are_those_of_their_frame(events):
    reader = CHAT.reader({}, stream=True)
    for data in events:
        try:
            frame = reader.event(data).frame
        except (Malformed, UpstreamErrorFrame):
            continue
        if isinstance(frame, Chunk) and frame.template.faithful:
            assert dump(frame.document) == frame.data
