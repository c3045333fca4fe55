"""Every endpoint reads every text: a marker in every path of the specification and beside it, both ways."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.terms import Place
from gateway.wire.canonical import Malformed
from gateway.wire.endpoints import ENDPOINTS
from gateway.wire.errors import BadRequest
from gateway.wire.forms import Upload, parse_form, render_form
from gateway.wire.reader import UpstreamErrorFrame
from gateway.wire.responses import events, response_of
from tests.wire.planting import MARKER, PATHS, merged, planted

FORM = {"file": Upload("a.mp3", "audio/mpeg", b"\xff\xfb\x00"), "model": "m"}
REQUESTS = {
    "/responses": ("CreateResponse", {"model": "m", "input": "x"}),
    "/completions": ("CreateCompletionRequest", {"model": "m", "prompt": "x"}),
    "/embeddings": ("CreateEmbeddingRequest", {"model": "m", "input": "x"}),
    "/moderations": ("CreateModerationRequest", {"model": "m", "input": "x"}),
    "/images/generations": ("CreateImageRequest", {"model": "m", "prompt": "x"}),
    "/audio/speech": ("CreateSpeechRequest", {"model": "m", "input": "x", "voice": "alloy"}),
}
FORMS = {
    "/images/edits": ("CreateImageEditRequest", {"image": Upload("a.png", "image/png", b"\x89"), "prompt": "x"}),
    "/images/variations": ("CreateImageVariationRequest", {"image": Upload("a.png", "image/png", b"\x89")}),
    "/audio/transcriptions": ("CreateTranscriptionRequest", FORM),
    "/audio/translations": ("CreateTranslationRequest", FORM),
}
BESIDE = ["$.unknown", "$.vendor.deep[].field", "$.extra_body.a", "$.metadata.*"]
RESPONSE = response_of([], model="m", response_id="resp_1", created=1)
ANSWERS = {
    "/responses": (["Response"], RESPONSE),
    "/completions": (["CreateCompletionResponse"], {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}),
    "/embeddings": (["CreateEmbeddingResponse"], {"data": []}),
    "/moderations": (["CreateModerationResponse"], {"results": []}),
    "/images/generations": (["ImagesResponse"], {"data": []}),
    "/audio/transcriptions": (
        [
            "CreateTranscriptionResponseJson",
            "CreateTranscriptionResponseVerboseJson",
            "CreateTranscriptionResponseDiarizedJson",
        ],
        {"text": "x"},
    ),
    "/audio/translations": (["CreateTranslationResponseJson"], {"text": "x"}),
    "/models": (["Model"], {"data": []}),
}
KINDS = {  # of responses' events; each path of the schema belongs to some of them, and each must be seen in all
    "response.created": {"response": RESPONSE},
    "response.completed": {"response": RESPONSE},
    "response.output_item.added": {"output_index": 0},
    "response.output_item.done": {"output_index": 0},
    "response.content_part.added": {"output_index": 0, "content_index": 0},
    "response.reasoning_summary_part.done": {"output_index": 0, "summary_index": 0},
    "response.output_text.delta": {"output_index": 0, "content_index": 0},
    "response.output_text.done": {"output_index": 0, "content_index": 0},
    "response.function_call_arguments.done": {"output_index": 0},
    "response.shell_call_output_content.delta": {"output_index": 0, "command_index": 0},
    "response.output_text.annotation.added": {"output_index": 0, "content_index": 0, "annotation_index": 0},
    "response.image_generation_call.partial_image": {"output_index": 0},
    "response.something.new": {},
}
STREAMS = {
    "/audio/transcriptions": ("CreateTranscriptionResponseStreamEvent", ["transcript.text.delta", "transcript.text.done"]),
    "/images/generations": ("ImageGenStreamEvent", ["image_generation.partial_image", "image_generation.completed"]),
    "/images/edits": ("ImageEditStreamEvent", ["image_edit.completed"]),
}  # fmt: skip


def seen(pieces):
    texts = {}
    for piece in pieces:
        texts[piece.channel] = texts.get(piece.channel, "") + piece.text
    return any(MARKER in text for text in texts.values())


def every(table):
    return [(path, where) for path, (schema, _) in table.items() for where in (*PATHS[schema], *BESIDE)]


@pytest.mark.parametrize(("path", "where"), every(REQUESTS))
def test_a_marker_in_every_path_of_a_request_is_seen(path, where):
    document = merged(REQUESTS[path][1], planted(where))
    if path == "/moderations" and isinstance(document["input"], list) and isinstance(document["input"][0], dict):
        document["input"][0]["type"] = "text"
    request = ENDPOINTS[path].read(json.dumps(document).encode())
    found = [p for p in request.passages if MARKER in p.text]
    assert found
    assert all(p.place.side == "input" for p in found)
    sent = json.loads(ENDPOINTS[path].encode(ENDPOINTS[path].forward(request, "theirs"))[1])
    assert sent == {**document, "model": "theirs", **{k: sent[k] for k in ("stream_options",) if k in sent}}


@pytest.mark.parametrize(("path", "where"), every(FORMS))
def test_a_marker_in_every_field_of_a_form_is_seen(path, where):
    name = where.split(".")[1].removesuffix("[]")
    base = FORMS[path][1]
    values = {"file": Upload(MARKER, "audio/mpeg", b"\xff"), "image": Upload(f"{MARKER}.png", "image/png", b"\x89")}
    planted_value = values.get(name, [MARKER] if where.endswith("[]") else MARKER)
    if name == "mask":
        planted_value = Upload("mask.svg", "image/svg+xml", f"<svg>{MARKER}</svg>".encode())
    media, body = render_form({**base, name: planted_value})
    request = ENDPOINTS[path].read(body, media)
    assert any(MARKER in p.text for p in request.passages)
    again = parse_form(*reversed(ENDPOINTS[path].encode(ENDPOINTS[path].forward(request, "theirs"))))
    assert again == {**base, name: planted_value, "model": "theirs"}


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (path, where)
        for path, (schemas, _) in ANSWERS.items()
        for schema in schemas
        for where in (*(p.replace("$.", "$.data[].") if schema == "Model" else p for p in PATHS[schema]), *BESIDE)
        if where != "$.error.message"
    ],
)
def test_a_marker_in_every_path_of_an_answer_is_seen(path, where):
    document = merged(ANSWERS[path][1], planted(where))
    if path == "/models":
        document["data"] = [{"id": "x", **one} for one in document["data"]]
    reader = ENDPOINTS[path].reader({}, stream=False)
    delta = reader.delta(document)
    assert seen((*delta.pieces, *reader.closing()))
    assert delta.frame == document, "an answer passes as it came"


@pytest.mark.parametrize("where", [p for p in PATHS["ResponseStreamEvent"] if ".error." not in p] + BESIDE)
def test_a_marker_in_every_path_of_an_event_is_seen(where):
    read = 0
    for kind, base in KINDS.items():
        document = merged({"type": kind, **base}, planted(where))
        reader = ENDPOINTS["/responses"].reader({}, stream=True)
        try:
            delta = reader.delta(document)
        except Malformed:
            assert kind == "response.completed", "only what must be a whole response may be refused"
            continue
        assert seen((*delta.pieces, *reader.closing())), kind
        assert delta.frame == document
        read += 1
    assert read >= len(KINDS) - 1


@pytest.mark.parametrize(
    ("path", "where", "kind"),
    [(path, where, kind) for path, (schema, kinds) in STREAMS.items() for where in (*PATHS[schema], *BESIDE) for kind in kinds],
)  # fmt: skip
def test_a_marker_in_every_path_of_the_other_streams_is_seen(path, where, kind):
    reader = ENDPOINTS[path].reader({}, stream=True)
    delta = reader.delta(merged({"type": kind}, planted(where)))
    assert seen((*delta.pieces, *reader.closing()))


# --- a text that comes several times ------------------------------------------------------------


def message(text, **more):
    part = {"type": "output_text", "text": text, "annotations": [], **more}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def channels(deltas):
    texts = {}
    for delta in deltas:
        for piece in delta.pieces:
            texts[piece.channel] = texts.get(piece.channel, "") + piece.text
    return texts


@given(st.text(min_size=1, max_size=40), st.integers(1, 9))
def test_what_is_said_four_times_is_read_once_and_held_four_times(text, pieces):
    whole = response_of([message(text)], model="m", response_id="r", created=1)
    reader = ENDPOINTS["/responses"].reader({}, stream=True)
    deltas = [reader.delta(event) for event in events(whole, pieces)]
    texts = channels(deltas)
    assert texts["output[0].content[0].text"] == text
    assert not any(channel.endswith("<again>") for channel in texts)
    holding = [d for d in deltas if any(p.channel == "output[0].content[0].text" for p in d.pieces)]
    told = [d for d in deltas if text in json.loads(json.dumps(d.frame)).values() or text in str(d.frame)]
    assert all(d in holding for d in told if d.frame["type"].endswith((".done", ".completed")))
    assert reader.ended


@pytest.mark.parametrize("kind", ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"])  # fmt: skip
def test_what_only_pretends_to_repeat_is_a_text_of_its_own(kind):
    honest = response_of([message("All is well.")], model="m", response_id="r", created=1)
    reader = ENDPOINTS["/responses"].reader({}, stream=True)
    lying = json.loads(json.dumps(events(honest, 3)))
    for event in lying:
        if event["type"] == kind:
            event.update(json.loads(json.dumps(event).replace("All is well.", f"All is {MARKER}")))
    texts = channels([reader.delta(event) for event in lying])
    assert any(MARKER in text for text in texts.values())


def test_a_text_under_another_name_is_not_taken_for_known():
    """Said as reasoning, shown as content: a check on content must see it."""
    reader = ENDPOINTS["/responses"].reader({}, stream=True)
    at = {"output_index": 0, "content_index": 0}
    first = reader.delta({"type": "response.reasoning_text.delta", **at, "delta": MARKER})
    second = reader.delta({"type": "response.output_item.done", "output_index": 0, "item": message(MARKER)})
    assert {p.place for p in first.pieces if MARKER in p.text} == {Place.REASONING}
    assert Place.CONTENT in {p.place for p in second.pieces if MARKER in p.text}


@given(st.lists(st.integers(0, len(MARKER)), max_size=4))
def test_a_marker_that_is_cut_over_deltas_is_whole(cuts):
    bounds = [0, *sorted(cuts), len(MARKER)]
    for stem, field in (("output_text", "text"), ("refusal", "refusal"), ("function_call_arguments", "arguments")):
        reader = ENDPOINTS["/responses"].reader({}, stream=True)
        parts = [MARKER[a:b] for a, b in itertools.pairwise(bounds)]
        at = {"output_index": 0, "content_index": 0}
        deltas = [reader.delta({"type": f"response.{stem}.delta", **at, "delta": part}) for part in parts]
        assert any(MARKER in text for text in channels(deltas).values())
        last = reader.delta({"type": f"response.{stem}.done", **at, field: MARKER})
        assert not any(MARKER in p.text for p in last.pieces)


def test_what_the_client_said_itself_is_not_said_again_to_the_checks():
    asked = {"model": "m", "input": "x", "instructions": MARKER, "tools": [{"type": "function", "name": MARKER}]}
    reader = ENDPOINTS["/responses"].reader(asked, stream=False)
    echo = {**RESPONSE, "instructions": MARKER, "tools": [{"type": "function", "name": MARKER, "strict": True}]}
    assert not seen(reader.delta(echo).pieces)
    reader = ENDPOINTS["/responses"].reader(asked, stream=False)
    assert seen(reader.delta({**RESPONSE, "prompt": {"id": MARKER}}).pieces), "nobody said that here"


# --- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "at", "place"),
    [
        ({"role": "user", "content": "T"}, "content", "user"),
        ({"role": "developer", "content": [{"type": "input_text", "text": "T"}]}, "content[0].text", "system"),
        ({"type": "message", "role": "assistant", "content": "T"}, "content", "assistant"),
        ({"role": "user", "content": [{"type": "input_file", "filename": "T"}]}, "content[0].filename", "attachment"),
        ({"type": "function_call", "arguments": "T"}, "arguments", "assistant"),
        ({"type": "function_call_output", "output": "T"}, "output", "tool_result"),
        ({"type": "mcp_call", "arguments": "{}", "output": "T"}, "output", "tool_result"),
        ({"type": "reasoning", "summary": [{"text": "T"}]}, "summary[0].text", "assistant"),
        ({"type": "mcp_list_tools", "tools": [{"name": "T"}]}, "tools[0].name", "tool_definition"),
        ({"type": "something_new", "x": "T"}, "x", "other_input"),
        ({"x": "T"}, "x", "other_input"),
    ],
)
def test_an_item_has_the_place_of_its_type(item, at, place):
    request = ENDPOINTS["/responses"].read(json.dumps({"model": "m", "input": [item]}).encode())
    assert {p.path: p.place for p in request.passages}[f"input[0].{at}"] is Place(place)


@pytest.mark.parametrize(
    ("item", "at", "place"),
    [
        (message("T"), "content[0].text", "content"),
        ({"type": "message", "content": [{"type": "refusal", "refusal": "T"}]}, "content[0].refusal", "refusal"),
        ({"type": "reasoning", "summary": [{"text": "T"}]}, "summary[0].text", "reasoning"),
        ({"type": "function_call", "name": "T"}, "name", "tool_call"),
        ({"type": "mcp_call", "output": "T"}, "output", "other_output"),
        ({"type": "web_search_call", "action": {"query": "T"}}, "action.query", "tool_call"),
    ],
)
def test_an_output_item_has_the_place_of_its_type(item, at, place):
    reader = ENDPOINTS["/responses"].reader({}, stream=False)
    places = {p.channel: p.place for p in reader.delta({**RESPONSE, "output": [item]}).pieces}
    assert places[f"output[0].{at}"] is Place(place)


BINARY = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
TEXT = "Rk9SQklEREVOLTdR"  # the marker in base64


@pytest.mark.parametrize(
    ("path", "document", "what"),
    [
        ("/completions", {"prompt": [1, 2, 3]}, "token ids"),
        ("/completions", {"prompt": [[1, 2], [3]]}, "token ids"),
        ("/embeddings", {"input": [1, 2, 3]}, "token ids"),
        ("/responses", {"input": "x", "previous_response_id": "resp_1"}, "an earlier response"),
        ("/responses", {"input": "x", "conversation": {"id": "c"}}, "a conversation"),
        ("/responses", {"input": "x", "conversation": "conv_1"}, "a conversation"),
        ("/responses", {"input": [{"type": "item_reference", "id": "i"}]}, "an earlier item"),
        ("/responses", {"prompt": {"id": "p"}}, "a stored prompt"),
        ("/responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "a file"),
        ("/responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{BINARY}"}]}]}, "an image or a file"),
        ("/responses", {"input": [{"type": "reasoning", "encrypted_content": BINARY, "summary": []}]}, "encrypted content"),
        ("/responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": BINARY}]}]}, "a file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(path, document, what):
    request = ENDPOINTS[path].read(json.dumps({"model": "m", **document}).encode())
    found = {p.text for p in request.passages if p.place is Place.UNREAD_INPUT}
    assert found == {what}


@pytest.mark.parametrize("part", [
    {"type": "input_audio", "input_audio": {"data": "//uQ", "format": "mp3"}},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BINARY}"}},
    {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
    {"type": "file", "file": {"file_data": BINARY[:20] + "\n" + BINARY[20:], "filename": "a.pdf"}},
    {"type": "file", "file": {"file_id": "file-1"}},
])  # fmt: skip
def test_an_attachment_of_chat_that_cannot_be_read_is_said(part):
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    request = ENDPOINTS["/chat/completions"].read(json.dumps(body).encode())
    assert any(p.place is Place.UNREAD_INPUT for p in request.passages)


@pytest.mark.parametrize("data", [TEXT, TEXT[:5] + "\n" + TEXT[5:], f"data:text/plain;base64,{TEXT}", TEXT[:4] + "!" + TEXT[4:]])  # fmt: skip
def test_an_attachment_that_holds_text_is_read(data):
    part = {"type": "file", "file": {"file_data": data}}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    request = ENDPOINTS["/chat/completions"].read(json.dumps(body).encode())
    assert any(MARKER in p.text and p.place is Place.ATTACHMENT for p in request.passages)
    assert not any(p.place is Place.UNREAD_INPUT for p in request.passages)


def test_a_long_payload_is_not_searched_as_if_it_were_text():
    reader = ENDPOINTS["/images/generations"].reader({}, stream=False)
    delta = reader.delta({"data": [{"b64_json": BINARY * 20, "revised_prompt": "p"}]})
    assert [(p.place, p.text) for p in delta.pieces] == [
        (Place.UNREAD_OUTPUT, "an image"),
        (Place.CONTENT, "\np"),
    ]


def test_token_names_of_completions_are_read():
    reader = ENDPOINTS["/completions"].reader({}, stream=True)
    frames = [
        {"choices": [{"index": 0, "text": "x", "logprobs": {"top_logprobs": [{part: -1.0}]}}]}
        for part in (MARKER[:5], MARKER[5:])
    ]
    assert any(MARKER in text for text in channels([reader.delta(f) for f in frames]).values())


# --- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "document", "param"),
    [
        ("/responses", {"input": 1}, "input"),
        ("/responses", {"input": [1]}, "input[0]"),
        ("/responses", {"input": [{"role": "nobody", "content": "x"}]}, "input[0].role"),
        ("/responses", {"input": "x", "background": True}, "background"),
        ("/responses", {"input": "x", "stream": 1}, "stream"),
        ("/completions", {"prompt": {"a": 1}}, "prompt"),
        ("/completions", {"prompt": "x", "best_of": 1000}, "best_of"),
        ("/embeddings", {}, "input"),
        ("/embeddings", {"input": []}, "input"),
        ("/moderations", {"input": [1]}, "input"),
        ("/images/generations", {}, "prompt"),
        ("/images/generations", {"prompt": "x", "n": 1000}, "n"),
        ("/audio/speech", {"voice": "x"}, "input"),
        ("/audio/transcriptions", {"file": "x"}, "file"),
        ("/responses", {"input": "x", "Model": "y"}, "model"),
    ],
)
def test_a_request_without_the_shape_of_one_is_refused(path, document, param):
    with pytest.raises(BadRequest) as caught:
        ENDPOINTS[path].read(json.dumps({"model": "m", **document}).encode())
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("frame", [{}, {"output": 1}, {"output": [1]}, {"output": [], "status": "in_progress"}])
def test_a_response_that_is_not_complete_is_malformed(frame):
    with pytest.raises(Malformed):
        ENDPOINTS["/responses"].reader({}, stream=False).delta(frame)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "error", "message": MARKER},
        {"type": "response.failed", "response": {"error": {"message": MARKER}}},
        {"error": {"message": MARKER}},
        {"type": "response.completed", "response": {**RESPONSE, "error": {"message": MARKER}}},
    ],
)
def test_an_upstreams_error_is_never_an_answer(frame):
    with pytest.raises(UpstreamErrorFrame):
        ENDPOINTS["/responses"].reader({}, stream=True).delta(frame)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda c: (
        st.lists(c, max_size=3)
        | st.dictionaries(
            st.text(max_size=3)
            | st.sampled_from("type delta item part response output content text role input index annotation".split()),
            c,
            max_size=4,
        )
    ),
    max_leaves=12,
)
typed = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.sampled_from([*KINDS, "response.refusal.delta", "speech.audio.delta", "transcript.text.done"]) | st.text(max_size=5),
    st.dictionaries(st.sampled_from("delta item part response output_index content_index text annotation logprobs".split()), json_values),
)  # fmt: skip


@given(st.sampled_from(sorted(ENDPOINTS)), st.lists(typed | json_values.filter(lambda v: isinstance(v, dict)), max_size=3), st.booleans())  # fmt: skip
def test_any_answer_is_read_or_malformed(path, frames, stream):
    reader = ENDPOINTS[path].reader({}, stream=stream)
    for frame in frames:
        try:
            delta = reader.delta(frame)
        except (Malformed, UpstreamErrorFrame):
            continue
        assert isinstance(ENDPOINTS[path].frame(delta.frame), bytes)
    reader.closing()
    assert reader.finished in (True, False)


@given(
    st.sampled_from(sorted(set(ENDPOINTS) - {"/models"})),
    st.dictionaries(st.sampled_from("model input prompt messages stream n file text prompt".split()), json_values),
)
def test_any_body_is_read_or_refused(path, document):
    try:
        request = ENDPOINTS[path].read(json.dumps(document).encode())
    except BadRequest as refusal:
        assert refusal.status == 400
        return
    media, body = ENDPOINTS[path].encode(ENDPOINTS[path].forward(request, "m"))
    assert media
    assert body


# --- forms ---------------------------------------------------------------------------------------


def form(*parts, boundary="B"):
    body = b"".join(b"--B\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts) + b"--B--\r\n"
    return body, f"multipart/form-data; boundary={boundary}"


NAMED = b'Content-Disposition: form-data; name="%s"'


@pytest.mark.parametrize(
    "given",
    [
        (b"", "multipart/form-data"),
        (b"--B--\r\n", "multipart/form-data"),
        (b"junk", "multipart/form-data; boundary=B"),
        form((NAMED % b"a", b"1"), boundary="C"),
        form((NAMED % b"a", b"1"), (NAMED % b"a", b"2")),
        form((NAMED % b"a[]", b"1"), (NAMED % b"a", b"2")),
        form((NAMED % b"a", b"\xff")),
        form((b'Content-Disposition: attachment; name="a"', b"1")),
        form((b"Content-Disposition: form-data", b"1")),
        form((NAMED % b"a" + b"\r\nX-Odd: 1", b"1")),
        form((NAMED % b"a" + b'; filename="x"\r\nContent-Type: odd', b"1")),
        (form((NAMED % b"a", b"1"))[0] + b"more", "multipart/form-data; boundary=B"),
        (b"--B\r\n" + NAMED % b"a" + b"\r\n\r\n1\r\n", "multipart/form-data; boundary=B"),
    ],
    ids=range(13),
)
def test_a_form_with_two_readings_is_refused(given):
    with pytest.raises(BadRequest) as caught:
        parse_form(*given)
    assert caught.value.code == "invalid_form"


def test_an_edit_may_come_as_json_and_goes_on_as_json():
    document = {"model": "m", "prompt": "x", "image": ["https://a.example/b.png", None], "n": 1}
    endpoint = ENDPOINTS["/images/edits"]
    request = endpoint.read(json.dumps(document).encode())
    media, body = endpoint.encode(endpoint.forward(request, "m"))
    assert (media, json.loads(body)) == ("application/json", document)


def test_a_form_without_a_file_is_refused():
    media, body = render_form({"model": "m", "prompt": "x"})
    with pytest.raises(BadRequest):
        ENDPOINTS["/images/edits"].read(body, media)


names = st.text("abcdef_", min_size=1, max_size=8)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
uploads = st.builds(Upload, st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\%'), min_size=1, max_size=8), st.just("audio/mpeg"), st.binary(max_size=40))  # fmt: skip


@given(st.dictionaries(names, texts | uploads | st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_rendered_form_reads_back_the_same(document):
    media, body = render_form(document)
    assert parse_form(body, media) == document


@given(st.binary(max_size=120))
def test_any_form_is_read_or_refused(data):
    for body in (
        data,
        b"--B\r\n" + data,
        b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + data + b"\r\n--B--",
    ):
        try:
            parse_form(body, "multipart/form-data; boundary=B")
        except BadRequest:
            pass


# --- what calls itself something else ---------------------------------------------------------------


@pytest.mark.parametrize("path", ["/responses", "/images/generations", "/audio/transcriptions", "/audio/speech"])
def test_a_word_that_is_cut_over_events_nobody_has_heard_of_is_whole(path):
    reader = ENDPOINTS[path].reader({}, stream=True)
    frames = [{"type": "vendor.new.event", "x_words": part, "deep": {"x": part}} for part in (MARKER[:5], MARKER[5:])]
    texts = channels([reader.delta(frame) for frame in frames])
    assert sum(MARKER in text for text in texts.values()) == 2


def test_text_that_calls_itself_audio_is_read():
    reader = ENDPOINTS["/audio/speech"].reader({}, stream=False)
    texts = channels([reader.raw("audio/mpeg", part.encode()) for part in (MARKER[:5], MARKER[5:])])
    assert any(MARKER in text for text in texts.values())
    sound = reader.raw("audio/mpeg", b"\xff\xfb\x00")
    assert [p.place for p in sound.pieces] == [Place.UNREAD_OUTPUT]


def test_every_picture_of_a_stream_is_waited_for():
    reader = ENDPOINTS["/images/generations"].reader({}, stream=True)
    reader.delta({"type": "image_generation.completed", "b64_json": BINARY})
    assert reader.finished
    assert not reader.ended
