"""Every known way round a guard, by its number in docs/security.md: streaming and plain, marker searched on the raw socket."""

import asyncio
import base64
import gzip
import json
import time

import pytest

from gateway.wire.forms import Upload, render_form
from gateway.wire.responses import events
from tests.end_to_end.process import (
    Fake,
    Gateway,
    Wire,
    ask,
    begin_stream,
    chunk,
    end_stream,
    event,
    never,
    new,
    plain_answer,
    send_json,
    send_part,
)
from tests.end_to_end.stage import DENY, MARKER, Stage, answers, nothing, sends, streams
from tests.patience import until

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
HALF = (MARKER[:6], MARKER[6:])
B64 = base64.b64encode(f"words with {MARKER} inside".encode()).decode()
ESCAPED = '{"q": "\\u0046ORBIDDEN-7Q"}'
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


def user(content):
    return {"role": "user", "content": content}


def chat(*messages, stream=False, **more):
    return {"model": "m", "stream": stream, "messages": list(messages) or [user("hello")], **more}


def part(kind, **more):
    return {"type": kind, **more}


def call(arguments="{}", name="f"):
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


async def refuses_question(stage, document, path=CHAT, **more):
    wire, receipt, seen = await stage.ask(document, answers(plain_answer("fine")), path, **more)
    assert wire.status == 400, wire.data
    assert wire.error["code"] == "content_filter"
    assert wire.error["moderation_details"]["moderation_stage"] == "input"
    assert MARKER.encode() not in wire.data
    assert not seen, "a local check speaks before the upstream is called"
    assert receipt["decision"] == "blocked"
    named = next(c for c in receipt["checks"] if c["verdict"] == "hit")
    assert named["parts"], "the receipt names the part"
    assert MARKER not in json.dumps(receipt)
    return named["parts"]


async def refuses_answer(stage, document, script, path=CHAT, status=400):
    wire, receipt, seen = await stage.ask(document, script, path)
    assert wire.status == status, wire.data
    assert MARKER.encode() not in wire.data
    assert HALF[0].encode() not in wire.data
    assert seen
    if status == 400:
        assert wire.error["moderation_details"]["moderation_stage"] == "output"
        assert receipt["decision"] == "blocked"
    return wire, receipt


# --- the request ---------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
async def test_class_01_a_message_that_is_not_the_last(stage, role, stream):
    first = {"role": role, "content": MARKER}
    parts = await refuses_question(stage, chat(first, user("one"), user("two"), stream=stream))
    assert parts == ["messages[0].content"]


@BOTH
@pytest.mark.parametrize(
    "content",
    [
        MARKER,
        [part("text", text=MARKER)],
        [part("image_url", image_url={"url": "https://a.example/b.png"}), part("text", text=MARKER)],
        [part("text", text=""), part("x_new", text=MARKER)],
        [part("text", text="a"), part("text", text=[[MARKER]])],
    ],
    ids=["string", "parts", "mixed", "unknown part", "nested"],
)
async def test_class_02_every_form_of_content(stage, content, stream):
    await refuses_question(stage, chat(user(content), user(None), user(""), stream=stream))


@BOTH
@pytest.mark.parametrize(
    "content",
    [
        [part("image_url", image_url={"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="})],
        [part("input_audio", input_audio={"data": "//uQxAAA", "format": "mp3"})],
        [part("file", file={"file_id": "file-1"})],
    ],
    ids=["image", "audio", "file"],
)
async def test_class_03_nothing_to_scan_is_not_nothing_to_decide(tmp_path, content, stream):
    """A check of the question is asked, `opaque: block` decides, and the receipt says what was not read."""
    judged = []

    async def play(seen, writer):
        if seen.body["model"] == "judge":
            judged.append(seen)
            await send_json(writer, plain_answer("YES"))
        else:
            await never()

    policy = "policy: j\nchecks: {harm: {use: judge, model: judge, at: input}}\n"
    async with Fake(play) as fake:
        with Gateway(tmp_path, fake.house, policy) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(chat(user(content), stream=stream))
                await wire.read()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert wire.status == 400
    assert judged
    assert receipt["not_read"]


@BOTH
@pytest.mark.parametrize(
    "document",
    [
        {"messages": [user([part("file", file={"file_data": B64, "filename": "a.txt"})])]},
        {"messages": [user([part("input_audio", input_audio={"data": B64, "format": "wav", "transcript": MARKER})])]},
        {"messages": [{**user("x"), "name": MARKER}]},
        {"messages": [{"role": "assistant", "content": None, "refusal": MARKER}, user("x")]},
        {"metadata": {"k": MARKER}},
        {"metadata": {MARKER: "v"}},
        {"user": MARKER},
        {"safety_identifier": MARKER},
        {"prediction": {"type": "content", "content": MARKER}},
        {"stop": ["a", MARKER]},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"properties": {"a": {"description": MARKER}}}},
            }
        },
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"properties": {MARKER: {}}}},
            }
        },
        {"tools": [{"type": "function", "function": {"name": "f", "description": MARKER}}]},
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"enum": [MARKER]}}}}}
            ]
        },
        {"functions": [{"name": "f", "description": MARKER}]},
    ],
    ids="+".join,
)
async def test_class_04_text_in_odd_places(stage, document, stream):
    await refuses_question(stage, {**chat(stream=stream), **document})


