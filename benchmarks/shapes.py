"""CPU of a request by the shape of its question or answer: what is cheap in one shape may be dear in another.

    python benchmarks/shapes.py [--seconds 1] [--only NAME]

Each shape is asked for over 4 connections, with the policy of `compare` (secrets and words on both sides), and in turn of
the plain proxy of `compare`, which serves chat completions only. Loopback only.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).with_name("compare")))
from load import NUMBER, WORDS, Load
from stand import BASELINE, LOAD_CORE, Stand, floor, free_port, on_cpu, outrider

CHUNKS = 100
CLIENTS = 4
chance = random.Random(1)
TOKENS = [f" {word}" for word in chance.choices(WORDS.split(), k=CHUNKS)]


def prose(words: int) -> str:
    return " ".join(chance.choices(WORDS.split(), k=words))


def as_python_writes(document: Any) -> bytes:
    """With spaces and escapes, as `json.dumps` does by itself, and with it many clients and servers."""
    return json.dumps(document).encode()


def as_people_read(document: Any) -> bytes:
    """In lines, as OpenAI spells a plain answer."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode()


# --- answers ----------------------------------------------------------------------------------


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **more}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def spelt(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -chance.random(), "bytes": list(token.encode())}


def logprobs(token: str) -> dict[str, Any]:
    others = [spelt(other) for other in chance.sample(TOKENS, 5)]
    return {"content": [{**spelt(token), "top_logprobs": others}], "refusal": None}


def calls(arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}


ARGUMENTS = json.dumps({"path": "src/a.py", "lines": [prose(6) for _ in range(16)]})
ACCENTED = [token.replace("a", "\u00e4") for token in TOKENS]
STREAMS: dict[str, list[dict[str, Any]]] = {
    "text": [chunk({"content": token}) for token in TOKENS],
    "text with line breaks": [chunk({"content": token + "\n"}) for token in TOKENS],
    "text in Python's spelling": [chunk({"content": token}) for token in TOKENS],
    "accented text in Python's spelling": [chunk({"content": token}) for token in ACCENTED],
    "padded text": [{**chunk({"content": token}), "obfuscation": f"{chance.getrandbits(32):08x}"} for token in TOKENS],
    "text as OpenAI sends it": [
        {**chunk({"content": token}), "usage": None, "obfuscation": f"{chance.getrandbits(32):08x}"} for token in TOKENS
    ],
    "reasoning": [chunk({"reasoning_content": token}) for token in TOKENS],
    "arguments of a call": [chunk(calls(ARGUMENTS[at : at + 6])) for at in range(0, 6 * CHUNKS, 6)],
    "usage in each chunk": [
        {**chunk({"content": token}), "usage": {"total_tokens": at}} for at, token in enumerate(TOKENS)
    ],
    "two choices": [chunk({"content": token}, index=at % 2) for at, token in enumerate(TOKENS)],
    "log probabilities": [chunk({"content": token}, logprobs=logprobs(token)) for token in TOKENS],
}


def responses() -> list[dict[str, Any]]:
    """The events of a response that says all tokens, padded as OpenAI pads them."""
    said = {"type": "output_text", "text": "".join(TOKENS), "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [said]}
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        *[
            {
                "type": "response.output_text.delta",
                **place,
                "delta": token,
                "obfuscation": f"{chance.getrandbits(32):08x}",
            }
            for token in TOKENS
        ],
        {"type": "response.output_text.done", **place, "text": said["text"]},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**response, "status": "completed", "output": [item]}},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def embeddings(count: int, one: Callable[[], Any]) -> bytes:
    data = [{"object": "embedding", "index": number, "embedding": one()} for number in range(count)]
    return orjson.dumps(
        {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    )


def encoded(size: int) -> str:
    return base64.b64encode(chance.randbytes(size)).decode()


def serve(port: int) -> None:
    """The upstream: the shape that the name of the model asks for."""
    end = chunk({}, finish_reason="stop")
    streams = {
        name: b"".join(b"data: %s\n\n" % spelling(name)(one) for one in [*chunks, end]) + b"data: [DONE]\n\n"
        for name, chunks in STREAMS.items()
    }
    streams["responses"] = b"".join(
        b"event: %s\ndata: %s\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in responses()
    )
    answer = {"role": "assistant", "content": prose(100), "refusal": None}
    choice = {"index": 0, "message": answer, "logprobs": None, "finish_reason": "stop"}
    plain = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    answers = {
        "20 embeddings": embeddings(20, lambda: [chance.uniform(-1, 1) for _ in range(1536)]),
        "100 embeddings in base64": embeddings(100, lambda: encoded(6144)),
        "in lines": as_people_read(plain),
        "in Python's spelling": as_python_writes(plain),
        "an image of 2 MB": orjson.dumps({"created": 1, "data": [{"b64_json": encoded(1_500_000)}]}),
    }

    async def answered(request: web.BaseRequest) -> web.Response:
        if request.method == "GET":
            return web.Response(text="ok")
        name = orjson.loads(await request.read())["model"]
        if name in streams:
            return web.Response(body=streams[name], content_type="text/event-stream")
        return web.Response(body=answers.get(name) or orjson.dumps(plain), content_type="application/json")

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", answered)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


def spelling(name: str) -> Callable[[Any], bytes]:
    return as_python_writes if "Python's spelling" in name else orjson.dumps


# --- questions --------------------------------------------------------------------------------


def tool(number: int) -> dict[str, Any]:
    fields = {f"field_{at}": {"type": "string", "description": prose(12)} for at in range(6)}
    function = {
        "name": f"tool_{number}",
        "description": prose(40),
        "parameters": {"type": "object", "properties": fields},
    }
    return {"type": "function", "function": function}


def turns(count: int) -> list[dict[str, Any]]:
    """Calls of tools and what they answered: JSON in strings, with numbers in it."""
    messages: list[dict[str, Any]] = []
    for number in range(count):
        asked = {"name": f"tool_{number}", "arguments": json.dumps({"path": "src/a.py", "text": prose(20)})}
        told = [{"name": prose(1), "value": chance.random(), "text": prose(12)} for _ in range(15)]
        messages.append(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"call_{number}", "type": "function", "function": asked}],
            }
        )
        messages.append({"role": "tool", "tool_call_id": f"call_{number}", "content": json.dumps(told)})
    return messages


