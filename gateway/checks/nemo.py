"""A NeMo Guardrails server, asked for its verdict on messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from gateway.checks.base import Ask, CheckFault, ServiceCall
from gateway.checks.lakera import ROLES
from gateway.checks.service import NO_VERDICT, Service, document, told
from gateway.core.terms import Judgement, Passage, Place, Side

SPEAKERS = {**ROLES, Place.TOOL_RESULT: "user"}  # its rails judge what users and assistants say


class Nemo(Service):
    """A hit where the server's rails block."""

    most: ClassVar[int | None] = 24_000

    use: Literal["nemo"] = "nemo"
    config_id: str = Field(min_length=1, description="the server's guardrails configuration")
    model: str = Field("outrider", min_length=1, description="the name of a model that the server is told")

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        messages = [
            {"role": "assistant" if p.place.side is Side.OUTPUT else SPEAKERS.get(p.place, "user"), "content": p.text}
            for p in passages
        ]
        body = {"model": self.model, "messages": messages, "guardrails": {"config_id": self.config_id}}
        answer = document(await ask.post(ServiceCall(f"{self.url}/v1/guardrail/checks", body, self.bearer())))
        status = told(answer, "status", str)
        if status not in {"success", "blocked"}:
            raise CheckFault(NO_VERDICT)
        rails = document(answer.get("rails_status") or {})
        named = [name for name, one in rails.items() if isinstance(one, dict) and one.get("status") == "blocked"]
        hit = status == "blocked"
        return Judgement(hit, tuple(named or ["blocked"]) if hit else ())
