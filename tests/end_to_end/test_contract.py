"""The OpenAI contract on the wire: everything passes as it came, in every shape that SSE allows, with the right headers."""

import asyncio
import base64
import gzip
import json
import random
import string

import pytest

from gateway.wire.forms import Upload, parse_form, render_form
from gateway.wire.padding import SIZE
from gateway.wire.responses import events
from tests.end_to_end.process import (
    Wire,
    ask,
    begin_stream,
    chunk,
    end_stream,
    event,
    plain_answer,
    send_json,
    send_part,
)
from tests.end_to_end.stage import Stage, answers, sends, streams
from tests.patience import until

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
POLICY = "policy: pass\nchecks: {words: {use: keywords, words: [NEVER-SAID]}}\n"
HOUSE = "models: {mine: {upstream: up, model: theirs}}\n"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    settings = {"cors_origins": "https://app.example", "compress_from": "2000"}
    with Stage(tmp_path_factory.mktemp("stage"), POLICY, HOUSE, **settings) as made:
        yield made


# --- everything passes as it came ------------------------------------------------------------------

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 12,
    "total_tokens": 21,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3, "accepted_prediction_tokens": 1},
    "x_cost": 0.000123456789012345678,
}
TOKEN = {"token": "Hé", "logprob": -0.31725305, "bytes": [72, 195, 169], "top_logprobs": [{"token": "Hé", "logprob": -0.3, "bytes": None}]}  # fmt: skip
FULL_MESSAGE = {
    "role": "assistant",
    "content": "Hé 🙂 \u2028 \\u0041",
    "refusal": None,
    "reasoning_content": "hm",
    "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}],
    "annotations": [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "url": "https://a.example", "title": "t"}}],
    "audio": {"id": "audio_1", "data": base64.b64encode(bytes(300)).decode(), "expires_at": 9007199254740993, "transcript": "Hé"},
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
    ],
    "function_call": {"name": "f", "arguments": "{}"},
    "x_vendor": {"deep": [None, True, 1e-7, 18446744073709551616, "v"]},
}  # fmt: skip
FULL_CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "theirs-2026",
    "choices": [
        {"index": i, "message": FULL_MESSAGE, "logprobs": {"content": [TOKEN], "refusal": None}, "finish_reason": "stop", "x_choice": [1]}
        for i in range(2)
    ],
    "usage": USAGE,
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
    "moderation": {"input": None, "output": None},
    "x_top": {"n": 123456789.123456789},
}  # fmt: skip
FULL_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1741476542,
    "status": "completed",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "model": "theirs-2026",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAA"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "u"}]}},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a": 1}', "status": "completed"},
        {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "n", "arguments": "{}", "output": "o", "error": None},
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": base64.b64encode(bytes(300)).decode()},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hé 🙂", "annotations": [{"type": "file_citation", "index": 1, "file_id": "f", "filename": "n"}], "logprobs": [TOKEN]},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"type": "x_new_item", "x": {"deep": [18446744073709551616]}},
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": "low", "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": {"input_tokens": 36, "output_tokens": 87, "total_tokens": 123, "output_tokens_details": {"reasoning_tokens": 0}},
    "user": None,
    "metadata": {},
    "x_top": 1e400,
}  # fmt: skip
PASSED = {
    CHAT: (ask(n=2), FULL_CHAT),
    RESPONSES: ({"model": "m", "input": "x"}, {**FULL_RESPONSE, "x_top": 12345678901234567890123}),
    "/v1/completions": (
        {"model": "m", "prompt": "x"},
        {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1,
            "model": "t",
            "choices": [
                {
                    "text": "Hé",
                    "index": 0,
                    "logprobs": {
                        "tokens": ["Hé"],
                        "token_logprobs": [-0.5],
                        "top_logprobs": [{"Hé": -0.5}],
                        "text_offset": [0],
                    },
                    "finish_reason": "length",
                }
            ],
            "usage": USAGE,
        },
    ),
    "/v1/embeddings": (
        {"model": "m", "input": ["x"]},
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": 0, "embedding": [0.0023064255, -1e-9]},
                {"object": "embedding", "index": 1, "embedding": base64.b64encode(bytes(range(256))).decode()},
            ],
            "model": "t",
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        },
    ),
    "/v1/moderations": (
        {"model": "m", "input": "NEVER-SAID"},
        {
            "id": "modr-1",
            "model": "t",
            "results": [
                {
                    "flagged": True,
                    "categories": {"violence": True},
                    "category_scores": {"violence": 0.9},
                    "category_applied_input_types": {"violence": ["text"]},
                }
            ],
        },
    ),
    "/v1/images/generations": (
        {"model": "m", "prompt": "x", "n": 2},
        {
            "created": 1,
            "data": [{"b64_json": "iVBORw0KGgo="}, {"url": "https://a.example/i.png", "revised_prompt": "y"}],
            "background": "opaque",
            "output_format": "png",
            "size": "1024x1024",
            "quality": "high",
            "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        },
    ),
}


