"""Every text is seen: a marker in every path of the specification, and in paths that it does not name."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.terms import Place
from gateway.wire import canonical
from gateway.wire.canonical import Malformed
from gateway.wire.chat import Chat
from gateway.wire.errors import BadRequest
from gateway.wire.reader import UpstreamErrorFrame
from tests.wire.planting import MARKER, PATHS, merged, planted

CHAT = Chat()
REQUEST = [*PATHS["CreateChatCompletionRequest"], "$.unknown", "$.messages[].vendor.deep[].field", "$.messages[].content[].x_new.text",
           "$.chat_template", "$.chat_template_kwargs.a", "$.documents[].text", "$.messages[].reasoning_content"]  # fmt: skip
ANSWER = [*PATHS["CreateChatCompletionResponse"], "$.unknown", "$.choices[].vendor", "$.choices[].message.reasoning_content",
          "$.choices[].message.reasoning_details[].text", "$.choices[].message.vendor.deep[].field",
          "$.choices[].message.content[].text", "$.choices[].message.function_call.arguments"]  # fmt: skip


def request(extra):
    base = {"model": "m", "messages": [{"role": "user"}]}
    document = merged(base, extra)
    content = document["messages"][0].get("content")
    if isinstance(content, list):
        content[0].setdefault("type", "text")
    return json.dumps(document).encode()


def read(document):
    return CHAT.read(document if isinstance(document, bytes) else json.dumps(document).encode())


def asked(**message):
    return {"model": "m", "messages": [{"role": "user", **message}]}


@pytest.mark.parametrize("path", REQUEST)
def test_a_marker_in_every_path_of_a_request_is_seen(path):
    seen = [p for p in read(request(planted(path))).passages if MARKER in p.text]
    assert seen
    assert all(p.place.side == "input" for p in seen)


def answer(extra, *, stream):
    choice = {"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}
    document = merged({"id": "a", "choices": [choice]}, extra)
    if stream:
        for one in document["choices"]:
            one["delta"] = one.pop("message")
    return document


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ANSWER)
def test_a_marker_in_every_path_of_an_answer_is_seen(path, stream):
    reader = CHAT.reader({}, stream=stream)
    pieces = reader.delta(answer(planted(path), stream=stream)).pieces
    assert any(MARKER in p.text for p in (*pieces, *reader.closing()))


def channels(deltas):
    texts = {}
    for delta in deltas:
        for piece in delta.pieces:
            texts[piece.channel] = texts.get(piece.channel, "") + piece.text
    return texts


APPENDED = [p for p in ANSWER if p.startswith("$.choices[].message") and "audio.id" not in p]


@pytest.mark.parametrize("path", APPENDED)
@given(cuts=st.lists(st.integers(0, len(MARKER)), max_size=4))
def test_a_marker_that_is_cut_over_chunks_is_whole_in_its_channel(path, cuts):
    bounds = [0, *sorted(cuts), len(MARKER)]
    reader = CHAT.reader({}, stream=True)
    parts = [MARKER[a:b] for a, b in itertools.pairwise(bounds)]
    deltas = [reader.delta(answer(planted(path, part), stream=True)) for part in parts]
    assert any(MARKER in text for text in channels(deltas).values())


def test_tokens_and_bytes_of_logprobs_are_read():
    tokens = [{"token": "?", "bytes": list(part.encode()), "top_logprobs": []} for part in ("FORBID", "DEN-7Q")]
    reader = CHAT.reader({}, stream=False)
    document = answer({"choices": [{"logprobs": {"content": tokens}}]}, stream=False)
    document["choices"][0]["logprobs"]["content"] = tokens
    assert any(MARKER in text for text in channels([reader.delta(document)]).values())


@pytest.mark.parametrize("holder", ["tool_calls", "content"])
def test_escaped_arguments_are_read_decoded_at_the_end(holder):
    hidden = '{"q": "\\u0046ORBIDDEN-7Q"}'
    reader = CHAT.reader({}, stream=True)
    for part in (hidden[:9], hidden[9:]):
        delta = (
            {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}
            if holder == "tool_calls"
            else {"content": part}
        )
        pieces = reader.delta({"choices": [{"index": 0, "delta": delta}]}).pieces
        assert not any(MARKER in p.text for p in pieces)
    assert any(MARKER in p.text for p in reader.closing())


def test_only_what_may_be_json_is_kept():
    reader = CHAT.reader({}, stream=True)
    for text in ("  ", "\n", '{"a":', '"\\u0046ORBIDDEN-7Q"}'):
        reader.delta({"choices": [{"index": 0, "delta": {"content": text, "reasoning": f"so {text}"}}]})
    assert [(p.channel, MARKER in p.text) for p in reader.closing()] == [("choices[0].delta.content<json>", True)]


@pytest.mark.parametrize("texts", [("All", " is", " well"), ("All ", "is "), ("All is",), ("a", "\n", "b"), ("x", ".")])
def test_prose_is_known_for_what_it_is_as_soon_as_a_second_word_comes(texts):
    reader = CHAT.reader({}, stream=True)
    deltas = [reader.delta({"choices": [{"index": 0, "delta": {"content": text}}]}) for text in texts]
    assert not deltas[-1].pieces[0].wrapped


def test_a_whole_text_in_base64_is_read_at_the_end():
    reader = CHAT.reader({}, stream=True)
    for text in ("Rk9SQklE", "REVOLTdR"):
        reader.delta({"choices": [{"index": 0, "delta": {"content": text, "reasoning": f"so {text}"}}]})
    assert [(p.channel, MARKER in p.text) for p in reader.closing()] == [("choices[0].delta.content<decoded>", True)]


def test_choices_and_tool_calls_have_channels_of_their_own():
    reader = CHAT.reader({}, stream=True)
    calls = [{"index": i, "function": {"arguments": str(i)}} for i in (0, 1)]
    deltas = [
        reader.delta({"choices": [{"index": i, "delta": {"content": f"c{i}", "tool_calls": calls}}]}) for i in (1, 0)
    ]
    texts = channels(deltas)
    assert texts["choices[0].delta.content"] == "c0"
    assert texts["choices[1].delta.content"] == "c1"
    assert texts["choices[0].delta.tool_calls[1].function.arguments"] == "1"


def test_what_is_said_in_every_chunk_is_read_once():
    reader = CHAT.reader({}, stream=True)
    sizes = [len(reader.delta({"id": "same", "model": "m", "choices": []}).pieces) for _ in range(3)]
    assert sizes == [2, 0, 0]


@pytest.mark.parametrize(
    ("role", "place"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("tool", "tool_result"),
    ],
)
def test_a_message_has_the_place_of_its_role(role, place):
    document = {"model": "m", "messages": [{"role": role, "content": "x", "name": "n"}]}
    places = {p.path: p.place for p in read(document).passages}
    assert places["messages[0].content"] is Place(place)
    assert places["messages[0].name"] is Place(place)


def test_a_word_split_over_parts_is_joined():
    parts = [{"type": "text", "text": MARKER[:5]}, {"type": "text", "text": MARKER[5:]}]
    assert any(p.text == MARKER and p.path == "messages[0].content[*]" for p in read(asked(content=parts)).passages)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ('{"a": ["\\u0046ORBIDDEN-7Q"]}', "<json>"),
        ('{"FORBIDDEN-7Q": 1}', "<json>"),
        ('{"a": 1, "a": "\\u0046ORBIDDEN-7Q", "a": 2}', "<json>"),
        (json.dumps({"a": json.dumps({"b": "\u0046ORBIDDEN-7Q"})}), "<json>"),
        ("broken {\\u0046ORBIDDEN-7Q", "<unescaped>"),
        ("data:text/plain;base64,Rk9SQklEREVOLTdR", "<decoded>"),
        ("Rk9SQklEREVOLTdRRk9SQklEREVOLTdR", "<decoded>"),
    ],
)
def test_a_text_in_another_coat_is_read_as_well(text, step):
    found = [p for p in read(asked(content=text)).passages if MARKER in p.text]
    assert any(p.path.endswith(step) for p in found)


def test_a_key_is_text_unless_the_protocol_defines_it():
    document = {**asked(content="x"), "metadata": {MARKER: "v"}, MARKER: 1}
    assert sum(MARKER in p.text for p in read(document).passages) == 2
    assert not any(p.text in {"messages", "role", "content"} for p in read(document).passages)


def test_a_protocol_word_is_text_where_the_protocol_does_not_put_it():
    assert any(p.text == "assistant" for p in read(asked(content="assistant")).passages)
    assert not any(p.path == "messages[0].role" for p in read(asked(content="x")).passages)


@given(
    st.recursive(
        st.text(max_size=5) | st.integers() | st.none(),
        lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=5), c, max_size=3),
    )
)
def test_any_extra_field_is_read_or_refused_and_every_string_of_it_seen(extra):
    body = json.dumps({**asked(content="x"), "x_extra": extra}).encode()
    try:
        request = read(body)
    except BadRequest:
        return
    told = {p.text for p in request.passages}
    stack = [extra]
    while stack:
        node = stack.pop()
        if isinstance(node, str) and node:
            assert node in told
        elif isinstance(node, dict):
            stack += node.values()
        elif isinstance(node, list):
            stack += node


def test_a_question_in_canonical_form_goes_on_as_it_came_unless_anything_of_it_changes():
    document = asked(content="the secret")
    request = CHAT.read(canonical.dump(document))
    assert CHAT.encode(CHAT.forward(request, "m"))[1] == canonical.dump(document)
    assert CHAT.encode(CHAT.forward(request, "theirs"))[1] == canonical.dump({**document, "model": "theirs"})
    changed = CHAT.rewritten(request, {("messages[0].content", "the secret"): "[SECRET]"})
    assert CHAT.encode(CHAT.forward(changed, "m"))[1] == canonical.dump(asked(content="[SECRET]"))
    streamed = CHAT.read(canonical.dump({**document, "stream": True}))
    sent = CHAT.encode(CHAT.forward(streamed, "m"))[1]
    assert json.loads(sent) == {**document, "stream": True, "stream_options": {"include_usage": True}}


def test_the_forwarded_document_is_the_checked_one_with_the_upstreams_model():
    request = read({**asked(content="x"), "stream": True, "stream_options": {"include_obfuscation": False}})
    sent = CHAT.forward(request, "theirs")
    assert sent == {
        **request.document,
        "model": "theirs",
        "stream_options": {"include_obfuscation": False, "include_usage": True},
    }
    assert not CHAT.wants_usage(request.document)


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [1]},
        {"choices": [{"index": 0}]},
        {"choices": [{"message": 1}]},
    ],
)
def test_an_answer_without_the_shape_of_one_is_malformed(frame):
    with pytest.raises(Malformed):
        CHAT.reader({}, stream=False).delta(frame)


def test_frames_are_made_fit_for_clients():
    reader = CHAT.reader({}, stream=True)
    assert reader.delta({"id": "x", "error": None}).frame == {"id": "x", "choices": []}
    frame = reader.delta({"choices": [{"index": 0, "delta": None}]}).frame
    assert frame["choices"][0]["delta"] == {}
    frame = reader.delta({"choices": [{"index": 0, "delta": {"role": "bot"}}]}).frame
    assert frame["choices"][0]["delta"]["role"] == "assistant"
    with pytest.raises(UpstreamErrorFrame):
        reader.delta({"error": "text"})


def test_finished_when_every_choice_has_said_why():
    reader = CHAT.reader({}, stream=True)
    assert not reader.finished
    for index, reason in ((0, None), (1, "stop")):
        reader.delta({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
    assert not reader.finished
    reader.delta({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    assert reader.finished


KEYWORDS = [
    "choices",
    "index",
    "delta",
    "message",
    "content",
    "tool_calls",
    "function",
    "finish_reason",
    "logprobs",
    "bytes",
    "error",
    "usage",
    "role",
    "id",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=4) | st.sampled_from(KEYWORDS), c, max_size=4),
    max_leaves=12,
)
frames = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values,
        "error": json_values,
        "usage": json_values,
        "choices": json_values
        | st.lists(st.dictionaries(st.sampled_from(KEYWORDS), json_values, max_size=4) | json_values, max_size=3),
    },
)


@given(st.lists(frames, max_size=3), st.booleans())
def test_any_answer_is_read_or_malformed(some, stream):
    reader = CHAT.reader({}, stream=stream)
    for frame in some:
        try:
            delta = reader.delta(frame)
        except (Malformed, UpstreamErrorFrame):
            continue
        for choice in delta.frame["choices"]:
            assert isinstance(choice["index"], int)
    reader.closing()
    assert reader.finished in (True, False)


@given(
    st.dictionaries(
        st.sampled_from(["model", "messages", "stream", "n", "tools", "stream_options", "x"]), json_values, max_size=5
    )
)
def test_any_body_is_read_or_refused(document):
    try:
        request = read(document)
    except BadRequest as refusal:
        assert refusal.status == 400
        return
    assert CHAT.forward(request, "m")["model"] == "m"
