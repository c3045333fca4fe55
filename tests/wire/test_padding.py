"""What padding says goes no further; what it is for is done anew."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire.canonical import Malformed, dump, parse_answer
from gateway.wire.padding import EMPTY, SIZE, bare, padded

WORD = "AKIAIOSFODNN7EXAMPLE"
texts = st.one_of(
    st.text(max_size=8), st.sampled_from(['"obfuscation":"x"', '\\"obfuscation":""', 'obfuscation":"', "\\", '"'])
)
values = st.recursive(
    st.one_of(texts, st.none(), st.integers(-9, 9), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts, st.just("obfuscation")), inner, max_size=3)
    ),
    max_leaves=8,
)


def emptied(value):
    if isinstance(value, dict):
        return {k: "" if k == "obfuscation" and type(v) is str and plain(v) else emptied(v) for k, v in value.items()}
    return [emptied(one) for one in value] if isinstance(value, list) else value


def plain(text):
    return '"' not in text and "\\" not in text and dump(text) == f'"{text}"'.encode()


@given(st.dictionaries(st.one_of(texts, st.just("obfuscation")), values, max_size=4))
@example({"obfuscation": WORD, "a": '"obfuscation":"x"'})
@example({"a": {"obfuscation": WORD}, 'x\\"obfuscation': WORD})
def test_only_what_padding_says_is_left_out(document):
    assert json.loads(bare(dump(document))) == emptied(document)


@given(st.dictionaries(texts, texts, max_size=3), st.sampled_from(["", WORD, "0" * 31, "é"]), st.booleans())
def test_what_is_filled_up_has_one_of_a_few_sizes(document, said, first):
    document = {"obfuscation": said, **document} if first else {**document, "obfuscation": said}
    event = padded(bare(dump(document)))
    assert len(event) % SIZE == 0
    assert WORD.encode() not in event.replace(dump({**document, "obfuscation": ""}), b"")
    assert {**json.loads(event), "obfuscation": ""} == {**document, "obfuscation": ""}


@given(st.dictionaries(texts, texts, max_size=4))
def test_an_event_without_padding_stays_as_it_is(document):
    event = dump(document)
    assert (bare(event), padded(event)) == (event, event)


def test_padding_that_stands_twice_is_still_refused():
    with pytest.raises(Malformed):
        parse_answer(bare(b'{"obfuscation":"a","obfuscation":"b"}'))
    assert bare(b'{"obfuscation": "a"}') == b'{"obfuscation": "a"}'  # written in another way: it is read as any text
    assert bare(b'{"obfuscation":"a\\n"}') == b'{"obfuscation":"a\\n"}'
    assert bare(b'{"obfuscation":"a"}') == b"{" + EMPTY + b"}"
