"""What the scripted upstream says: a rule, and the answer of every endpoint that follows from it."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.terms import Document
from gateway.units import Delay
from gateway.wire.forms import Upload
from gateway.wire.reader import Raw
from gateway.wire.responses import events, response_of

_WORDS = re.compile(r"\s*\S+")
DEFAULT_REPLY = "This is the scripted upstream; no rule of it matches the question."
DIMENSIONS = 8  # of its embeddings
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a picture of one point
SILENCE = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str
    arguments: str = "{}"


class Rule(BaseModel):
    """When it applies, what it answers, and how fast."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    when: str | None = Field(None, description="text that the last message must hold; case does not matter")
    model: str | None = Field(None, description="glob that the model's name must match")
    reply: str | list[str] = Field(DEFAULT_REPLY, description="the answer; a list gives the chunks")
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] = []
    finish: str | None = Field(None, description="finish_reason; absent: stop, or tool_calls")
    error: int | None = Field(None, ge=400, le=599, description="answer with this status instead")
    break_after: int | None = Field(None, ge=0, description="break off after so many chunks")
    hang: bool = Field(False, description="never answer")
    flagged: bool = Field(False, description="what a moderation call answers")
    first_token: Delay = Field(0.0, description="time to the first token")
    between_tokens: Delay = Field(0.0, description="time between tokens")

    def matches(self, model: str, text: str) -> bool:
        by_model = self.model is None or fnmatchcase(model, self.model)
        return by_model and (self.when is None or self.when.casefold() in text.casefold())

    def chunks(self) -> list[str]:
        return self.reply if isinstance(self.reply, list) else _WORDS.findall(self.reply)


class Told(NamedTuple):
    """An answer in steps; between two of them the script's time passes."""

    steps: list[list[Document | Raw]]
    ending: Sequence[Document | Raw] = ()  # comes with the last step, unless the script breaks off


class Asked(NamedTuple):
    """What is asked and by which rule it is answered."""

    rule: Rule
    document: Document
    head: Document  # of the answer: id, created, model
    stream: bool


def told(path: str, asked: Asked) -> Told:
    """What the endpoint at `path` answers."""
    return ANSWERS[path](asked)


def last_text(document: Document) -> str:
    """The text that rules look at: the last message, the input, the prompt."""
    for key in ("messages", "input", "prompt", "file"):
        if (value := document.get(key)) is not None:
            return _text(value[-1] if isinstance(value, list) and key != "prompt" and value else value)
    return ""


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Upload):
        return value.filename
    if isinstance(value, list):
        return " ".join(_text(one) for one in value)
    if isinstance(value, dict):
        return next((_text(value[k]) for k in ("content", "output", "text") if value.get(k)), "")
    return ""


def _count(document: Document) -> int:
    n = document.get("n")
    return n if isinstance(n, int) else 1


def _sizes(rule: Rule, document: Document) -> tuple[int, int]:
    """Tokens asked and told, by the rule of thumb of four characters each."""
    asked = [message.get("content") or "" for message in document.get("messages", ())] or [last_text(document)]
    return sum(len(str(one)) for one in asked) // 4 + 1, sum(map(len, rule.chunks())) // 4 + 1


def _usage(rule: Rule, document: Document) -> Document:
    asked, said = _sizes(rule, document)
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _input_usage(rule: Rule, document: Document) -> Document:
    asked, said = _sizes(rule, document)
    return {"input_tokens": asked, "output_tokens": said, "total_tokens": asked + said}


def _finish(rule: Rule) -> str:
    return rule.finish or ("tool_calls" if rule.tool_calls else "stop")


# --- chat