USER = {"role": "user", "content": NUMBER.decode() + prose(60)}
IMAGE = [
    {"type": "text", "text": USER["content"]},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(750_000)}"}},
]
LONG = {"role": "user", "content": NUMBER.decode() + prose(35_000)}
TURNS = [{"role": role, "content": prose(80)} for _ in range(100) for role in ("user", "assistant")] + [USER]
QUESTIONS: dict[str, dict[str, Any]] = {
    "a question": {"messages": [USER]},
    "a question in Python's spelling": {"messages": [USER]},
    "200 KB": {"messages": [LONG]},
    "200 KB in Python's spelling": {"messages": [LONG]},
    "200 turns": {"messages": TURNS},
    "200 turns in Python's spelling": {"messages": TURNS},
    "40 tools": {"messages": [USER], "tools": [tool(number) for number in range(40)]},
    "20 turns with tools": {"messages": [USER, *turns(20)]},
    "an image of 1 MB": {"messages": [{"role": "user", "content": IMAGE}]},
}
CHAT = "/v1/chat/completions"


def cases() -> dict[str, tuple[str, dict[str, Any]]]:
    """By the name of a shape: path and body."""
    question = {"messages": [USER]}
    return {
        **{f"asked: {name}": (CHAT, {"model": "plain", **body}) for name, body in QUESTIONS.items()},
        **{f"streamed: {name}": (CHAT, {"model": name, "stream": True, **question}) for name in STREAMS},
        "streamed: responses": ("/v1/responses", {"model": "responses", "stream": True, "input": USER["content"]}),
        **{f"answered: {name}": (CHAT, {"model": name, **question}) for name in ("in lines", "in Python's spelling")},
        **{
            f"answered: {name}": ("/v1/embeddings", {"model": name, "input": [USER["content"]]})
            for name in ("20 embeddings", "100 embeddings in base64")
        },
        "answered: an image of 2 MB": (
            "/v1/images/generations",
            {"model": "an image of 2 MB", "prompt": USER["content"]},
        ),
    }


async def load(url: str, name: str, seconds: float) -> None:
    """One run, in a process of its own."""
    path, body = cases()[name]
    one = Load(url + path, body, [], {200}, spelling(name))
    await one.closed(CLIENTS, seconds)
    sys.stdout.buffer.write(
        orjson.dumps({"answers": len(one.times), "wrong": one.wrong.get(0, 0) + sum(one.wrong.values())})
    )


def asked(url: str, name: str, seconds: float) -> int:
    words = [sys.executable, __file__, "--load", url, name, str(seconds)]
    ran = subprocess.run(["taskset", "-c", str(LOAD_CORE), *words], capture_output=True, check=True, timeout=60)
    told = orjson.loads(ran.stdout)
    assert told["answers"], (name, told)
    assert not told["wrong"], (name, told)
    return int(told["answers"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="", help="shapes that have this in their name")
    parser.add_argument("--policy", type=Path, help="the file of another policy")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--load", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    if args.load:
        uvloop.run(load(args.load[0], args.load[1], float(args.load[2])))
        return
    print("| shape | floor, us | Outrider, us | to the floor | of it a chunk |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="outrider-shapes-") as folder:
        stand = Stand(Path(folder))
        try:
            port = free_port()
            stand.start_upstream([__file__, "--serve", str(port)], port)
            gateways = [
                floor("floor", set()),
                outrider("Outrider", set(), args.policy.read_text() if args.policy else BASELINE),
            ]
            for gateway in gateways:
                stand.start(gateway)
            for name, (path, _) in cases().items():
                if args.only not in name:
                    continue
                took = []
                for gateway in gateways:
                    if path != CHAT and gateway.name == "floor":
                        continue
                    asked(gateway.url, name, 0.3)
                    before = on_cpu(gateway)
                    count = asked(gateway.url, name, args.seconds)
                    took.append(1e6 * (on_cpu(gateway) - before) / count)
                least, ratio = (f"{took[0]:,.0f}", f"{took[1] / took[0]:.1f}") if len(took) > 1 else ("", "")
                each = f"{took[-1] / CHUNKS:.0f}" if name.startswith("streamed") else ""
                print(f"| {name} | {least} | {took[-1]:,.0f} | {ratio} | {each} |", flush=True)
        finally:
            stand.close()


if __name__ == "__main__":
    main()