@pytest.mark.parametrize("path", PASSED)
async def test_an_answer_with_every_field_filled_passes_field_by_field(stage, path):
    asked, answer = PASSED[path]
    wire, receipt, seen = await stage.ask(asked, answers(answer), path)
    assert wire.status == 200, wire.data
    assert json.loads(wire.body) == answer
    assert list(json.loads(wire.body)) == list(answer), "in the same order"
    assert seen[0].body == asked
    assert ("usage" in receipt["calls"][0]) == ("usage" in answer)


def chat_stream():
    message = {k: v for k, v in FULL_MESSAGE.items() if k != "tool_calls"}
    head = {k: v for k, v in FULL_CHAT.items() if k not in {"choices", "usage"}}
    head["object"] = "chat.completion.chunk"
    calls = [{"index": i, **c} for i, c in enumerate(FULL_MESSAGE["tool_calls"])]
    return [
        {**head, "choices": [{"index": 1, "delta": {**message, "content": "Hé"}, "logprobs": {"content": [TOKEN]}, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {"content": " 🙂"}, "finish_reason": None, "x_choice": 1.10}], "obfuscation": "aX9"},
        {**head, "choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": None}]},
        {**head, "choices": [{"index": i, "delta": {}, "finish_reason": "tool_calls"} for i in range(2)]},
        {**head, "choices": [], "usage": USAGE},
    ]  # fmt: skip


async def test_a_chat_stream_with_every_field_filled_passes_chunk_by_chunk(stage):
    chunks = chat_stream()
    wire, receipt, _ = await stage.ask(ask(stream=True, stream_options={"include_usage": True}), answers(None, chunks))
    assert [json.loads(e) for e in wire.events[:-1]] == chunks
    assert wire.events[-1] == b"[DONE]"
    assert receipt["calls"][0]["usage"]["total_tokens"] == 21


@pytest.mark.parametrize("texts", [[" a", " b", " c"] * 4, [" a", '\n"b"', "é"] * 4], ids=["plain", "escaped"])
async def test_padding_of_a_stream_is_made_anew(stage, texts):
    """What the upstream pads with reaches nobody; each event still has one of a few sizes."""
    head = {key: FULL_CHAT[key] for key in ("id", "created", "model")}
    deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts), {}]
    sent = [
        {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}], "obfuscation": f"SECRET{number}"}
        for number, delta in enumerate(deltas)
    ]  # fmt: skip
    parts = [b"data: %s\n\n" % json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode() for one in sent]
    for chunks in (parts, [b"".join(parts)]):
        wire, _, _ = await stage.ask(ask(stream=True), answers(None, chunks))
        assert b"SECRET" not in wire.body
        got = [json.loads(one) for one in wire.events[:-1]]
        assert [{**one, "obfuscation": ""} for one in got] == [{**one, "obfuscation": ""} for one in sent]
        assert {len(one) % SIZE for one in wire.events[:-1]} == {0}


def typed_events(wire):
    told = []
    for block in wire.body.decode().split("\n\n"):
        if block:
            name, data = block.split("\n")
            told.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {told[-1]['type']}"
    return told


