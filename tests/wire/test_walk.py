"""The walk over a document: every string, once, in order; what is skipped holds nothing."""

import base64
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.terms import Place
from gateway.wire import canonical, walk
from gateway.wire.endpoint import Endpoint
from gateway.wire.endpoints import CHAT, COMPLETIONS
from gateway.wire.fields import ENUMS, KEYS, ROLES, VOCABULARY

keys = st.sampled_from(["content", "type", "role", "stop", "bytes", "logprobs", "mine", ""]) | st.text(max_size=3)
strings = st.sampled_from(["", "user", "stop", "chat.completion.chunk", "secret"]) | st.text(max_size=5)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 300) | st.floats() | strings,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def told(node, steps=()):
    """(steps, text, whether it can be changed) of every string, by recursion."""
    if isinstance(node, dict):
        for name in node:
            if name not in KEYS:
                yield (*steps, "<key>"), name, False
        for name, inner in node.items():
            yield from told(inner, (*steps, name))
    elif isinstance(node, list):
        if steps and steps[-1] == "bytes":
            numbers = bytes(n for n in node if type(n) is int and 0 <= n < 256)
            yield steps, numbers.decode("utf-8", "replace"), "logprobs" in steps
        for number, inner in enumerate(node):
            yield from told(inner, (*steps, f"[{number}]"))
    elif isinstance(node, str) and node:
        name = next((step for step in reversed(steps) if step[:1] != "["), "")
        if not (node in VOCABULARY and name in ENUMS):
            yield steps, node, bool(steps)


@given(documents)
@example({"a": {"b": "one"}, "c": "two", "d": ["three", {"e": "four"}, "five"], "f": "six"})
def test_every_string_is_told_once_and_in_order(document):
    leaves = list(walk.leaves(document))
    assert [(leaf.steps, leaf.text, leaf.holder is not None) for leaf in leaves] == list(told(document))
    for leaf in leaves:
        if leaf.key is not None:
            assert leaf.holder[leaf.key] == leaf.text


COATED = ["{", "[", '"a"', "}", "]", ":", "\\u0041", "\\", "data:", "text/plain", ",", ";base64,", "YWJj", "a" * 16, "=", " ", "\n", "\u2003", "é", "-"]  # fmt: skip


@given(st.lists(st.sampled_from(COATED), max_size=8).map("".join))
@example("\u2003\n{}")
@example('["a"]')
@example("data:,a")
@example("YWJjYWJjYWJjYWJj")
@example("a\\u0041")
def test_what_hides_nothing_is_in_no_coat(text):
    assert walk.hides(text) or not list(walk.hidden(text))


@given(st.lists(st.sampled_from(["a", "[0]", "<key>", "b.c", ""]), max_size=5))
def test_a_path_is_its_steps(steps):
    said = "".join(step if step[:1] in {"[", "<", ""} else f".{step}" for step in steps)
    assert walk.render(tuple(steps)) == said.removeprefix(".")


contents = st.sampled_from(["", "hi", '["a"]', "a\\u0041", "YWJjYWJjYWJjYWJj"]) | st.just(
    [{"type": "text", "text": "x"}]
)
messages = st.builds(
    dict,
    st.fixed_dictionaries({"role": st.sampled_from(sorted(ROLES)), "content": contents}),
    name=st.sampled_from(["Ann", "user"]),
) | st.fixed_dictionaries({"content": contents, "role": st.sampled_from(sorted(ROLES))})


@given(
    st.lists(messages, min_size=1, max_size=4), st.dictionaries(st.sampled_from(["model", "mine", "tools"]), documents)
)
def test_the_short_way_through_messages_tells_what_the_walk_tells(asked, rest):
    for document in ({"messages": asked, **rest}, {**rest, "messages": asked}):
        told = [one for one in CHAT.passages(document) if not one.path.endswith("[*]")]
        walked = list(CHAT.passages_below((), document, document))
        assert told == walked
        assert [one.origin and one.origin.spans(0, 1) for one in told] == [
            one.origin and one.origin.spans(0, 1) for one in walked
        ]


NUMBERS = ["1", "1.10", "1e400", "1e-400", "-0.0", "9" * 30, "1" * 900]