@BOTH
@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": None, "tool_calls": [call(json.dumps({"q": MARKER}))]}],
        [{"role": "assistant", "content": None, "tool_calls": [call(ESCAPED)]}],
        [{"role": "assistant", "content": None, "tool_calls": [call(name=MARKER)]}],
        [{"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ESCAPED}}],
        [{"role": "tool", "tool_call_id": "c1", "content": MARKER}],
        [{"role": "tool", "tool_call_id": MARKER, "content": "x"}],
        [{"role": "tool", "tool_call_id": "c1", "content": [part("text", text=ESCAPED)]}],
        [{"role": "function", "name": "f", "content": MARKER}],
    ],
    ids=range(8),
)
async def test_class_05_tool_calls_and_results_of_the_history(stage, messages, stream):
    await refuses_question(stage, chat(user("x"), *messages, user("y"), stream=stream))


@BOTH
@pytest.mark.parametrize("key", ["content_blocks", "contents", "text", "parts", "Content"])
async def test_class_06_a_second_field_with_the_same_meaning(stage, key, stream):
    await refuses_question(stage, chat({**user("fine"), key: MARKER}, stream=stream))


@BOTH
async def test_class_07_one_reading_only(stage, stream):
    body = json.dumps(chat(user("x"), stream=stream)).encode()
    bad = [
        (body.replace(b'"x"', b'"x", "content": "y"'), {}, 400),
        (body[:-1] + b', "messages": []}', {}, 400),
        (b"\xef\xbb\xbf" + body, {}, 400),
        (body.decode().encode("utf-16"), {}, 400),
        (body.replace(b'"x"', b'"\xff"'), {}, 400),
        (body.replace(b'"x"', b'"\\ud800"'), {}, 400),
        (body + b" {}", {}, 400),
        (body.replace(b'"x"', b"[" * 200 + b"]" * 200), {}, 400),
        (body.replace(b"false", b"NaN").replace(b"true", b"NaN"), {}, 400),
        (gzip.compress(body), {"headers": b"content-encoding: gzip\r\n"}, 415),
        (body, {"content_type": b"text/plain"}, 415),
        (body, {"content_type": b"application/json; charset=utf-16"}, 415),
        (body.replace(b'"x"', b'"' + b"x" * (11 * 2**20) + b'"'), {}, 413),
    ]
    for sent, more, status in bad:
        wire, receipt, seen = await stage.ask(sent, path=CHAT, **more)
        assert wire.status == status, sent[:80]
        assert wire.error["message"]
        assert not seen
        assert receipt["decision"] == "refused"
    await refuses_question(stage, body.replace(b'"x"', b'"\\u0046ORBIDDEN-7Q"'))
    await refuses_question(stage, body[:-1] + b', "x_unknown": {"a": ["FORBIDDEN-7Q"]}}')


@BOTH
async def test_class_07_a_chunked_body_is_read_like_any_other(stage, stream):
    body = json.dumps(chat(user(MARKER), stream=stream)).encode()
    async with Wire(stage.port) as wire:
        await wire.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for start in range(0, len(body), 7):
            piece = body[start : start + 7]
            await wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        await wire.send(b"0\r\n\r\n")
        await wire.read()
    assert wire.status == 400
    assert wire.error["code"] == "content_filter"


ENDPOINTS = {
    "/v1/completions": [
        {"prompt": MARKER},
        {"prompt": ["a", MARKER]},
        {"prompt": list(HALF)},
        {"prompt": "a", "suffix": MARKER},
    ],
    RESPONSES: [
        {"input": MARKER},
        {"input": [{"role": "user", "content": MARKER}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": t} for t in HALF]}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": ESCAPED}]},
        {"input": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": MARKER}]}]},
        {"input": "x", "instructions": MARKER},
        {"input": "x", "previous_response_id": MARKER},
        {"input": "x", "tools": [{"type": "function", "name": "f", "description": MARKER}]},
        {"input": "x", "prompt": {"id": "p", "variables": {"v": MARKER}}},
    ],
    "/v1/embeddings": [{"input": MARKER}, {"input": ["a", MARKER]}, {"input": "a", "user": MARKER}],
    "/v1/images/generations": [{"prompt": MARKER}],
    "/v1/audio/speech": [{"input": MARKER, "voice": "v"}, {"input": "x", "voice": "v", "instructions": MARKER}],
}