@pytest.mark.parametrize("named", [True, False], ids=["named", "nameless"])
async def test_a_responses_stream_passes_event_by_event(stage, named):
    response = {**FULL_RESPONSE, "x_top": 1}
    told = events(response, pieces=3)
    told.insert(3, {"type": "response.something.new", "sequence_number": 99, "x": {"deep": "v"}})
    parts = [(f"event: {e['type']}\n".encode() if named else b"") + event(e) for e in told]
    wire, receipt, _ = await stage.ask({"model": "m", "input": "x", "stream": True}, streams(*parts), RESPONSES)
    assert wire.status == 200
    assert typed_events(wire) == told
    assert b"[DONE]" not in wire.body
    assert receipt["calls"][0]["usage"]["total_tokens"] == 123


async def test_what_is_asked_reaches_the_upstream_unchanged(stage):
    asked = {
        **ask("Hé 🙂", seed=9007199254740993, temperature=1.10, logit_bias={"50256": -100}, top_k=5),
        "chat_template_kwargs": {"enable_thinking": False},
        "x": [18446744073709551616, 1e-7, None],
        "model": "mine",
    }
    _, _, seen = await stage.ask(asked, answers(plain_answer()))
    assert seen[0].body == {**asked, "model": "theirs"}
    assert b"9007199254740993" in seen[0].data
    assert b"18446744073709551616" in seen[0].data


# --- audio and forms --------------------------------------------------------------------------------


async def test_speech_passes_as_it_comes(stage):
    sound = random.Random(1).randbytes(200_000)
    wire, receipt, seen = await stage.ask({"model": "m", "input": "x", "voice": "v"}, sends(sound, b"audio/mpeg"), "/v1/audio/speech")  # fmt: skip
    assert wire.status == 200
    assert wire.headers["content-type"] == "audio/mpeg"
    assert wire.body == sound
    assert receipt["not_read"] == ["audio"]
    assert seen[0].body == {"model": "m", "input": "x", "voice": "v"}