@given(
    st.lists(documents, max_size=3), st.sampled_from(NUMBERS), st.sampled_from(["tools", "functions", "tool_choice"])
)
def test_definitions_are_read_as_the_walk_reads_them(defined, number, name):
    """The first time and any other; whatever numbers they hold."""
    body = canonical.dump({"model": "m", "messages": [{"role": "user", "content": "x"}], name: [*defined, "NUMBER"]})
    body = body.replace(b'"NUMBER"', number.encode())
    document = canonical.parse(body)
    walked = tuple(CHAT.passages_below((), document, document))
    for _ in range(2):
        assert CHAT.read(body).passages == walked


@given(
    st.dictionaries(st.sampled_from(["model", "prompt", "mine", "stop", "suffix", "", "user"]), documents, max_size=5)
)
def test_a_request_is_read_name_by_name_as_the_walk_reads_it(document):
    assert list(Endpoint.passages(COMPLETIONS, document)) == list(COMPLETIONS.passages_below((), document, document))


def decoded_at_once(text, *, lenient):
    """What `decoded` says, without a look at the beginning first."""
    payload = text.removeprefix("data:;base64,")
    if not re.match(r"[A-Za-z0-9+/_-]{16,}={0,2}\s*\Z", payload, re.ASCII) and not lenient:
        return None
    payload = re.sub(r"[^A-Za-z0-9+/_-]", "", payload)
    try:
        raw = base64.b64decode(payload.replace("-", "+").replace("_", "/") + "=" * (-len(payload) % 4))
        plain = raw.decode()
    except ValueError:
        return None
    return plain if plain and (plain.isprintable() or "\n" in plain) else None


BYTES = walk.FIRST * 3 // 4
NEAR_THE_CUT = st.integers(BYTES - 5, BYTES + 5)


@given(
    NEAR_THE_CUT,
    st.sampled_from(["", "é", "漢", "🦊", "\udce9"]),
    st.sampled_from([b"", b"\xff", b"\xc3", b"\xf0\x9f", b" and more"]),
    st.sampled_from(["", "\n", "*", "=", "data:;base64,"]),
    st.booleans(),
)
def test_what_begins_as_text_or_binary_is_told_as_if_all_was_decoded(size, letter, end, junk, lenient):
    raw = b"x" * (size - 2) + letter.encode(errors="surrogateescape") + end
    coat = base64.b64encode(raw).decode()
    text = junk + coat if junk.startswith("data:") else coat[:30] + junk + coat[30:]
    assert walk.decoded(text, lenient=lenient) == decoded_at_once(text, lenient=lenient)


@given(st.text("aZ9+/-_= \n.ü\x1f", max_size=12), st.sampled_from(["", "data:image/png;base64,"]))
@example("a=\x1f", "")
def test_base64_ends_in_nothing_else(text, head):
    wanted = re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}\s*", text, re.ASCII) is not None
    assert walk._is_base64(head + text) == wanted


def test_an_image_is_told_by_its_beginning(monkeypatch):
    """However large it is: nothing behind it is decoded."""
    whole = base64.b64decode
    monkeypatch.setattr(
        walk.base64, "b64decode", lambda text: whole(text) if len(text) <= walk.FIRST else pytest.fail()
    )
    image = base64.b64encode(bytes(range(256)) * 64).decode()
    document = {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]}
        ]
    }
    [unread] = [one for one in CHAT.passages(document) if one.place is Place.UNREAD_INPUT]
    assert unread.text == "an image or a file"


def strings_by_the_library(text):
    """Every key and string, both of two equal keys, in document order."""
    try:
        node = json.loads(text, object_pairs_hook=lambda pairs: [side for pair in pairs for side in pair], strict=False)
    except (ValueError, RecursionError):
        return []
    found, stack = [], [node]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            found.append(node.encode("utf-8", "replace").decode())
        elif isinstance(node, list):
            stack += reversed(node)
    return found


json_texts = st.recursive(
    st.sampled_from(
        ["1", "null", "true", "NaN", '""', '"a"', '"\\u00e9"', '"\\ud800"', '"\\""', '"\\\\"', '"a\nb"', '"[1"']
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: "[" + ", ".join(parts) + "]"),
        st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"\\n"', '"{"']), inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)


@given(json_texts | st.text('{}[]":,\\ab1 \n', max_size=20))
def test_the_strings_of_a_json_text_are_all_there(text):
    assert walk.strings_of(text) == strings_by_the_library(text)
