"""A scripted upstream: answers by rules, without network, key or bill.

It is product code: the demo, the tests and users' own tests run on it. The first rule that
matches answers; its words go the same way as a real upstream's.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.core.terms import Call, Delta, Document, Headers
from gateway.server.upstream import CUT, TOO_SLOW, CallRecord, UpstreamError, refusal
from gateway.units import Delay
from gateway.wire import chat

_WORDS = re.compile(r"\s*\S+")
DEFAULT_REPLY = "This is the scripted upstream; no rule of it matches the question."
FOREVER = 3600.0  # seconds


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arguments: str = "{}"


class Rule(BaseModel):
    """When it applies, what it answers, and how fast."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


def scripted_rules(raw: Sequence[Any]) -> tuple[Rule, ...]:
    """Rules from a config file. ValueError says which one is wrong and why."""
    rules = []
    for number, one in enumerate(raw):
        try:
            rules.append(Rule.model_validate(one))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"rule {number + 1}: '{where}': {first['msg']}") from None
    return tuple(rules)


class ScriptedUpstream:
    """Answers by the first rule that matches the model and the last message."""

    def __init__(self, rules: Sequence[Rule], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._rules = tuple(rules)
        self._sleep = sleep
        self._ids = itertools.count(1)

    async def close(self) -> None:
        """Nothing is open."""

    async def answer(self, call: Call, headers: Headers, record: CallRecord) -> AsyncGenerator[Delta, None]:
        record.started, record.attempts = time.monotonic(), 1
        reader = chat.Reader(stream=call.stream)
        try:
            async for document in self._documents(call, record):
                delta = reader.delta(document)
                record.usage = reader.usage
                record.first_delta = record.first_delta or time.monotonic()
                yield delta
            if closing := reader.closing():
                yield Delta(None, closing)
        except (asyncio.CancelledError, GeneratorExit):
            record.cancelled = True
            raise
        finally:
            record.ended = time.monotonic()

    async def _documents(self, call: Call, record: CallRecord) -> AsyncGenerator[Document, None]:
        rule = self._rule(call.model, _last_text(call.document))
        if rule.hang:
            await self._sleep(FOREVER)
            raise UpstreamError(TOO_SLOW)
        await self._sleep(rule.first_token)
        if rule.error is not None:
            record.status = rule.error
            raise UpstreamError(refusal(rule.error, {}, {}, own_key=True))
        record.status = 200
        head = {"id": f"chatcmpl-scripted{next(self._ids)}", "created": int(time.time()), "model": call.model}
        if call.stream:
            async for chunk in self._streamed(rule, call, head):
                yield chunk
        else:
            chunks = rule.chunks()
            await self._sleep(rule.between_tokens * max(0, len(chunks) - 1))
            if rule.break_after is not None:
                raise UpstreamError(CUT)
            yield _whole(rule, call.document, head)

    async def _streamed(self, rule: Rule, call: Call, head: Document) -> AsyncGenerator[Document, None]:
        choices = range(_choices(call.document))
        head = {**head, "object": "chat.completion.chunk"}
        for number, delta in enumerate(_deltas(rule)):
            if number == rule.break_after:
                raise UpstreamError(CUT)
            if number:
                await self._sleep(rule.between_tokens)
            for index in choices:
                yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        if rule.break_after is not None:
            raise UpstreamError(CUT)
        for index in choices:
            yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": _finish(rule)}]}
        yield {**head, "choices": [], "usage": _usage(rule, call.document)}

    async def ask(self, endpoint: str, model: str, body: Document) -> Document:
        if endpoint == "moderations":
            return await self._moderate(model, body)
        call = Call("check", "scripted", model, {"model": model, **body}, stream=False)
        record = CallRecord("check", "scripted", model)
        async for document in self._documents(call, record):
            return document
        raise UpstreamError(CUT)

    async def _moderate(self, model: str, body: Document) -> Document:
        results = []
        for text in body["input"]:
            rule = self._rule(model, text)
            await self._sleep(FOREVER if rule.hang else rule.first_token)
            if rule.error is not None:
                raise UpstreamError(refusal(rule.error, {}, {}, own_key=True))
            score = 0.99 if rule.flagged else 0.01
            results.append(
                {
                    "flagged": rule.flagged,
                    "categories": {"violence": rule.flagged},
                    "category_scores": {"violence": score},
                }
            )
        return {"id": f"modr-scripted{next(self._ids)}", "model": model, "results": results}

    def _rule(self, model: str, text: str) -> Rule:
        return next((rule for rule in self._rules if rule.matches(model, text)), Rule())


def _last_text(document: Document) -> str:
    content = document["messages"][-1].get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content)


def _choices(document: Document) -> int:
    n = document.get("n")
    return n if isinstance(n, int) else 1


def _finish(rule: Rule) -> str:
    return rule.finish or ("tool_calls" if rule.tool_calls else "stop")


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


def _whole(rule: Rule, document: Document, head: Document) -> Document:
    message = _message(rule)
    choices = [
        {"index": i, "message": message, "logprobs": None, "finish_reason": _finish(rule)}
        for i in range(_choices(document))
    ]
    return {**head, "object": "chat.completion", "choices": choices, "usage": _usage(rule, document)}


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


def _usage(rule: Rule, document: Document) -> Document:
    asked = sum(len(str(message.get("content") or "")) for message in document["messages"]) // 4 + 1
    said = sum(map(len, rule.chunks())) // 4 + 1
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
