"""One reading only: what is ambiguous is refused, what is read comes out the same."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import canonical
from gateway.wire.errors import BadRequest


def written(document):
    """Its canonical form, made anew whatever it came as."""
    return canonical.dump(dict(document))


def strictly(body):
    """As the strict parser reads it, which reads whatever has one reading."""
    return canonical._read(body, canonical.MAX_VALUES)


REFUSED = [
    b"",
    b"  \n",
    b"null",
    b"[]",
    b'"x"',
    b"{",
    b"{}{}",
    b"{} //x",
    b'{"a":1,"a":2}',
    b'{"b":{"a":1,"a":1}}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":"\\ud800"}',
    b'{"\\udc00":1}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b'{"a":"\xff"}',
    b'{"a":' * 65 + b"1" + b"}" * 65,
    b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"a":' + b"1" * 5000 + b"}",
    b"{'a':1}",
    b'{"a":01}',
    b'{"a":1,}',
    b'{"a":"\n"}',
    b'{"a":[' + b"1," * 300_001 + b"1]}",
]


@pytest.mark.parametrize("body", REFUSED, ids=lambda b: b[:20].decode("latin-1"))
def test_what_has_two_readings_is_refused(body):
    with pytest.raises(BadRequest) as caught:
        canonical.parse(body)
    assert caught.value.status == 400
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "number",
    [
        "9007199254740993",
        "18446744073709551616",
        "-1",
        "1.10",
        "0.1",
        "1e400",
        "1E5",
        "123456789.123456789123456789",
        "0.0",
        "-0.0",
    ],
)
def test_numbers_keep_their_exact_value(number):
    from decimal import Decimal

    body = b'{"a":%s}' % number.encode()
    out = written(canonical.parse(body)).decode()
    assert Decimal(out[5:-1]) == Decimal(number)


def test_escaped_pairs_and_the_deepest_allowed_pass():
    assert canonical.parse(b'{"a":"\\ud83d\\ude00"}') == {"a": "😀"}
    canonical.parse(b'{"a":' * 64 + b"1" + b"}" * 64)


documents = st.dictionaries(
    st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c), max_leaves=10)
)  # fmt: skip


@given(documents)
def test_what_is_read_comes_out_the_same(document):
    body = json.dumps(document, ensure_ascii=False).encode()
    once = written(canonical.parse(body))
    assert written(canonical.parse(once)) == once
    assert json.loads(once) == document


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0dD8 1eE+-.naN', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(body):
    try:
        document = canonical.parse(body)
    except BadRequest:
        return
    assert orjson.loads(written(document)) == json.loads(body)


@given(documents)
def test_what_came_in_canonical_form_goes_on_as_it_came_and_what_was_made_of_it_does_not(document):
    body = written(canonical.parse(json.dumps(document, ensure_ascii=False).encode()))
    came, strict = canonical.parse(body), strictly(body)
    assert canonical.dump(came) == written(came) == canonical.dump(strict)
    assert canonical.dump({**came, "more": 1}) == canonical.dump({**strict, "more": 1})
    assert type(strict) is type(canonical.parse_answer(body)) is dict


def test_what_goes_on_as_it_came_is_not_changed_in_place():
    with pytest.raises(TypeError):
        canonical.parse(b'{"a":1}')["a"] = 2


def test_its_bytes_are_those_that_came():
    body = b'{"a":1,"b":["x"]}'
    assert canonical.dump(canonical.parse(body)) is body


def shape(node):
    """The types of everything in it, so that 1, 1.0 and true differ."""
    if isinstance(node, dict):
        return {key: shape(value) for key, value in node.items()}
    return [shape(one) for one in node] if isinstance(node, list) else type(node)


@given(documents)
def test_what_is_canonical_already_is_read_as_the_strict_parser_reads_it(document):
    canonical_form = written(canonical.parse(json.dumps(document, ensure_ascii=False).encode()))
    strict = strictly(canonical_form)
    assert written(canonical.parse(canonical_form)) == written(strict)
    assert shape(canonical.parse(canonical_form)) == shape(strict)


PLAIN = {"a": 1, "b": {"c": [1.5, "x, y", ", ", None], "n": ": \\", "d": [{}, {"e": []}]}, "f": "é: \\n"}
SPELLINGS = {
    "as it is": written(PLAIN),
    "with a space behind colons and commas": json.dumps(PLAIN, ensure_ascii=False).encode(),
    "in lines": json.dumps(PLAIN, ensure_ascii=False, indent=2).encode(),
    "in lines that end with two characters": json.dumps(PLAIN, ensure_ascii=False, indent="\t")
    .replace("\n", "\r\n")
    .encode(),
    "with space around it": b" " + written(PLAIN) + b"\n",
    "with space wherever it may stand": json.dumps(PLAIN, ensure_ascii=False, separators=(" ,\t", " :  ")).encode(),
}
OTHERS = [
    b'{"a":1,"a":1}',
    b'{"a": 1, "a": 1}',
    b'{"a":1.10}',
    b'{"a": 1.10}',
    b'{"a":"\\u0041"}',
    b'{"a": "\\/"}',
]


@pytest.mark.parametrize("body", [*SPELLINGS.values(), *OTHERS])
def test_only_what_the_dump_repeats_but_for_space_takes_the_short_way(body, monkeypatch):
    taken = []
    monkeypatch.setattr(canonical, "_decode", lambda text: taken.append(text) or {})
    canonical.parse(body)
    assert bool(taken) == (body in OTHERS)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_however_it_is_spelt_it_is_the_same(spelling):
    assert canonical.parse(SPELLINGS[spelling]) == PLAIN
    assert canonical.dump(canonical.parse(SPELLINGS[spelling])) == written(PLAIN)


PARTS = ['"a"', '"a": ', '"a":', ", ", ",", '": ', ', "', "}, {", *'{}[]1 "\\\n', "1.0", "1E1"]
fragments = st.lists(
    st.sampled_from([*PARTS, '"b, "', '": b"', '"}, {"', "\\u0020", "null"]),
    max_size=16,
).map("".join)
spelt = st.builds(
    lambda document, indent, separators, ascii_only: json.dumps(
        document, indent=indent, separators=separators, ensure_ascii=ascii_only
    ),
    st.dictionaries(st.text('a,": {}[]\\é', max_size=6), st.recursive(st.integers() | st.floats(-2, 2) | st.text('a,": {}[]\\é', max_size=6), lambda c: st.lists(c) | st.dictionaries(st.text('a", :', max_size=4), c), max_leaves=6)),
    st.sampled_from([None, None, 0, 1, "\t"]),
    st.sampled_from([None, (", ", ": "), (",", ": "), (",", ":"), (" , ", " : ")]),
    st.booleans(),
)  # fmt: skip


@given(st.one_of(spelt, st.tuples(st.sampled_from(["{", '{"a": ']), fragments).map(lambda two: "".join(two) + "}")))
def test_the_short_way_and_the_strict_parser_say_the_same(body):
    outcomes = []
    for read in (lambda: canonical.parse_answer(body.encode()), lambda: strictly(body.encode())):
        try:
            document = read()
        except canonical.Malformed as error:
            outcomes.append(str(error))
        else:
            outcomes.append((written(document), repr(shape(document))))
    assert outcomes[0] == outcomes[1]