@BOTH
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_class_08_every_endpoint(stage, path, stream):
    for fields in ENDPOINTS[path]:
        document = {"model": "m", **fields}
        if stream and path == "/v1/audio/speech":
            document["stream_format"] = "sse"
        elif stream and path != "/v1/embeddings":
            document["stream"] = True
        for spelling in (path, path.removeprefix("/v1"), f"{path}/", f"/{path}", path.replace("/v1/", "/v1//")):
            wire, _, seen = await stage.ask(document, answers(plain_answer("fine")), spelling)
            assert wire.status in {400, 404}, spelling
            assert not seen, spelling
        await refuses_question(stage, document, path)


async def test_class_08_forms(stage):
    for path, form in (
        ("/v1/audio/transcriptions", {"file": Upload("a.mp3", "audio/mpeg", b"\xff\xfb"), "prompt": MARKER}),
        ("/v1/audio/translations", {"file": Upload(f"{MARKER}.mp3", "audio/mpeg", b"\xff\xfb")}),
        ("/v1/audio/transcriptions", {"file": Upload("a.mp3", "audio/mpeg", MARKER.encode())}),
        ("/v1/images/edits", {"image": Upload("a.png", "image/png", b"\x89"), "prompt": MARKER}),
        ("/v1/images/variations", {"image": Upload("a.png", "image/png", b"\x89"), "user": MARKER}),
    ):
        media, body = render_form({"model": "m", **form})
        await refuses_question(stage, body, path, content_type=media.encode())


async def test_class_08_what_cannot_be_checked_is_decided_by_the_policy(tmp_path):
    """Token ids, references, pictures: `opaque: block`."""
    policy = "policy: o\nopaque: block\nchecks: {words: {use: keywords, words: [nothing]}}\n"
    with Stage(tmp_path, policy) as stage:
        for path, fields in (
            ("/v1/completions", {"prompt": [1, 2, 3]}),
            ("/v1/embeddings", {"input": [[1, 2], [3]]}),
            (RESPONSES, {"input": "x", "previous_response_id": "resp_1"}),
            (RESPONSES, {"input": [{"type": "item_reference", "id": "i"}]}),
            (CHAT, chat(user([part("image_url", image_url={"url": "https://a.example/b.png"})]))),
        ):
            wire, receipt, seen = await stage.ask({"model": "m", **fields}, path=path)
            assert (wire.status, wire.error["code"]) == (400, "content_filter"), path
            assert not seen
            assert receipt["not_read"]
            assert receipt["why"] == "o.opaque (input): hit"
        picture = {"created": 1, "data": [{"b64_json": "iVBORw0KGgoAAAANSUhEUg=="}]}
        wire, receipt, _ = await stage.ask({"model": "m", "prompt": "x"}, answers(picture), "/v1/images/generations")
        assert wire.status == 400
        assert b"iVBOR" not in wire.data
        wire, _, _ = await stage.ask(ask(), answers(plain_answer("fine")))
        assert wire.status == 200


async def test_class_08_background_is_refused_until_it_can_be_checked(stage):
    wire, _, seen = await stage.ask({"model": "m", "input": "x", "background": True}, path=RESPONSES)
    assert (wire.status, wire.error["param"]) == (400, "background")
    assert not seen


@pytest.mark.parametrize(
    "path",
    ["/v1/files", "/v1/batches", "/v1/responses/resp_1", "/v1/chat/completions/c1", "/v1/realtime", "/v1/assistants",
     "/v1/vector_stores", "/v1/conversations", "/v1/messages", "/V1/CHAT/COMPLETIONS", "/v1/chat/../chat/completions",
     "/v1/%63hat/completions", "/v1/chat/completions;x", "/v1/chat/completions%2f", "/v1/v1/chat/completions",
     "/openai/deployments/d/chat/completions", "/"],
)  # fmt: skip
async def test_class_09_what_is_not_served_is_refused_and_never_passed_through(stage, path):
    wire, receipt, seen = await stage.ask(chat(user(MARKER)), path=path)
    assert wire.status == 404
    assert set(wire.error) == {"message", "type", "param", "code"}
    assert not seen
    assert receipt["decision"] == "refused"


@BOTH
async def test_class_10_no_switch_of_the_client_weakens_a_policy(stage, stream):
    headers = (
        b"x-outrider-policy: none\r\nx-outrider-decision: released\r\nx-guardrails: off\r\n"
        b"x-outrider-id: mine\r\nx-litellm-disable-guardrails: true\r\nx-forwarded-host: admin\r\n"
    )
    document = chat(
        user(MARKER),
        stream=stream,
        guardrails=[],
        metadata={"disable_global_guardrails": True, "policy": "none"},
        moderation={"policy": {"input": {"mode": "score"}}},
        stream_options={"include_usage": True},
    )
    await refuses_question(stage, document, headers=headers)


@BOTH
@pytest.mark.parametrize("model", ["alias", "theirs"])
async def test_class_11_an_alias_does_not_leave_the_policy_behind(stages, model, stream):
    policy = DENY.replace("policy: deny\n", "policy: deny\nfor: {models: [theirs]}\n")
    house = "models: {alias: {upstream: up, model: theirs}}\n"
    with stages(policy, house) as stage:
        await refuses_question(stage, {**chat(user(MARKER), stream=stream), "model": model})


