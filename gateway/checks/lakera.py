"""Lakera Guard: prompt attacks, data leakage, moderation and unknown links, as a project of the service is set up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from gateway.checks.base import Ask, ServiceCall
from gateway.checks.service import KeyEnv, Service, Url, document, documents, told
from gateway.core.terms import Document, Judgement, Passage, Place, Side

ROLES = {Place.SYSTEM: "system", Place.ASSISTANT: "assistant", Place.TOOL_RESULT: "tool"}


class Lakera(Service):
    """A hit where the service flags the conversation."""

    most: ClassVar[int | None] = 60_000

    use: Literal["lakera"] = "lakera"
    url: Url = Field("https://api.lakera.ai", description="where the service is")
    key_env: KeyEnv | None = Field("LAKERA_GUARD_API_KEY", validate_default=True, description="of the service's key")
    project_id: str | None = Field(None, description="whose detectors and thresholds hold; absent: the default ones")

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        body: Document = {"messages": [{"role": _role(p), "content": p.text} for p in passages], "breakdown": True}
        if self.project_id is not None:
            body["project_id"] = self.project_id
        answer = document(await ask.post(ServiceCall(f"{self.url}/v2/guard", body, self.bearer())))
        flagged = told(answer, "flagged", bool)
        named = [
            told(one, "detector_type", str)
            for one in documents(answer.get("breakdown") or [])
            if told(one, "detected", bool)
        ]
        return Judgement(flagged, tuple(dict.fromkeys(named or ["flagged"])) if flagged else ())


def _role(passage: Passage) -> str:
    return "assistant" if passage.place.side is Side.OUTPUT else ROLES.get(passage.place, "user")
