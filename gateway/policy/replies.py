"""The reply of a test: as an answer at once, and as a stream that is cut wherever one may be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from gateway.core.terms import Call, Delta, Document
from gateway.policy.model import Reply
from gateway.wire.endpoints import CHAT

MOST_SPLITS = 400
FIELDS = ("reasoning_content", "content", "refusal")
Part = tuple[str, str]  # the channel, its text


def ways(reply: Reply, *, cut: bool) -> Iterator[tuple[bool, list[Document], str]]:
    """Whether it is streamed, the message or the deltas, and how one would say it."""
    parts = _parts(reply)
    yield False, [_message(reply)], "plain"
    yield True, _deltas(reply, parts), "streamed"
    if not cut:
        return
    yield (
        True,
        _deltas(reply, [(channel, one) for channel, text in parts for one in text or [""]]),
        ("streamed, every character by itself"),
    )
    for number, (channel, text) in enumerate(parts):
        for place in itertools.islice(range(1, len(text)), MOST_SPLITS):
            cut_here = [*parts[:number], (channel, text[:place]), (channel, text[place:]), *parts[number + 1 :]]
            where = f"{_spoken(reply, channel)}cut after {text[:place][-12:]!r}"
            yield True, _deltas(reply, cut_here), f"streamed, {where}"


def _parts(reply: Reply) -> list[Part]:
    """Every text of the reply, by its channel; a call's is its arguments."""
    told = [(name, text) for name in FIELDS if (text := getattr(reply, name)) is not None]
    calls = [(f"call {number}", call.called["arguments"]) for number, call in enumerate(reply.tool_calls)]
    return told + calls


def _spoken(reply: Reply, channel: str) -> str:
    if not channel.startswith("call "):
        return "" if channel == "content" else f"{channel.partition('_')[0]} "
    return f"arguments of '{reply.tool_calls[int(channel[5:])].called['name']}' "


def _message(reply: Reply) -> Document:
    told: Document = {"role": "assistant", "content": reply.content}
    told |= {name: text for name in FIELDS if (text := getattr(reply, name)) is not None}
    if reply.tool_calls:
        told["tool_calls"] = [_call(reply, number) for number in range(len(reply.tool_calls))]
    return told


def _call(reply: Reply, number: int) -> Document:
    call = reply.tool_calls[number]
    return {"id": call.id or f"call_{number}", "type": "function", "function": call.called}


def _deltas(reply: Reply, parts: Sequence[Part]) -> list[Document]:
    """A call comes with its name and the first piece of its arguments, then with further pieces."""
    begun: set[str] = set()
    deltas: list[Document] = []
    for channel, text in parts:
        if not channel.startswith("call "):
            deltas.append({channel: text})
            continue
        number = int(channel[5:])
        call = _call(reply, number)
        first = {**call, "function": {**call["function"], "arguments": text}}
        piece = first if channel not in begun else {"function": {"arguments": text}}
        deltas.append({"tool_calls": [{"index": number, **piece}]})
        begun.add(channel)
    return deltas


def read(told: Sequence[Document], call: Call, *, stream: bool) -> Iterator[Delta]:
    """The message, or the deltas, as the gateway reads them from an upstream."""
    reader = CHAT.reader(call.document, stream=stream)
    reader.rewritable = True
    head: Document = {"id": "test", "created": 1, "model": "test"}
    ends = "tool_calls" if any("tool_calls" in one for one in told) else "stop"
    body = "delta" if stream else "message"
    for one in told:
        choice = {"index": 0, body: one, "finish_reason": None if stream else ends}
        yield reader.delta({**head, "choices": [choice]})
    if stream:
        yield reader.delta({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": ends}]})
    if closing := reader.closing():
        yield Delta(None, closing)


def said_in(frame: Document) -> Iterator[Part]:
    """What a frame says to the client, by channel."""
    for choice in frame["choices"]:
        said = choice.get("delta") or choice.get("message") or {}
        yield from ((name, text) for name in reversed(FIELDS) if isinstance(text := said.get(name), str))
        for position, call in enumerate(said.get("tool_calls") or ()):
            told = call.get("function") or {}
            texts = [f"{told['name']} "] if told.get("name") else []
            yield f"call {call.get('index', position)}", "".join([*texts, told.get("arguments") or ""])