@BOTH
@pytest.mark.parametrize("model", ["m,theirs", "m theirs", "*", "../m", "theirs "])
async def test_class_11_no_spelling_of_a_model_reaches_two(stages, model, stream):
    house = "models: {m: {upstream: up, model: theirs}}\n"
    with stages(DENY, house) as stage:
        stage_house = {**chat(user("x"), stream=stream), "model": model}
        _, _, seen = await stage.ask(stage_house, answers(plain_answer("fine"), [chunk(finish="stop")]))
    assert [s.body["model"] for s in seen] == [model], "the name is passed on as it is, to one upstream"


@BOTH
@pytest.mark.parametrize(
    "said",
    [
        MARKER.lower(),
        "F\u200bORBID\u00adDEN-7Q",
        "".join(chr(ord(c) + 0xFEE0) for c in MARKER),
        "\u202eFORBIDDEN-7Q",
        "F\U000e0041ORBIDDEN-7Q",
        "FОRВIDDЕN-7Q",
        B64,
        ESCAPED,
        json.dumps({"a": ESCAPED}),
    ],
    ids=["case", "invisible", "full width", "direction", "tags", "look-alikes", "base64", "escapes", "nested JSON"],
)
async def test_class_12_covered_disguises(stage, said, stream):
    await refuses_question(stage, chat(user(said), stream=stream))


@BOTH
async def test_class_12_split_over_parts(stage, stream):
    parts = await refuses_question(stage, chat(user([part("text", text=half) for half in HALF]), stream=stream))
    assert parts == ["messages[0].content[*]"]


# --- the answer ----------------------------------------------------------------------------------


def message(**fields):
    return {"role": "assistant", "content": "fine", **fields}


def tokens(key="content"):
    return {key: [{"token": t, "logprob": -1, "bytes": list(t.encode()), "top_logprobs": []} for t in HALF]}


def spelled():
    return {"content": [{"token": "?", "logprob": -1, "bytes": list(t.encode()), "top_logprobs": []} for t in HALF]}


def others():
    top = [{"token": MARKER, "logprob": -2, "bytes": None}]
    return {"content": [{"token": "a", "logprob": -1, "bytes": None, "top_logprobs": top}]}


PLACES = {
    "content": ({"message": message(content=MARKER)}, {}),
    "content parts": ({"message": message(content=[{"type": "text", "text": MARKER}])}, {}),
    "reasoning_content": ({"message": message(reasoning_content=MARKER)}, {}),
    "reasoning": ({"message": message(reasoning=MARKER)}, {}),
    "reasoning_details": ({"message": message(reasoning_details=[{"text": MARKER}])}, {}),
    "thinking_blocks": ({"message": message(thinking_blocks=[{"thinking": MARKER}])}, {}),
    "refusal": ({"message": message(refusal=MARKER)}, {}),
    "transcript": ({"message": message(audio={"id": "a", "data": "AAAA", "transcript": MARKER})}, {}),
    "tool arguments": ({"message": message(tool_calls=[{"index": 0, **call(json.dumps({"q": MARKER}))}])}, {}),
    "tool arguments escaped": ({"message": message(tool_calls=[{"index": 0, **call(ESCAPED)}])}, {}),
    "tool name": ({"message": message(tool_calls=[{"index": 0, **call(name=MARKER)}])}, {}),
    "tool id": ({"message": message(tool_calls=[{"index": 0, **call(), "id": MARKER}])}, {}),
    "custom tool": (
        {"message": message(tool_calls=[{"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": MARKER}}])},
        {},
    ),
    "function_call": ({"message": message(function_call={"name": "f", "arguments": MARKER})}, {}),
    "logprobs": ({"logprobs": tokens()}, {}),
    "logprobs of a refusal": ({"logprobs": tokens("refusal")}, {}),
    "logprob bytes": ({"logprobs": spelled()}, {}),
    "top logprobs": ({"logprobs": others()}, {}),
    "annotation": (
        {"message": message(annotations=[{"type": "url_citation", "url_citation": {"url": "u", "title": MARKER}}])},
        {},
    ),
    "citation url": (
        {"message": message(annotations=[{"type": "url_citation", "url_citation": {"url": MARKER, "title": "t"}}])},
        {},
    ),
    "vendor field": ({"message": message(x_vendor={"deep": [MARKER]})}, {}),
    "vendor key": ({"message": message(x_vendor={MARKER: 1})}, {}),
    "choice field": ({"x_choice": MARKER}, {}),
    "finish_reason": ({"finish_reason": MARKER}, {}),
    "id": ({}, {"id": MARKER}),
    "model": ({}, {"model": MARKER}),
    "system_fingerprint": ({}, {"system_fingerprint": MARKER}),
    "service_tier": ({}, {"service_tier": MARKER}),
    "top level": ({}, {"x_top": {"a": [MARKER]}}),
    "usage": ({}, {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "note": MARKER}}),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("second", [False, True], ids=["first choice", "second choice"])