def _chat(asked: Asked) -> Told:
    rule, document, head, stream = asked
    choices = range(_count(document))
    if not stream:
        message = _message(rule)
        made = [{"index": i, "message": message, "logprobs": None, "finish_reason": _finish(rule)} for i in choices]
        whole = {**head, "object": "chat.completion", "choices": made, "usage": _usage(rule, document)}
        return _spoken(rule, whole)
    head = {**head, "object": "chat.completion.chunk"}

    def chunk(index: int, delta: Document, finish: str | None) -> Document:
        return {**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    steps: list[list[Document | Raw]] = [[chunk(i, delta, None) for i in choices] for delta in _deltas(rule)]
    ends: list[Document | Raw] = [chunk(i, {}, _finish(rule)) for i in choices]
    return Told(steps, [*ends, {**head, "choices": [], "usage": _usage(rule, document)}])


def _spoken(rule: Rule, whole: Document) -> Told:
    """A whole answer takes as long as its words."""
    return Told([*([] for _ in rule.chunks()[1:]), []], [whole])


def _message(rule: Rule) -> Document:
    message: Document = {"role": "assistant", "content": "".join(rule.chunks()), "refusal": rule.refusal}
    if rule.tool_calls or rule.refusal is not None:
        message["content"] = None
    if rule.reasoning is not None:
        message["reasoning_content"] = rule.reasoning
    if rule.tool_calls:
        message["tool_calls"] = [
            {"id": f"call_{i}", "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
            for i, one in enumerate(rule.tool_calls)
        ]
    return message


def _deltas(rule: Rule) -> list[Document]:
    deltas: list[Document] = [{"role": "assistant", "content": ""}]
    if rule.reasoning is not None:
        deltas += [{"reasoning_content": word} for word in _WORDS.findall(rule.reasoning)]
    if rule.refusal is not None:
        return deltas + [{"refusal": word} for word in _WORDS.findall(rule.refusal)]
    for i, one in enumerate(rule.tool_calls):
        half = len(one.arguments) // 2
        opening = {"name": one.name, "arguments": ""}
        deltas.append({"tool_calls": [{"index": i, "id": f"call_{i}", "type": "function", "function": opening}]})
        for part in (one.arguments[:half], one.arguments[half:]):
            deltas.append({"tool_calls": [{"index": i, "function": {"arguments": part}}]})
    return deltas if rule.tool_calls else deltas + [{"content": chunk} for chunk in rule.chunks()]


# --- the other endpoints


def _responses(asked: Asked) -> Told:
    rule, document, head, stream = asked
    output: list[Document] = []
    number = head["id"]
    if rule.reasoning is not None:
        summary = [{"type": "summary_text", "text": rule.reasoning}]
        output.append({"id": f"rs_{number}", "type": "reasoning", "summary": summary})
    for i, one in enumerate(rule.tool_calls):
        call = {"call_id": f"call_{i}", "name": one.name, "arguments": one.arguments, "status": "completed"}
        output.append({"id": f"fc_{i}", "type": "function_call", **call})
    if not rule.tool_calls:
        part: Document = {"type": "output_text", "text": "".join(rule.chunks()), "annotations": []}
        if rule.refusal is not None:
            part = {"type": "refusal", "refusal": rule.refusal}
        item = {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
        output.append({"id": f"msg_{number}", **item})
    whole = response_of(output, model=head["model"], response_id=f"resp_{number}", created=head["created"])
    whole["usage"] = _input_usage(rule, document)
    if not stream:
        return _spoken(rule, whole)
    made = events(whole, pieces=max(1, len(rule.chunks())))
    steps: list[list[Document | Raw]] = [[]]
    for event in made[:-1]:
        if event["type"].endswith(".delta"):
            steps.append([])
        steps[-1].append(event)
    return Told(steps, [made[-1]])


def _completions(asked: Asked) -> Told:
    rule, document, head, stream = asked
    head = {**head, "object": "text_completion"}
    choices = range(_count(document))

    def choice(index: int, text: str, finish: str | None) -> Document:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}

    usage = _usage(rule, document)
    if not stream:
        made = [choice(i, "".join(rule.chunks()), _finish(rule)) for i in choices]
        return _spoken(rule, {**head, "choices": made, "usage": usage})
    steps: list[list[Document | Raw]] = [
        [{**head, "choices": [choice(i, text, None)]} for i in choices] for text in rule.chunks()
    ]
    ends: list[Document | Raw] = [{**head, "choices": [choice(i, "", _finish(rule))]} for i in choices]
    return Told(steps, [*ends, {**head, "choices": [], "usage": usage}])


def _embeddings(asked: Asked) -> Told:
    rule, document, head, _stream = asked
    value = document["input"]
    texts = value if isinstance(value, list) and not isinstance(value[0], int) else [value]
    data = []
    for index, text in enumerate(texts):
        vector = _vector(str(text))
        packed = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *vector)).decode()
        told_as = packed if document.get("encoding_format") == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": told_as})
    count = _sizes(rule, document)[0]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return Told([[{"object": "list", "data": data, "model": head["model"], "usage": usage}]])


def _vector(text: str) -> list[float]:
    """The same text, the same direction; nothing more is meant by it."""
    digest = hashlib.sha256(text.encode()).digest()
    return [(byte - 127.5) / 255 for byte in digest[:DIMENSIONS]]


def _moderations(asked: Asked) -> Told:
    rule, document, head, _stream = asked
    score = 0.99 if rule.flagged else 0.01
    result = {
        "flagged": rule.flagged,
        "categories": {"violence": rule.flagged},
        "category_scores": {"violence": score},
        "category_applied_input_types": {"violence": ["text"]},
    }
    value = document["input"]
    count = len(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else 1
    return Told([[{"id": f"modr-{head['id']}", "model": head["model"], "results": [result] * count}]])


def _images(asked: Asked) -> Told:
    rule, document, head, stream = asked
    usage = _input_usage(rule, document)
    if stream:
        event = {"type": "image_generation.completed", "b64_json": PIXEL, "created_at": head["created"]}
        return Told([[]], [{**event, "usage": usage}])
    data = [{"b64_json": PIXEL, "revised_prompt": "".join(rule.chunks())} for _ in range(_count(document))]
    return Told([[{"created": head["created"], "data": data, "usage": usage}]])


def _speech(asked: Asked) -> Told:
    rule, document, _head, stream = asked
    if stream:
        audio = base64.b64encode(SILENCE).decode()
        done = {"type": "speech.audio.done", "usage": _input_usage(rule, document)}
        return Told([[{"type": "speech.audio.delta", "audio": audio}]], [done])
    half = len(SILENCE) // 2
    return Told([[Raw("audio/wav", SILENCE[:half])]], [Raw("audio/wav", SILENCE[half:])])


def _transcriptions(asked: Asked) -> Told:
    rule, document, _head, stream = asked
    text = "".join(rule.chunks())
    if stream:
        steps: list[list[Document | Raw]] = [[{"type": "transcript.text.delta", "delta": c}] for c in rule.chunks()]
        return Told(steps, [{"type": "transcript.text.done", "text": text}])
    if document.get("response_format") in {"text", "srt", "vtt"}:
        return Told([[Raw("text/plain", text.encode())]])
    return Told([[{"text": text, "usage": {"type": "duration", "seconds": 1}}]])


def _models(_asked: Asked) -> Told:
    return Told([[{"object": "list", "data": []}]])


ANSWERS: dict[str, Callable[[Asked], Told]] = {
    "/chat/completions": _chat,
    "/responses": _responses,
    "/completions": _completions,
    "/embeddings": _embeddings,
    "/moderations": _moderations,
    "/images/generations": _images,
    "/images/edits": _images,
    "/images/variations": _images,
    "/audio/speech": _speech,
    "/audio/transcriptions": _transcriptions,
    "/audio/translations": _transcriptions,
    "/models": _models,
}
