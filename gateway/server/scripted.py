"""A scripted upstream: answers by rules, without network, key or bill.

It is product code: the demo, the tests and users' own tests run on it. The first rule that
matches answers; its words go the same way as a real upstream's.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from pydantic import ValidationError

from gateway.core.terms import Call, Delta, Document, Headers
from gateway.server.script import Asked, Rule, last_text, told
from gateway.server.upstream import ASKED, CUT, TOO_SLOW, CallRecord, UpstreamError, refusal
from gateway.wire.endpoints import ENDPOINTS
from gateway.wire.reader import Raw

FOREVER = 3600.0  # seconds


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

    async def answer(
        self, call: Call, headers: Headers, record: CallRecord, pulse: float = math.inf
    ) -> AsyncGenerator[Sequence[Delta], None]:
        record.started, record.attempts = time.monotonic(), 1
        reader = ENDPOINTS[call.path].reader(call.document, stream=call.stream)
        reader.rewritable = call.rewritable
        try:
            async for frame in self._frames(call, record, pulse):
                if frame is None:
                    yield ()
                    continue
                delta = reader.raw(frame.media, frame.data) if isinstance(frame, Raw) else reader.delta(frame)
                record.usage = reader.usage
                record.first_delta = record.first_delta or time.monotonic()
                yield (delta,)
            if closing := reader.closing():
                yield (Delta(None, closing),)
        except (asyncio.CancelledError, GeneratorExit):
            record.cancelled = True
            raise
        finally:
            record.ended = time.monotonic()

    async def _frames(
        self, call: Call, record: CallRecord, pulse: float = math.inf
    ) -> AsyncGenerator[Document | Raw | None, None]:
        """None: nothing but the time of a pulse has passed."""
        rule = self._rule(call.model, last_text(call.document))
        async for nothing in self._passes(FOREVER if rule.hang else rule.first_token, pulse):
            yield nothing
        if rule.hang:
            raise UpstreamError(TOO_SLOW)
        if rule.error is not None:
            record.status = rule.error
            raise UpstreamError(refusal(rule.error, {}, {}, own_key=True))
        record.status = 200
        number = f"{_PREFIX.get(call.path, '')}scripted{next(self._ids)}"
        head: Document = {"id": number, "created": int(time.time()), "model": call.model}
        steps, ending = told(call.path, Asked(rule, call.document, head, call.stream))
        for step, frames in enumerate(steps):
            if step == rule.break_after:
                raise UpstreamError(CUT)
            if step:
                async for nothing in self._passes(rule.between_tokens, pulse):
                    yield nothing
            for frame in frames:
                yield frame
        if rule.break_after is not None:
            raise UpstreamError(CUT)
        for frame in ending:
            yield frame

    async def _passes(self, seconds: float, pulse: float) -> AsyncGenerator[None, None]:
        """So much time, told in pulses."""
        while seconds > pulse:
            await self._sleep(pulse)
            seconds -= pulse
            yield None
        await self._sleep(seconds)

    async def ask(self, endpoint: str, model: str, body: Document) -> Document:
        if endpoint == "moderations":
            return await self._moderate(model, body)
        call = Call("check", "scripted", model, {"model": model, **body}, stream=False, path=ASKED[endpoint].path)
        async for frame in self._frames(call, CallRecord("check", "scripted", model)):
            if isinstance(frame, dict):
                return frame
        raise UpstreamError(CUT)

    async def _moderate(self, model: str, body: Document) -> Document:
        """Each text by the rule that it matches."""
        results = []
        for text in body["input"]:
            one = Call("check", "scripted", model, {"input": text}, stream=False, path=ASKED["moderations"].path)
            async for frame in self._frames(one, CallRecord("check", "scripted", model)):
                if isinstance(frame, dict):
                    results += frame["results"]
        return {"id": f"modr-scripted{next(self._ids)}", "model": model, "results": results}

    def _rule(self, model: str, text: str) -> Rule:
        return next((rule for rule in self._rules if rule.matches(model, text)), Rule())


_PREFIX = {"/chat/completions": "chatcmpl-", "/completions": "cmpl-"}