@pytest.mark.parametrize("place", PLACES)
async def test_class_13_every_field_of_every_choice(stage, place, second, stream):
    choice_fields, top = PLACES[place]
    fine = {"index": 0, "message": message(), "finish_reason": "stop"}
    choices = [{**fine, **choice_fields}]
    if second and choice_fields:
        choices = [fine, {**fine, "index": 1, **choice_fields}]
    document = {**plain_answer(), "choices": choices, **top}
    chunks = [
        {**document, "choices": [{**{k: v for k, v in c.items() if k != "message"}, "delta": c["message"]}]}
        for c in choices
    ]
    await refuses_answer(stage, chat(stream=stream, n=2), answers(document, chunks))


def output_item(kind="message", **fields):
    return {"id": "it_1", "type": kind, "status": "completed", **fields}


def content(**fields):
    return output_item(role="assistant", content=[{"type": "output_text", "annotations": [], "text": "fine", **fields}])


ITEMS = {
    "text": content(text=f"it is {MARKER}"),
    "refusal": output_item(role="assistant", content=[{"type": "refusal", "refusal": MARKER}]),
    "reasoning": output_item("reasoning", summary=[], content=[{"type": "reasoning_text", "text": MARKER}]),
    "reasoning summary": output_item("reasoning", summary=[{"type": "summary_text", "text": MARKER}]),
    "arguments": output_item("function_call", call_id="c", name="f", arguments=json.dumps({"q": MARKER})),
    "escaped arguments": output_item("function_call", call_id="c", name="f", arguments=ESCAPED),
    "name": output_item("function_call", call_id="c", name=MARKER, arguments="{}"),
    "custom input": output_item("custom_tool_call", call_id="c", name="f", input=MARKER),
    "mcp output": output_item("mcp_call", name="n", server_label="s", arguments="{}", output=MARKER),
    "code": output_item("code_interpreter_call", code=MARKER, outputs=[]),
    "logs": output_item("code_interpreter_call", code="x", outputs=[{"type": "logs", "logs": MARKER}]),
    "search query": output_item("web_search_call", action={"type": "search", "query": MARKER}),
    "annotation": content(annotations=[{"type": "url_citation", "title": MARKER, "url": "u"}]),
    "logprobs": content(logprobs=tokens()["content"]),
    "logprob bytes": content(logprobs=spelled()["content"]),
    "id": {**content(), "id": MARKER},
    "unknown item": output_item("x_new", deep={"a": [MARKER]}),
    "unknown key": output_item("x_new", deep={MARKER: 1}),
}


@BOTH
@pytest.mark.parametrize("place", ITEMS)
async def test_class_13_every_field_of_every_item(stage, place, stream):
    """Whole, and as events in which the text comes in pieces and then again and again."""
    response = {
        "id": "r",
        "object": "response",
        "status": "completed",
        "output": [content(), ITEMS[place]],
        "model": "m",
    }
    document = {"model": "m", "input": "x", "stream": stream}
    for pieces in (1, 3, 40) if stream else (1,):
        parts = [event(e) for e in events(response, pieces)]
        script = streams(*parts) if stream else answers(response)
        wire, receipt, _ = await stage.ask(document, script, RESPONSES)
        assert MARKER.encode() not in wire.data
        assert HALF[0].encode() not in wire.data
        assert receipt["decision"] == "blocked"
        if wire.status == 200:
            last = wire.body.rstrip().rsplit(b"\n\n", 1)[-1]
            assert last.startswith(b"event: response.failed")
        else:
            assert wire.error["code"] == "content_filter"


@pytest.mark.parametrize("field", ["done", "part", "item", "completed"])
async def test_class_13_only_the_last_copy_of_a_text_tells_it(stage, field):
    """The deltas are harmless; one of the events that say them again is not."""
    kinds = {"done": "response.output_text.done", "part": "response.content_part.done", "item": "response.output_item.done", "completed": "response.completed"}  # fmt: skip
    response = {"id": "r", "object": "response", "status": "completed", "output": [content()], "model": "m"}
    told = []
    for one in events(response, 2):
        data = json.dumps(one)
        told.append(event((data.replace('"fine"', f'"{MARKER}"') if one["type"] == kinds[field] else data).encode()))
    wire, receipt, _ = await stage.ask({"model": "m", "input": "x", "stream": True}, streams(*told), RESPONSES)
    assert MARKER.encode() not in wire.data
    assert receipt["decision"] == "blocked"


