"""A guardrail service of one's own that speaks LiteLLM's generic guardrail contract."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from gateway.checks.base import Ask, CheckFault, ServiceCall
from gateway.checks.presidio import located
from gateway.checks.service import NO_VERDICT, Service, document, told
from gateway.core.terms import Document, Judgement, Passage, Side, Span

PATH = "/beta/litellm_basic_guardrail_api"


class Webhook(Service):
    """A hit where the service blocks, or wants a text changed. What it wants changed can be cut out."""

    can_rewrite: ClassVar[bool] = True

    use: Literal["webhook"] = "webhook"
    path: str = Field(PATH, pattern=r"^/[!-~]*$", description="below the service's url")
    parameters: dict[str, Any] = Field({}, description="passed as additional_provider_specific_params")

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        output = any(p.place.side is Side.OUTPUT for p in passages)
        body: Document = {
            "texts": [p.text for p in passages],
            "images": [],
            "tools": [],
            "request_data": {},
            "input_type": "response" if output else "request",
            "litellm_call_id": str(uuid.uuid4()),
            "litellm_trace_id": None,
            "additional_provider_specific_params": self.parameters,
        }
        answer = document(await ask.post(ServiceCall(self.url + self.path, body, self.bearer())))
        match told(answer, "action", str):
            case "NONE":
                return Judgement(hit=False)
            case "BLOCKED":
                return Judgement(True, ("blocked",))
            case "GUARDRAIL_INTERVENED":
                spans = _changes(passages, answer.get("texts"))
                return located(spans) if spans else Judgement(True, ("intervened",))
        raise CheckFault(NO_VERDICT)


def _changes(passages: Sequence[Passage], texts: Any) -> list[Span]:
    """From the first character of each text that the service has changed to the last."""
    if not isinstance(texts, list) or len(texts) != len(passages) or not all(isinstance(one, str) for one in texts):
        raise CheckFault("the service's answer does not have every text")
    spans: list[Span] = []
    for passage, text in zip(passages, texts, strict=True):
        if passage.text != text:
            spans.append(Span(passage.path, *_changed(passage.text, text), "changed"))
    return spans


def _changed(was: str, now: str) -> tuple[int, int]:
    """The least stretch of `was` outside of which both are the same; at least one character, if there is one."""
    shorter = min(len(was), len(now))
    begin = next((i for i in range(shorter) if was[i] != now[i]), shorter)
    tail = next((i for i in range(shorter - begin) if was[-1 - i] != now[-1 - i]), shorter - begin)
    end = len(was) - tail
    return (begin, end) if end > begin else (max(0, begin - 1), min(len(was), begin + 1))
