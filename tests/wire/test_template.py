"""A chunk read by its template is what it would have been read in full."""

import base64
import itertools
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.terms import Request
from gateway.wire.canonical import Malformed, dump, parse_answer
from gateway.wire.choices import ChoicesReader
from gateway.wire.endpoints import CHAT
from gateway.wire.reader import UpstreamErrorFrame
from gateway.wire.sse import frame, frames
from gateway.wire.template import LONGEST, Chunk, document_of, said
from gateway.wire.walk import PAYLOAD_KEYS

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(text, index=0, **more):
    return {**HEAD, "choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}], **more}


IMAGE = base64.b64encode(bytes(range(256)) * 2).decode()  # long enough to be no text where a payload may stand


def body(delta, index=0, **more):
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": None}], **more}


def call(arguments, index=0, **more):
    return body({"tool_calls": [{"index": index, **more, "function": {"arguments": arguments}}]})


def plain(delta):
    spots = [(s.channel, s.start, s.text, s.steps, s.key, s.holder[s.key]) for s in delta.spots]
    pieces = [(p.channel, p.place, p.text, p.closed, p.wrapped, p.fixed) for p in delta.pieces]
    return dump(document_of(delta.frame)), pieces, sorted(map(repr, spots)), delta.size, delta.group


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
        [
            "",
            "Hello",
            " wor\nld",
            '"',
            "\\",
            "é",
            "\u200b",
            "\u00a0",
            "\x7f",
            "eyJhIjoxfQ==",
            '{"a":1}',
            "content",
            IMAGE,
        ]
    ),
)
plain_texts = st.text("abc {é🙂", min_size=1, max_size=6)  # as they stand in most chunks: JSON says them as they are
others = st.sampled_from(
    [
        {},
        {"usage": None},
        {"usage": {"total_tokens": 3}},
        {"usage": {"total_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 2}}},
        {"usage": {"total_tokens": 512, "completion_tokens_details": {"reasoning_tokens": 0}}, "service_tier": None},
        {"obfuscation": "xY12"},
        {"id": "c2"},
        {"model": '"delta":{"content":"Hello"'},
        {"service_tier": None},
        {"unknown": {"a": "b"}},
        {"error": {"message": "x"}},
    ]
)
OTHER_BODIES = (
    lambda text: body({"reasoning_content": text}),
    lambda text: body({"content": None, "reasoning_content": text}),
    lambda text: body({"reasoning": text, "content": ""}),
    lambda text: body({"role": "assistant", "content": text}),
    lambda text: body({"role": "user", "content": text}),
    lambda text: body({"content": text, "refusal": None, "reasoning": "x"}),
    lambda text: body({"refusal": text}),
    lambda text: body({"unheard": text}),
    lambda text: body({"data": text}),
    lambda text: body({"b64_json": text}),
    lambda text: body({"image_url": text}),
    lambda text: body({"audio": text}),
    lambda text: body({"embedding": text}),
    lambda text: body({"content": text, "content_": text}),
    call,
    lambda text: call(text, 1),
    lambda text: call(text, id=None, type="function"),
    lambda text: call(text, id="c1"),
    lambda text: call(text, type="custom"),
    lambda text: body({"tool_calls": [{"index": 0, "function": {"arguments": text, "name": "f"}}]}),
    lambda text: body({"tool_calls": [{"index": 0, "function": {"arguments": text}}] * 2}),
    lambda text: body({"tool_calls": [{"function": {"arguments": text}}]}),
    lambda text: body({"content": text, "tool_calls": [{"index": 0, "function": {"arguments": text}}]}),
)
RUNNING = (
    *OTHER_BODIES[:4],
    OTHER_BODIES[6],
    call,
    lambda text: call(text, 1),
    lambda text: call(text, id=None, type="function"),
)
bodies = st.sampled_from(OTHER_BODIES)
chunks = st.one_of(
    st.builds(lambda made, text: made(text), bodies, texts),
    st.builds(chunk, texts, st.sampled_from([0, 0, 0, 1])),
    st.builds(lambda text, more: chunk(text, **more), texts, others),
    st.builds(lambda text: {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}, texts),
    st.builds(lambda text: {**HEAD, "choices": [{"index": 0, "delta": {"content": text, "x": "y"}}]}, texts),
    st.just({**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    st.just({**HEAD, "choices": []}),
)
damage = st.sampled_from([None, None, None, (b'"created"', b'"id"'), (b"}", b"}}"), (b"null", b"NaN"), (b":", b": ")])


def data_of(document, hurt, spell=dump):
    data = spell(document)
    return data.replace(*hurt, 1) if hurt else data


def with_spaces(document):
    return json.dumps(document, ensure_ascii=False).encode()


def with_escapes(document):
    return json.dumps(document, separators=(",", ":")).encode()


SPELLINGS = [dump, with_spaces, with_escapes]


spellings = st.sampled_from(SPELLINGS)


@given(st.lists(st.builds(data_of, chunks, damage, spellings), max_size=12), st.booleans())
def test_it_makes_no_difference(events, rewritable):
    both(events, rewritable=rewritable)


counts = st.integers(0, 10**6)
counted = st.builds(
    lambda text, index, total, thought: chunk(
        text, index, usage={"total_tokens": total, "completion_tokens_details": {"reasoning_tokens": thought}}, x=None
    ),
    texts,
    st.sampled_from([0, 0, 1]),
    counts,
    counts,
)
alternating = st.builds(chunk, texts, st.sampled_from([0, 1, 2]))


@given(spellings, st.one_of(st.lists(counted, max_size=12), st.lists(alternating, max_size=16)), st.booleans())
def test_nor_where_each_chunk_counts_or_is_of_another_choice(spell, documents, rewritable):
    both([*map(spell, documents)], rewritable=rewritable)


def apart(deltas):
    """Frames that were taken as one, each by itself."""
    for delta in deltas:
        several = delta.several
        yield from [delta] if several is None else [one.delta for one in several.singles()]


def unwrapped(delta):
    """Without what is known of a channel only later: that it is no JSON."""
    frame, pieces, *rest = plain(delta)
    return [frame, [(*piece[:4], *piece[5:]) for piece in pieces], *rest]


goes_on = st.builds(data_of, st.builds(chunk, st.one_of(plain_texts, plain_texts, texts)), st.just(None))
another = bodies.flatmap(
    lambda made: st.lists(st.one_of(plain_texts, texts).map(lambda text: dump(made(text))), min_size=3, max_size=12)
)
runs = st.one_of(st.lists(goes_on, min_size=3, max_size=12), another)
odd = st.lists(st.builds(data_of, chunks, damage), min_size=1, max_size=2)
mixed = st.lists(st.one_of(runs, runs, runs, odd), min_size=1, max_size=5).map(lambda parts: [*itertools.chain(*parts)])


@given(mixed, st.lists(st.integers(0, 40), max_size=4), st.booleans())
def test_nor_whether_events_that_came_together_are_taken_as_one(events, cuts, rewritable):
    same(events, itertools.pairwise(sorted({0, *cuts, len(events)})), rewritable=rewritable)


def same(events, reads, *, rewritable):
    """Every read's events taken as one, and each by itself."""
    together, each = CHAT.reader({}, stream=True), CHAT.reader({}, stream=True)
    together.rewritable = each.rewritable = rewritable
    for first, last in reads:
        reads = [apart(together.events(events[first:last])), map(each.event, events[first:last])]
        outcomes = [[], []]
        for outcome, deltas in zip(outcomes, reads, strict=True):
            try:
                outcome.extend(unwrapped(delta) for delta in deltas)
            except (Malformed, UpstreamErrorFrame) as error:
                outcome.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1]
    assert [p.text for p in together.closing()] == [p.text for p in each.closing()]
    assert (together.finished, together.usage) == (each.finished, each.usage)


@given(st.lists(st.one_of(plain_texts, plain_texts, texts), min_size=2, max_size=70), st.data(), st.booleans())
def test_what_is_parted_is_the_same_as_before(said, data, rewritable):
    reader = CHAT.reader({}, stream=True)
    reader.rewritable = rewritable
    for delta in reader.events([dump(chunk(text)) for text in ["Hello", *said]]):
        if delta.several is None:
            continue
        (piece,), whole, ends = delta.pieces, delta.frame, delta.several.ends
        assert (ends[-1], delta.size) == (len(piece.text), sum(map(len, whole.data)))
        number = data.draw(st.integers(1, len(ends) - 1))
        parts = delta.several.parted(number)
        assert len(parts[0].pieces[0].text) == ends[number - 1]
        assert "".join(part.pieces[0].text for part in parts) == piece.text
        assert [one for part in parts for one in part.frame.data] == list(whole.data)
        assert sum(part.size for part in parts) == delta.size
        assert {(p.group, p.pieces[0].wrapped, p.pieces[0].channel) for p in parts} == {
            (delta.group, piece.wrapped, piece.channel)
        }
        assert b"".join(frames(part.frame.data) for part in parts) == b"".join(map(frame, whole.data))
        assert whole.document["choices"][0]["delta"]["content"] == piece.text
        stands = [(spot.start, spot.text) for part in parts for spot in part.spots if spot.channel == piece.channel]
        begin = next((spot.start for spot in delta.spots if spot.channel == piece.channel), 0)
        at = begin + ends[number - 1]
        said_each = [part.pieces[0].text for part in parts]
        assert stands == ([(begin, said_each[0]), (at, said_each[1])] if rewritable else [])


def test_chunks_that_come_together_are_one():
    reader = CHAT.reader({}, stream=True)
    deltas = list(reader.events([dump(chunk(f" {number}")) for number in range(12)]))
    assert [len(delta.several.ends) if delta.several else 1 for delta in deltas] == [
        1,
        1,
        10,
    ]  # the first says its id as well
    assert deltas[2].pieces[0].text == "".join(f" {number}" for number in range(2, 12))


@given(st.lists(st.binary(max_size=6), max_size=6), st.booleans())
def test_nor_for_bytes_in_the_place_of_the_text(middles, rewritable):
    head, _, tail = dump(chunk("MIDDLE")).partition(b"MIDDLE")
    both([dump(chunk("a")), dump(chunk("b")), *(head + middle + tail for middle in middles)], rewritable=rewritable)


TAILS = [(b"null", b"true"), (b"null}]", b"true}]"), (b"]}", b"] }"), (b"]}", b"]"), (b"null", b"0000")]


@pytest.mark.parametrize(("is_there", "instead"), TAILS)
def test_another_end_behind_the_same_beginning_is_read_in_full(is_there, instead):
    good = [dump(chunk(text)) for text in ("a", "b", "c", "d")]
    bad = dump(chunk("c")).replace(is_there, instead)
    for at in range(2, 5):
        events = [*good[:at], bad, *good[at:]]
        same(events, [(0, len(events))], rewritable=False)
        both(events, rewritable=False)


MIDDLES = [b'"', b'a","x":"b', b"\\", b"\\u0041", b'\\"', b"", b"\x00", b"\x7f", b"\xff", b"\xc3", "é\u200b".encode()]


@pytest.mark.parametrize("middle", MIDDLES)
def test_what_is_no_plain_text_is_read_in_full_wherever_it_stands(middle):
    head, _, tail = dump(chunk("MIDDLE")).partition(b"MIDDLE")
    good = [dump(chunk(text)) for text in ("a", "b", "c", "d")]
    for at in range(2, 5):
        events = [*good[:at], head + middle + tail, *good[at:]]
        same(events, [(0, len(events))], rewritable=False)
        both(events, rewritable=False)


SHORTER = st.integers(0, 12)


@given(SHORTER, SHORTER)
def test_what_is_too_short_for_both_ends_fits_nothing(cut, less):
    """Its beginning and its end may share bytes."""
    good = dump(chunk("aa"))
    at = good.index(b'"aa"') + 1 - cut
    both([dump(chunk("b")), good, good[:at] + good[at + min(less, cut) :]], rewritable=False)


def choosing(text, **more):
    made = chunk(text)
    made["choices"][0].update(more)
    return made


MORE_THAN_TEXT = {
    "usage that says something": lambda text: chunk(text, usage={"total_tokens": 3, "plan": "words"}),
    "usage that is no object": lambda text: chunk(text, usage=[3]),
    "usage before the text": lambda text: {"usage": {"total_tokens": 3}, **chunk(text)},
    "an object": lambda text: chunk(text, x={"a": 1}),
    "a list": lambda text: chunk(text, x=[1]),
    "an end": lambda text: choosing(text, finish_reason="stop"),
    "an object in the choice": lambda text: choosing(text, logprobs={"x": 1}),
    "a number in the choice": lambda text: choosing(text, y=1),
    "a number beside the text": lambda text: choosing(text, delta={"content": text, "index": 1}),
    "a second choice": lambda text: chunk(text, choices=[*chunk(text)["choices"], *chunk("", 1)["choices"]]),
    "two texts": lambda text: choosing(text, delta={"content": text, "z": "words"}),
}


@pytest.mark.parametrize("kind", MORE_THAN_TEXT)
@pytest.mark.parametrize("rewritable", [False, True])
def test_chunks_that_say_more_are_read_in_full(monkeypatch, kind, rewritable):
    data = [dump(MORE_THAN_TEXT[kind](text)) for text in ("one", " two", " three", " four")]
    both(data, rewritable=rewritable)
    reader = CHAT.reader({}, stream=True)
    reader.rewritable = rewritable
    for one in data[:3]:
        reader.event(one)
    monkeypatch.setattr(ChoicesReader, "delta", None)
    with pytest.raises(TypeError):
        reader.event(data[3])


@pytest.mark.parametrize("rewritable", [False, True])
def test_a_chunk_without_text_that_says_something_else_is_no_template(rewritable):
    both([dump(chunk("a")), *(dump(chunk(text, id="c2")) for text in ("", "b", "c", ""))], rewritable=rewritable)


def released(chunk, **asked):
    """What a client gets of a chunk."""
    template = chunk.template
    shown = CHAT.for_client(Request("chat", "m", True, asked, ()), template.frame)
    return [*chunk.between(template.ends(shown))]


@pytest.mark.parametrize("more", [{}, {"error": None}])
def test_what_the_reader_changed_does_not_go_on_as_it_came(more):
    reader = CHAT.reader({}, stream=True)
    for text in ("a", "b"):
        reader.event(dump(chunk(text, **more)))
    assert released(reader.event(dump(chunk("c", **more))).frame) == [dump(chunk("c"))]


@pytest.mark.parametrize("rewritable", [False, True])
def test_it_is_used(monkeypatch, rewritable):
    reader = CHAT.reader({}, stream=True)
    reader.rewritable = rewritable
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


like_the_one_before = st.one_of(st.builds(chunk, st.one_of(plain_texts, texts)), counted, alternating, chunks)


@given(st.lists(like_the_one_before, max_size=12), spellings, st.booleans())
def test_what_a_client_gets_is_the_canonical_form_of_what_it_may_have(documents, spell, wants_usage):
    reader = CHAT.reader({}, stream=True)
    asked = {"stream_options": {"include_usage": wants_usage}}
    request = Request("chat", "m", True, asked, ())
    with suppress(Malformed, UpstreamErrorFrame):
        for delta in reader.events([*map(spell, documents)]):
            if isinstance(delta.frame, Chunk):
                each = [CHAT.for_client(request, one.document) for one in delta.frame.singles()]
                assert [*released(delta.frame, **asked)] == [dump(one) for one in each]


@pytest.mark.parametrize("wants_usage", [False, True])
@pytest.mark.parametrize("spell", SPELLINGS)
def test_however_a_chunk_is_spelt_it_goes_on_in_one_form(spell, wants_usage):
    reader = CHAT.reader({}, stream=True)
    said = ["a", "b", "c", "\u00e9\n", '"', "\u200b", "/"]
    documents = [chunk(text, usage={"total_tokens": 10**at}) for at, text in enumerate(said)]
    asked = {"stream_options": {"include_usage": wants_usage}}
    for at, document in enumerate(documents):
        frame = reader.event(spell(document)).frame
        assert isinstance(frame, Chunk) == (at > 1)  # the first says its names as well
        if isinstance(frame, Chunk):
            wanted = document if wants_usage else {k: v for k, v in document.items() if k != "usage"}
            assert released(frame, **asked) == [dump(wanted)]
        assert reader.usage == {"total_tokens": 10**at}


@pytest.mark.parametrize("rewritable", [False, True])
def test_a_template_of_one_choice_reads_nothing_once_there_are_several(rewritable):
    """What was said once is marked again then: a choice may overtake another, and may not overtake its check."""
    alone = [dump(chunk("a", id=f"c{number // 2}")) for number in range(8)]  # in the end none is looked for any more
    both([*alone, dump(chunk("b", index=1, id="c3")), dump(chunk("c", id="c3"))], rewritable=rewritable)


@pytest.mark.parametrize("made", RUNNING)
@pytest.mark.parametrize("text", ["as it is", 'a\nline and a "quote"', "\u200b", "\\d+"])
def test_what_streams_mostly_hold_is_read_by_its_template(made, text):
    reader = CHAT.reader({}, stream=True)
    for first in ("first", "second"):  # the names are said with the first
        reader.event(dump(made(first)))
    assert isinstance(reader.event(dump(made(text))).frame, Chunk)


@pytest.mark.parametrize("hurt", [b'"', b"\\", b'a","b":"c', b"\\x", b"\\ud800", b"\n", b"\x01", b"\xff"])
def test_what_is_no_string_is_not(hurt):
    assert said(b"a" + hurt) is None


@pytest.mark.parametrize(
    "told",
    [
        b'{"total_tokens":03}',
        b'{"total_tokens":}',
        b'{"total_1tokens":3}',
        b'{"total_tokens":3,"total_tokens":4}',
        b'{"total_tokens":123456789012345678901234567890}',
        b'{"total_tokens":3} ',
        b'{"total_tokens":3}}',
        b'{"total_tokens":-3}',
        b'{"total_tokens":"3"}',
        b"3",
        b"",
    ],
)
def test_usage_that_differs_in_more_than_its_numbers_is_read_in_full(told):
    before = [dump(chunk(text, usage={"total_tokens": 3})) for text in ("a", "b", "c")]
    odd = before[2].replace(b'{"total_tokens":3}', told)
    both([*before, odd, dump(chunk("d", usage={"total_tokens": 12}))], rewritable=False)


def test_what_stands_for_a_text_is_found_in_few_tries():
    said = {f"x{n}": "text" * n for n in range(1, 60)}
    reader = CHAT.reader({}, stream=True)
    for text in ("a", "b", "c"):
        frame = reader.event(dump(chunk(text, error=None, **said))).frame
    assert released(frame) == [dump(chunk("c", **said))]


@pytest.mark.parametrize("spelt", [b'"usage": {"total_tokens":3}', b'"usage":{"total_tokens": 3}'])
def test_space_in_what_is_counted_alone_does_not_go_on(spelt):
    reader = CHAT.reader({}, stream=True)
    said = [chunk(text, usage={"total_tokens": 3}) for text in ("a", "b", "c")]
    for document in said:
        frame = reader.event(dump(document).replace(b'"usage":{"total_tokens":3}', spelt)).frame
    assert isinstance(frame, Chunk)
    assert released(frame, stream_options={"include_usage": True}) == [dump(said[-1])]


@pytest.mark.parametrize(("size", "kept"), [(100, True), (LONGEST, False)])
def test_no_template_is_kept_of_a_long_chunk(size, kept):
    """A stream keeps several, and they count for nothing."""
    reader = CHAT.reader({}, stream=True)
    for text in ("a", "b", "c"):
        frame = reader.event(dump(chunk(text, system_fingerprint="f" * size))).frame
    assert isinstance(frame, Chunk) == kept


@pytest.mark.parametrize("index", [0, 1])
def test_each_of_several_choices_has_a_template(index):
    reader = CHAT.reader({}, stream=True)
    for text in ("a", "b", "c"):
        for choice in (0, 1):
            reader.event(dump(chunk(text, choice)))
    delta = reader.event(dump(chunk("d", index)))
    assert isinstance(delta.frame, Chunk)
    assert [p.text for p in delta.pieces if p.text] == ["d"]
    assert len(delta.pieces) > 1  # a frame may overtake the one that said the names first


@pytest.mark.parametrize("key", sorted(PAYLOAD_KEYS))
@pytest.mark.parametrize("more", [{}, {"role": "assistant", "content": None}], ids=["alone", "beside"])
def test_what_may_be_an_image_is_read_in_full(key, more):
    """However many short texts came before it under that key: `opaque` decides about it, not the checks of texts."""
    both([dump(body({key: text, **more})) for text in ("ab", "cd", "ef", IMAGE, IMAGE)], rewritable=False)