@BOTH
@pytest.mark.parametrize("header", [b"x-request-id: FORBIDDEN-7Q\r\n", b"x-note: FORBIDDEN-7Q\r\n"])
async def test_class_13_headers_of_the_upstream(stage, header, stream):
    """A request id is text like any other; what is not on the list does not pass at all."""
    script = answers(plain_answer("fine"), [chunk({"content": "fine"}), chunk(finish="stop")], headers=header)
    wire, _, _ = await stage.ask(ask(stream=stream), script)
    assert MARKER.encode() not in wire.data
    assert wire.status == (400 if b"request-id" in header else 200)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("cut", range(1, len(MARKER)))
async def test_class_14_every_cut_of_the_word(stage, cut, end):
    events = [chunk({"content": f"it is {MARKER[:cut]}"}), chunk({"content": MARKER[cut:]}), chunk(finish="stop")]
    data = b": note\n\n" + b"".join(event(e).replace(b"\n\n", end) for e in events) + b"data: [DONE]" + end
    await refuses_answer(stage, ask(stream=True), streams(data[:90], data[90:95], data[95:]))


async def test_class_14_one_byte_at_a_time_and_many_events_in_one_read(stage):
    events = [chunk({"content": "é🙂 " + MARKER[:3]}), chunk({"content": MARKER[3:]}), chunk(finish="stop")]
    data = b"".join(
        b"event: message\nid: 7\nretry: 1\n" + event(json.dumps(e, ensure_ascii=False).encode()) for e in events
    )
    data += b"data: [DONE]\n\n"
    await refuses_answer(stage, ask(stream=True), streams(data))
    await refuses_answer(stage, ask(stream=True), streams(*(data[i : i + 1] for i in range(len(data)))))
    multi = b"".join(
        b"".join(b"data: " + line + b"\n" for line in json.dumps(e, indent=1).encode().split(b"\n")) + b"\n"
        for e in events
    )
    await refuses_answer(stage, ask(stream=True), streams(multi + b"data: [DONE]\n\n"))


@pytest.mark.parametrize("where", ["with the end", "after the end", "usage", "second end"])
async def test_class_15_at_the_very_end(stage, where):
    chunks = {
        "with the end": [chunk({"content": MARKER}, "stop")],
        "after the end": [chunk({"content": "fine"}, "stop"), chunk({"content": MARKER})],
        "usage": [chunk({"content": "fine"}, "stop"), {**chunk(), "choices": [], "usage": {"total_tokens": 1, "x": MARKER}}],
        "second end": [chunk({"content": "fine"}, "stop"), chunk({"content": MARKER}, "stop")],
    }[where]  # fmt: skip
    await refuses_answer(stage, ask(stream=True), answers(None, chunks))


async def test_class_15_after_done_nothing_is_read(stage):
    data = event(chunk({"content": "fine"}, "stop")) + event(b"[DONE]") + event(chunk({"content": MARKER}))
    wire, _, _ = await stage.ask(ask(stream=True), streams(data))
    assert wire.status == 200
    assert MARKER.encode() not in wire.data
    assert wire.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", [CHAT, RESPONSES], ids=["chat", "responses"])
@pytest.mark.parametrize(
    "how", ["cut", "no end", "malformed", "not UTF-8", "too long", "error event", "empty", "comments"]
)
async def test_class_16_a_stream_that_does_not_end_well_never_looks_complete(stage, path, how):
    first = event(chunk({"content": HALF[0]})) if path == CHAT else event(
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": HALF[0]}
    )  # fmt: skip
    parts = {
        "cut": None,
        "no end": [first],
        "malformed": [first, b'data: {"choices": [\n\n'],
        "not UTF-8": [first, b'data: {"a": "\xff"}\n\n'],
        "too long": [first, b"data: " + b"x" * (11 * 2**20)],
        "error event": [first, b'event: error\ndata: {"message": "FORBIDDEN-7Q"}\n\n'],
        "empty": [],
        "comments": [b": FORBIDDEN-7Q\n\n"] * 3,
    }[how]

    async def cut(_seen, writer):
        await begin_stream(writer)
        await send_part(writer, first)
        writer.transport.abort()

    document = ask(stream=True) if path == CHAT else {"model": "m", "input": "x", "stream": True}
    wire, receipt, _ = await stage.ask(document, streams(*parts) if parts is not None else cut, path)
    assert wire.status == 502, wire.data
    assert wire.error["code"].startswith("upstream_")
    assert HALF[0].encode() not in wire.data
    assert receipt["decision"] == "failed"


@BOTH
async def test_class_16_a_stalled_stream_is_told_in_time(gateways, stream):
    async def stall(seen, writer):
        await begin_stream(writer)
        await send_part(writer, event(chunk({"content": HALF[0]})))
        await never()

    async with Fake(stall) as fake:
        house = fake.house.replace("api_key", "timeout: {first_token: 1s, between_tokens: 500ms}, api_key")
        with gateways(house, DENY) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=stream))
                await wire.read()
    assert wire.status == 504
    assert HALF[0].encode() not in wire.data