async def test_speech_that_breaks_off_is_visibly_cut(stage):
    async def cut(_seen, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 1000\r\n\r\n" + bytes(500))
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.transport.abort()

    async with Wire(stage.port) as wire:
        stage.plays(cut)
        await wire.post({"model": "m", "input": "x", "voice": "v"}, "/v1/audio/speech")
        try:
            await wire.read()
        except ConnectionError:
            pass
    assert not wire.data.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("media", [b"text/plain; charset=utf-8", b"text/vtt", b"application/x-subrip"])
async def test_a_transcript_as_text_passes(stage, media):
    document = {"file": Upload("a.mp3", "audio/mpeg", b"\xff\xfb\x00"), "model": "mine", "response_format": "vtt"}
    kind, body = render_form({**document, "timestamp_granularities": ["word", "segment"]})
    wire, _, seen = await stage.ask(body, sends("WEBVTT\n\nHé".encode(), media), "/v1/audio/transcriptions", content_type=kind.encode())  # fmt: skip
    assert wire.status == 200
    assert wire.body.decode() == "WEBVTT\n\nHé"
    head = seen[0].head.decode().lower()
    kind = head.partition("content-type: ")[2].partition("\r\n")[0]
    sent = parse_form(seen[0].data, kind)
    assert sent == {**document, "model": "theirs", "timestamp_granularities": ["word", "segment"]}


async def test_a_transcript_that_says_what_is_forbidden_is_blocked(stage):
    kind, body = render_form({"file": Upload("a.mp3", "audio/mpeg", b"\xff\xfb\x00"), "model": "m"})
    for status, script in (
        (400, sends(b"it is NEVER-SAID", b"text/plain")),
        (400, sends(b'{"text": "it is NEVER-SAID"}')),
        (
            502,
            streams(
                event({"type": "transcript.text.delta", "delta": "NEVER-"}),
                event({"type": "transcript.text.delta", "delta": "SAID"}),
                event({"type": "transcript.text.done", "text": "NEVER-SAID"}),
            ),
        ),
    ):
        wire, _, _ = await stage.ask(body, script, "/v1/audio/transcriptions", content_type=kind.encode())
        assert wire.status == status
        assert b"NEVER" not in wire.data


# --- event streams in every legal shape ---------------------------------------------------------------

DONE = b"data: [DONE]\n\n"
STREAM = b"".join(event(json.dumps(c, ensure_ascii=False).encode()) for c in chat_stream())


def crlf(data):
    return data.replace(b"\n", b"\r\n")


SHAPES = {
    "as usual": [STREAM + DONE],
    "CRLF": [crlf(STREAM + DONE)],
    "CR": [(STREAM + DONE).replace(b"\n", b"\r")],
    "comments and blank lines": [b": hi\n\n\n\n" + STREAM.replace(b"data: ", b": keep-alive\ndata: ") + b"\n\n" + DONE],
    "no space": [STREAM.replace(b"data: ", b"data:") + DONE],
    "id, retry, event": [STREAM.replace(b"data: ", b"id: 1\nretry: 5\nevent: message\ndata: ") + DONE],
    "unknown event names": [b"event: ping\ndata:\n\n" + STREAM.replace(b"data: ", b"event: completion\ndata: ") + DONE],
    "byte order mark": [b"\xef\xbb\xbf" + STREAM + DONE],
    "one byte at a time": [(STREAM + DONE)[i : i + 1] for i in range(len(STREAM + DONE))],
    "no DONE": [STREAM],
    "no last blank line": [(STREAM + DONE).rstrip(b"\n")],
    "DONE with spaces": [STREAM + b"data:  [DONE] \n\n"],
    "something after DONE": [STREAM + DONE + b'data: {"x": 1}\n\n'],
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_legal_shape_of_a_stream_comes_out_in_one(stage, shape):
    wire, _, _ = await stage.ask(ask(stream=True, stream_options={"include_usage": True}), streams(*SHAPES[shape]))
    assert wire.status == 200
    assert [json.loads(e) for e in wire.events[:-1]] == chat_stream()
    assert wire.body.startswith(b"data: {")
    assert wire.body.endswith(b"\n\ndata: [DONE]\n\n")
    assert b"\r" not in wire.body.replace(b"\\r", b"")


async def test_done_without_a_reason_to_end_is_not_an_end(stage):
    wire, _, _ = await stage.ask(ask(stream=True), streams(event(chunk({"content": "half"})) + DONE))
    assert (wire.status, wire.error["code"]) == (502, "upstream_cut")


async def test_a_block_in_mid_stream_of_responses_is_a_failed_response(tmp_path):
    policy = "policy: w\nchecks: {words: {use: keywords, words: [FORBIDDEN], at: output, stream: after}}\n"
    response = {**FULL_RESPONSE, "x_top": 1}
    response["output"] = [
        {**response["output"][5], "content": [{"type": "output_text", "text": "it is FORBIDDEN", "annotations": []}]}
    ]
    heard = []

    async def play(_seen, writer):
        await begin_stream(writer)
        for number, one in enumerate(events(response)):
            if number == 1:  # what comes together with the first is judged together with it
                await until(lambda: heard)
            await send_part(writer, event(one))
        await end_stream(writer)

    with Stage(tmp_path, policy) as stage:
        stage.plays(play)
        async with Wire(stage.port) as wire:
            await wire.post({"model": "m", "input": "x", "stream": True}, RESPONSES)
            await wire.read(b"response.created")
            heard.append(True)
            await wire.read()
    told = typed_events(wire)
    assert told[-1]["type"] == "response.failed"
    assert told[-1]["response"]["error"]["code"] == "content_filter"
    assert told[-1]["response"]["id"] == "resp_1"
    assert [e["sequence_number"] for e in told] == list(range(len(told)))


@pytest.mark.parametrize("way", ["message", "refusal"])
@BOTH
@pytest.mark.parametrize("path", [RESPONSES, "/v1/completions", "/v1/embeddings"])
async def test_a_block_can_be_an_answer_where_there_is_such_an_answer(stages, path, way, stream):
    policy = f"policy: soft\nblock_as: {way}\nrefusal: Not this.\nchecks: {{w: {{use: keywords, words: [bomb], at: input}}}}\n"
    fields = {"prompt": "a bomb"} if path == "/v1/completions" else {"input": "a bomb"}
    if path != "/v1/embeddings":
        fields["stream"] = stream
    with stages(policy) as stage:
        wire, _, seen = await stage.ask({"model": "m", **fields}, path=path)
    assert not seen
    if path == "/v1/embeddings":
        assert (wire.status, wire.error["param"]) == (400, "input")
        return
    assert wire.status == 200
    assert b"Not this." in wire.body
    if path == RESPONSES:
        last = typed_events(wire)[-1]["response"] if stream else json.loads(wire.body)
        assert last["status"] == ("incomplete" if way == "message" else "completed")


# --- headers -------------------------------------------------------------------------------------------


@BOTH
async def test_limits_and_the_request_id_of_the_upstream_are_told(stage, stream):
    theirs = (
        b"x-request-id: req_theirs\r\nx-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-tokens: 149984\r\n"
        b"x-ratelimit-reset-tokens: 6m0s\r\nx-ratelimit-reset-requests: soon\r\nopenai-processing-ms: 123\r\n"
        b"set-cookie: a=b\r\nserver: secret\r\nx-internal-host: db1\r\nopenai-organization: org\r\n"
    )
    script = answers(plain_answer(), [chunk({"content": "x"}, "stop")], headers=theirs)
    wire, receipt, _ = await stage.ask(ask(stream=stream), script)
    assert wire.headers["x-request-id"] == receipt["id"]
    assert wire.headers["x-outrider-upstream-id"] == "req_theirs"
    assert wire.headers["x-ratelimit-limit-requests"] == "60"
    assert wire.headers["x-ratelimit-remaining-tokens"] == "149984"
    assert wire.headers["x-ratelimit-reset-tokens"] == "6m0s"
    assert wire.headers["openai-processing-ms"] == "123"
    assert wire.headers["server"] == "outrider"
    assert not {"x-ratelimit-reset-requests", "set-cookie", "x-internal-host", "openai-organization"} & set(wire.headers)  # fmt: skip


async def test_only_declared_headers_reach_the_upstream(stage):
    ours = (
        b"idempotency-key: k1\r\nx-client-request-id: c1\r\ntraceparent: 00-a-b-01\r\nopenai-beta: v2\r\n"
        b"authorization: Bearer sk-client\r\ncookie: a=b\r\nx-forwarded-for: 1.2.3.4\r\nx-outrider-id: mine\r\n"
        b"te: trailers\r\nx-custom: 1\r\nopenai-organization: org\r\n"
    )
    wire, receipt, seen = await stage.ask(ask(), answers(plain_answer()), headers=ours)
    head = seen[0].head.decode().lower()
    for name in ("idempotency-key: k1", "x-client-request-id: c1", "traceparent: 00-a-b-01", "openai-beta: v2"):
        assert name in head
    for word in ("sk-client", "cookie", "forwarded", "outrider-id", "trailers", "x-custom", "openai-organization"):
        assert word not in head
    assert receipt["id"] != "mine"
    assert wire.headers["x-outrider-id"] == receipt["id"]


@pytest.mark.parametrize("kind", ["answer", "stream", "error", "unserved", "preflight"])
@pytest.mark.parametrize("origin", ["https://app.example", "https://evil.example"])
async def test_web_pages_of_named_origins_may_call(stage, kind, origin):
    headers = f"origin: {origin}\r\n".encode()
    script = answers(plain_answer(), [chunk({"content": "x"}, "stop")])
    if kind == "preflight":
        async with Wire(stage.port) as wire:
            await wire.send(b"OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + headers + b"access-control-request-method: POST\r\n\r\n")  # fmt: skip
            await wire.read()
    else:
        document = {"answer": ask(), "stream": ask(stream=True), "error": {}, "unserved": ask()}[kind]
        path = "/v1/nothing" if kind == "unserved" else CHAT
        wire, _, _ = await stage.ask(document, script, path, headers=headers)
    allowed = wire.headers.get("access-control-allow-origin")
    assert allowed == (origin if "app" in origin else None)
    if kind == "preflight":
        assert wire.status == (204 if allowed else 405)
    if allowed:
        assert "x-request-id" in wire.headers["access-control-expose-headers"]
        assert wire.headers["vary"] == "origin"


@pytest.mark.parametrize(("accept", "zipped"), [(b"gzip, deflate", True), (b"identity", False), (b"gzip;q=0", False), (b"", False)])  # fmt: skip
async def test_a_large_plain_answer_is_compressed_where_the_client_takes_it(stage, accept, zipped):
    long = plain_answer("word " * 1000)
    header = b"accept-encoding: " + accept + b"\r\n" if accept else b""
    wire, _, _ = await stage.ask(ask(), answers(long), headers=header)
    assert (wire.headers.get("content-encoding") == "gzip") is zipped
    assert json.loads(gzip.decompress(wire.body) if zipped else wire.body) == long
    wire, _, _ = await stage.ask(ask(stream=True), answers(None, [chunk({"content": "word " * 1000}, "stop")]), headers=header)  # fmt: skip
    assert "content-encoding" not in wire.headers


# --- models and moderations -----------------------------------------------------------------------------


async def get(stage, path, script):
    stage.plays(script)
    async with Wire(stage.port) as wire:
        await wire.send(b"GET %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % path.encode())
        await wire.read()
    return wire


LISTED = {"object": "list", "data": [{"id": "Qwen/Q3-8B", "object": "model", "created": 5, "owned_by": "q", "max_model_len": 9}, {"id": "mine", "object": "model"}]}  # fmt: skip


async def test_models_are_the_houses_own_and_the_default_upstreams(stage):
    wire = await get(stage, "/v1/models", answers(LISTED))
    assert [m["id"] for m in json.loads(wire.body)["data"]] == ["mine", "Qwen/Q3-8B"]
    for path in ("/v1/models/Qwen/Q3-8B", "/v1/models/Qwen%2FQ3-8B", "/models/Qwen/Q3-8B"):
        wire = await get(stage, path, answers(LISTED))
        assert json.loads(wire.body) == LISTED["data"][0]
    wire = await get(stage, "/v1/models/mine", sends(b"never asked", status="500 No"))
    assert json.loads(wire.body)["owned_by"] == "outrider"
    for path, status in (("/v1/models/none", 404), ("/v1/models/a%20b", 404), ("/v1/models/%ff", 404), ("/v1/models/../chat", 404)):  # fmt: skip
        wire = await get(stage, path, answers(LISTED))
        assert (wire.status, wire.error["type"]) == (status, "invalid_request_error"), path


async def test_a_model_list_is_checked_like_any_answer(stage):
    for document in ({**LISTED, "x": "NEVER-SAID"}, {"data": [{"id": "NEVER-SAID"}]}):
        wire = await get(stage, "/v1/models", answers(document))
        assert wire.status == 400
        assert b"NEVER" not in wire.data


async def test_moderation_by_our_own_policies(tmp_path):
    policy = """
policy: house
for: {endpoints: [chat]}
checks:
  words: {use: keywords, words: [bomb], at: input}
  harm: {use: judge, model: judge, at: output}
"""

    async def play(seen, writer):
        said = json.dumps(seen.body)
        await send_json(writer, plain_answer("YES" if "poison" in said else "maybe" if "odd" in said else "NO"))

    with Stage(tmp_path, policy) as stage:
        asked = {"model": "outrider/house", "input": ["a bomb", "poison", "fine", "odd"]}
        wire, receipt, _ = await stage.ask(asked, play, "/v1/moderations")
        results = json.loads(wire.body)["results"]
        assert [r["flagged"] for r in results] == [True, True, False, True]
        assert [r["categories"]["words"] for r in results] == [True, False, False, False]
        assert [r["categories"]["harm"] for r in results] == [False, True, False, True], "a check that fails is a no"
        assert results[2]["categories"]["violence"] is False
        assert receipt["policies"][0].startswith("house@")
        assert len(receipt["checks"]) == 8
        parts = [{"type": "text", "text": "a bo"}, {"type": "text", "text": "mb"}, {"type": "image_url", "image_url": {"url": "https://a.example"}}]  # fmt: skip
        wire, _, _ = await stage.ask({"model": "outrider/house", "input": parts}, play, "/v1/moderations")
        assert len(json.loads(wire.body)["results"]) == 1
        wire, _, seen = await stage.ask({"model": "outrider/huose", "input": "x"}, play, "/v1/moderations")
        assert wire.status == 404
        assert "did you mean 'house'" in wire.error["message"]
        assert not seen


async def test_what_is_to_be_moderated_may_hold_anything_unless_a_policy_names_the_endpoint(stage, tmp_path):
    asked, answer = PASSED["/v1/moderations"]
    wire, _, seen = await stage.ask(asked, answers(answer), "/v1/moderations")
    assert (wire.status, len(seen)) == (200, 1)
    policy = POLICY.replace("checks:", "for: {endpoints: [moderations]}\nchecks:")
    with Stage(tmp_path, policy) as strict:
        wire, _, seen = await strict.ask(asked, answers(answer), "/v1/moderations")
        assert (wire.status, len(seen)) == (400, 0)


# --- a fuzz of the process -------------------------------------------------------------------------------

SEEDS = [
    (CHAT, ask("hello", tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])),
    (CHAT, ask("hello", stream=True, stream_options={"include_usage": True})),
    (RESPONSES, {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}),
    (RESPONSES, {"model": "m", "input": "x", "stream": True}),
    ("/v1/completions", {"model": "m", "prompt": ["x"], "n": 1}),
    ("/v1/embeddings", {"model": "m", "input": [[1, 2], "x"]}),
    ("/v1/moderations", {"model": "outrider/pass", "input": ["x", "y"]}),
    ("/v1/images/generations", {"model": "m", "prompt": "x"}),
    ("/v1/audio/speech", {"model": "m", "input": "x", "voice": "v"}),
]
VALUES = [None, True, 0, -1, 1e308, 2**70, "", "x" * 5000, "\x00\x1b[31m", "é🙂", [], {}, [[]], [None], {"": None}, {"a": {"b": [1]}}]  # fmt: skip


def mutated(document, chance):
    """A copy with one value replaced, removed, doubled or nested."""
    document = json.loads(json.dumps(document))
    nodes = [(document, key) for key in document]
    for parent, key in nodes:
        value = parent[key]
        children = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        nodes += [(value, child) for child in children]
    parent, key = chance.choice(nodes)
    match chance.randrange(5):
        case 0:
            parent[key] = chance.choice(VALUES)
        case 1:
            del parent[key]
        case 2:
            parent[key] = [parent[key], parent[key]]
        case 3:
            parent[key] = {"text": parent[key]}
        case _:
            document["".join(chance.choices(string.printable, k=5))] = chance.choice(VALUES)
    return document


def torn(body, chance):
    """Bytes with a few of them changed, cut or doubled."""
    data = bytearray(body)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randrange(1, 9)]
            case _:
                data[place:place] = data[place : place + 9]
        if not data:
            return b"x"
    return bytes(data)


@pytest.mark.parametrize("seed", range(6))
async def test_no_body_gives_a_500_a_hang_or_a_traceback(stage, seed):
    chance = random.Random(seed)
    stage.plays(answers(plain_answer(), [chunk({"content": "x"}, "stop")]))
    for _ in range(60):
        path, document = chance.choice(SEEDS)
        body = json.dumps(mutated(document, chance)).encode()
        if chance.random() < 0.4:
            body = torn(body, chance)
        async with Wire(stage.port) as wire:
            await wire.post(body, path)
            await wire.read()
        assert wire.status in {200, 400, 404, 413, 415, 502}, (path, body, wire.data)
        if wire.status != 200:
            assert set(wire.error) >= {"message", "type", "param", "code"}, wire.data
    assert "Traceback" not in stage.log
    assert "request_failed" not in stage.log
    assert "pump_failed" not in stage.log


@pytest.mark.parametrize("seed", range(6))
async def test_no_answer_of_an_upstream_gives_a_500_a_hang_or_a_traceback(stage, seed):
    chance = random.Random(1000 + seed)
    documents = [json.loads(json.dumps(answer)) for _, answer in PASSED.values()] + chat_stream() + events({**FULL_RESPONSE, "x_top": 1})  # fmt: skip
    for _ in range(40):
        path, document = chance.choice(SEEDS[:7])
        body = json.dumps(mutated(chance.choice(documents), chance)).encode()
        if chance.random() < 0.3:
            body = torn(body, chance)
        said = [sends(body), streams(b"data: " + body.replace(b"\n", b"") + b"\n\n"), streams(body)]
        stage.plays(chance.choice(said))
        async with Wire(stage.port) as wire:
            await wire.post(document, path)
            await wire.read()
        assert wire.status in {200, 400, 404, 502}, (path, body, wire.data)
    assert "Traceback" not in stage.log
    assert "pump_failed" not in stage.log
