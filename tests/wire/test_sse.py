"""Server-sent events: the same events however the bytes are cut and whatever ends the lines."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import sse

STREAM = (
    'data: {"a":"ü🙂"}\n\n: comment\n\nevent: message\ndata:two\ndata: lines\n\nid: 1\nretry: 5\n\ndata: [DONE]\n\n'
)
EVENTS = [("", '{"a":"ü🙂"}'.encode()), ("message", b"two\nlines"), ("", b"[DONE]")]


def parsed(parts):
    parser = sse.Parser()
    events = [event for part in parts for event in parser.feed(part)]
    return [(e.name, e.data) for e in (*events, *parser.eof())]


@given(st.lists(st.integers(0, 140), max_size=12), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_any_cut_and_any_line_end_give_the_same_events(cuts, end, mark):
    data = (b"\xef\xbb\xbf" if mark else b"") + STREAM.replace("\n", end).encode()
    bounds = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    assert parsed([data[a:b] for a, b in itertools.pairwise(bounds)]) == EVENTS


def test_one_byte_at_a_time():
    for end in ("\n", "\r\n", "\r"):
        data = STREAM.replace("\n", end).encode()
        assert parsed([data[n : n + 1] for n in range(len(data))]) == EVENTS


def test_an_event_without_its_blank_line_comes_at_the_end():
    assert parsed([b"data: x"]) == [("", b"x")]
    assert parsed([b"data: x\n"]) == [("", b"x")]


@pytest.mark.parametrize("data", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20, b"x" * 200])
def test_an_event_has_a_longest(data):
    parser = sse.Parser(max_event=100)
    with pytest.raises(sse.TooLong):
        for n in range(len(data)):
            parser.feed(data[n : n + 1])


@given(st.binary(max_size=80))
def test_what_is_framed_is_read_back(data):
    clean = data.replace(b"\n", b"").replace(b"\r", b"")
    assert parsed([sse.frame(clean)]) == ([("", clean)])


lines = st.sampled_from(
    [
        "data: {}",
        "data: ",
        "data:x",
        "data: \ufeff",
        "event: error",
        ": c",
        "",
        "",
        "",
        "\ufeffdata: y",
        "datax",
        "data: 1",
    ]
)


@given(st.lists(st.lists(lines, max_size=3), max_size=6), st.sampled_from(["\n", "\r\n", "\r"]))
def test_reads_that_end_with_events_say_what_their_bytes_say_one_by_one(reads, end):
    parts = ["".join(line + end for line in read).encode() for read in reads]
    whole = b"".join(parts)
    assert parsed(parts) == parsed([whole[n : n + 1] for n in range(len(whole))])


@pytest.mark.parametrize("size", [98, 99, 100, 101])
def test_an_event_of_one_read_has_the_same_longest(size):
    def outcome(parts):
        parser = sse.Parser(max_event=100)
        try:
            return [event for part in parts for event in parser.feed(part)]
        except sse.TooLong:
            return "too long"

    data = b"data: " + b"x" * size + b"\n\n"
    assert outcome([data]) == outcome([data + b": c\n"]) == outcome([data[:3], data[3:]])