@pytest.mark.parametrize("path", [CHAT, RESPONSES], ids=["chat", "responses"])
@pytest.mark.parametrize("hit", [False, True], ids=["clean", "marker"])
async def test_class_17_json_to_a_stream_request(stage, path, hit):
    said = MARKER if hit else "All is well."
    document = plain_answer(said) if path == CHAT else responses_answer(said)
    asked = ask(stream=True) if path == CHAT else {"model": "m", "input": "x", "stream": True}
    wire, _, _ = await stage.ask(asked, sends(json.dumps(document).encode()), path)
    assert wire.status == (400 if hit else 200)
    assert MARKER.encode() not in wire.data
    if not hit:
        assert b"All is well." in wire.body
        assert (b"data: [DONE]" in wire.body) == (path == CHAT)
        assert (b"event: response.completed" in wire.body) == (path == RESPONSES)


def responses_answer(said):
    part_ = {"type": "output_text", "text": said, "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part_]}
    return {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "model": "m"}


@pytest.mark.parametrize("path", [CHAT, RESPONSES], ids=["chat", "responses"])
@pytest.mark.parametrize("hit", [False, True], ids=["clean", "marker"])
async def test_class_17_a_stream_to_a_plain_request(stage, path, hit):
    said = HALF if hit else ("All is ", "well.")
    if path == CHAT:
        events = [chunk({"role": "assistant", "content": said[0]}), chunk({"content": said[1]}), chunk(finish="stop")]
        asked = ask()
    else:
        events = [{"type": "response.completed", "response": responses_answer("".join(said))}]
        asked = {"model": "m", "input": "x"}
    wire, _, _ = await stage.ask(asked, streams(*map(event, events), event(b"[DONE]")), path)
    assert wire.status == (400 if hit else 200)
    assert MARKER.encode() not in wire.data
    assert HALF[0].encode() not in wire.data
    if not hit:
        assert b"All is well." in wire.body
        assert wire.headers["content-type"] == "application/json"


@BOTH
@pytest.mark.parametrize("path", [CHAT, RESPONSES, "/v1/embeddings"])
@pytest.mark.parametrize("status", ["400 Bad", "404 No", "418 Tea", "429 Slow", "500 Oops", "503 Down"])
async def test_class_17_and_20_the_words_of_an_upstreams_error_do_not_pass(stage, path, status, stream):
    """Errors echo prompts and hold model text: their words are ours, their numbers are the upstream's."""
    error = {"message": MARKER, "type": MARKER, "param": MARKER, "code": MARKER, "extra": MARKER}
    document = chat(stream=stream) if path == CHAT else {"model": "m", "input": "x", "stream": stream}
    if path == "/v1/embeddings":
        document.pop("stream")
    wire, _, _ = await stage.ask(document, sends(json.dumps({"error": error}).encode(), status=status), path, headers=b"x-stainless-retry-count: 1\r\n")  # fmt: skip
    assert wire.status == (502 if status.startswith("418") else int(status[:3]))
    assert MARKER.encode() not in wire.data
    assert set(wire.error) == {"message", "type", "param", "code"}


@BOTH
@pytest.mark.parametrize("media", [b"text/html", b"text/plain", b"application/octet-stream", b"audio/mpeg", b""])
async def test_class_17_an_answer_of_another_kind(stage, media, stream):
    wire, _, _ = await stage.ask(ask(stream=stream), sends(MARKER.encode(), media))
    assert wire.status == 502
    assert MARKER.encode() not in wire.data


async def test_class_18_only_a_verdict_releases_held_text(tmp_path):
    """Not keep-alives, not a full read of frames without text, not a client that has closed its sending half."""
    policy = "policy: j\nchecks: {tone: {use: judge, model: judge, at: output}}\n"
    released = []

    async def play(seen, writer):
        if seen.body["model"] == "judge":
            await asyncio.sleep(1)
            released.append(time.monotonic())
            await send_json(writer, plain_answer("NO"))
            return
        await begin_stream(writer)
        await send_part(writer, event(chunk({"content": "held text"})))
        for _ in range(200):
            await send_part(writer, b": keep-alive\n\n" + event(chunk({})))
        await send_part(writer, event(chunk(finish="stop")) + event(b"[DONE]"))
        await end_stream(writer)

    async with Fake(play) as fake:
        with Gateway(tmp_path, fake.house, policy) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read()
    assert wire.status == 200
    assert wire.first_byte >= released[0]
    assert b"held text" in wire.body


# --- checks and the call at the same time ----------------------------------------------------------

MANY = "policy: many\nchecks:\n" + "".join(
    f"  c{i}: {{use: judge, model: judge, at: input, question: 'q{i}'}}\n" for i in range(6)
)


@BOTH
async def test_class_23_every_check_that_is_configured_runs(stages, stream):
    asked = []

    async def play(seen, writer):
        if seen.body["model"] == "judge":
            asked.append(json.dumps(seen.body))
            await send_json(writer, plain_answer("NO"))
        else:
            await answers(plain_answer("fine"), [chunk({"content": "fine"}, "stop")])(seen, writer)

    with stages(MANY) as stage:
        wire, receipt, _ = await stage.ask(ask(new(), stream=stream), play)
    assert wire.status == 200
    assert sorted(c["check"] for c in receipt["checks"]) == [f"many.c{i}" for i in range(6)]
    assert all(c["verdict"] == "clear" and c["read"] for c in receipt["checks"])
    assert all(any(f"q{i}" in one for one in asked) for i in range(6))


@BOTH
async def test_class_24_the_first_block_ends_the_others(stages, stream):
    async def play(seen, writer):
        if "q3" in json.dumps(seen.body):
            await send_json(writer, plain_answer("YES"))
        else:
            await never()

    with stages(MANY) as stage:
        wire, receipt, seen = await stage.ask(ask(new(), stream=stream), play)
        assert wire.status == 400
        for one in seen:
            await one.wait_closed()
    verdicts = {c["check"]: c["verdict"] for c in receipt["checks"]}
    assert verdicts["many.c3"] == "hit"
    assert set(verdicts.values()) == {"hit", "dropped"}


@BOTH
async def test_class_26_an_answer_that_was_ready_is_not_delivered_and_its_usage_is_kept(stages, stream):
    usage = {**chunk(), "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}

    async def play(seen, writer):
        if seen.body["model"] == "judge":
            await until(lambda: [one for one in stage.seen if one.body["model"] == "m" and one.closed])
            await send_json(writer, plain_answer("YES"))
        else:
            chunks = [chunk({"content": "ready"}), chunk(finish="stop"), usage]
            await answers(plain_answer("ready"), chunks)(seen, writer)

    with stages("policy: j\nchecks: {harm: {use: judge, model: judge, at: input}}\n") as stage:
        wire, receipt, _ = await stage.ask(ask(new(), stream=stream), play)
    assert wire.status == 400
    assert b"ready" not in wire.data
    assert receipt["calls"][0]["usage"]["total_tokens"] in {3, 7}


@BOTH
async def test_class_27_a_client_that_leaves_during_the_checks_ends_everything(gateways, stream):
    async with Fake(never) as fake:
        with gateways(fake.house, MANY) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(new(), stream=stream))
                await until(lambda: len(fake.seen) == 7)
            for one in fake.seen:
                await one.wait_closed()
            receipts = await asyncio.to_thread(gateway.receipts)
    assert [r["decision"] for r in receipts] == ["left"]


@BOTH
async def test_class_28_a_tool_call_waits_for_its_verdict(gateways, stream):
    policy = "policy: j\nchecks: {tools: {use: judge, model: judge, at: tool_call}}\n"
    spoke = []
    made = {"index": 0, **call(f'{{"path": "/etc/passwd/{new()}"}}', "read_file")}

    async def play(seen, writer):
        if seen.body["model"] == "judge":
            await asyncio.sleep(0.4)
            spoke.append(time.monotonic())
            await send_json(writer, plain_answer("NO"))
            return
        document = plain_answer(None)
        document["choices"][0]["message"]["tool_calls"] = [made]
        chunks = [chunk({"role": "assistant", "content": "let me see"}), chunk({"tool_calls": [made]}), chunk(finish="tool_calls")]  # fmt: skip
        await answers(document, chunks)(seen, writer)

    async with Fake(play) as fake:
        with gateways(fake.house, policy) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=stream))
                await wire.read(until=b"read_file")
                assert time.monotonic() >= spoke[0]
                await wire.read()
    assert wire.status == 200


async def test_class_33_choices_are_bounded(stage):
    for path, fields in ((CHAT, {"n": 129}), (CHAT, {"n": 0}), ("/v1/completions", {"best_of": 129})):
        document = {**chat(), "prompt": "x", **fields}
        wire, _, seen = await stage.ask(document, nothing, path)
        assert (wire.status, wire.error["param"]) == (400, next(iter(fields)))
        assert not seen


@BOTH
async def test_class_34_the_receipt_says_what_each_check_read(stage, stream):
    document = chat({"role": "system", "content": "s"}, user("u"), stream=stream, metadata={"secret key": "v"})
    wire, receipt, _ = await stage.ask(document, answers(plain_answer("fine"), [chunk({"content": "fine"}, "stop")]))
    assert wire.status == 200
    read = {c["side"]: c["read"] for c in receipt["checks"]}
    assert {"messages[0].content", "messages[1].content", "metadata.*", "metadata<key>"} <= set(read["input"])
    assert any(path.endswith(".content") for path in read["output"])
    assert "secret" not in json.dumps(receipt)


async def test_class_34_nothing_to_read_is_said_so(tmp_path):
    policy = "policy: r\nchecks: {words: {use: keywords, words: [x], at: reasoning}}\n"
    with Stage(tmp_path, policy) as stage:
        _, receipt, _ = await stage.ask(ask(), answers(plain_answer("fine")))
    assert [(c["verdict"], c["read"]) for c in receipt["checks"]] == [("nothing to read", [])]
