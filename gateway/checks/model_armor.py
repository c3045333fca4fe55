"""Google Cloud Model Armor: a template of one's project judges prompts and answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from gateway.checks.base import Ask, CheckFault, ServiceCall
from gateway.checks.service import NO_VERDICT, KeyEnv, Service, Url, document, told
from gateway.checks.texts import spoken
from gateway.core.terms import Document, Judgement, Passage, Side

TEMPLATE = r"^projects/[^/]+/locations/[a-z0-9-]+/templates/[^/]+$"
MATCH = "MATCH_FOUND"


class ModelArmor(Service):
    """A hit where a filter of the template matches. The access token is read anew for each call."""

    most: ClassVar[int | None] = 8_000

    use: Literal["model_armor"] = "model_armor"
    template: str = Field(pattern=TEMPLATE, description="projects/…/locations/…/templates/…")
    url: Url = Field("https://modelarmor.googleapis.com", description="absent: the one of the template's location")
    key_env: KeyEnv | None = Field(None, description="the environment variable that holds an access token")
    token_file: str | None = Field(None, description="a file with an access token, that something else keeps fresh")

    @model_validator(mode="before")
    @classmethod
    def _at_location(cls, given: Any) -> Any:
        if isinstance(given, dict) and "url" not in given and isinstance(template := given.get("template"), str):
            location = template.partition("/locations/")[2].partition("/")[0]
            return {**given, "url": f"https://modelarmor.{location or 'us'}.rep.googleapis.com"}
        return given

    @model_validator(mode="after")
    def _may_ask(self) -> ModelArmor:
        if (self.key_env is None) == (self.token_file is None):
            raise ValueError("name one of 'key_env' and 'token_file', which hold the access token")
        return self

    def key(self) -> str | None:
        if self.token_file is None:
            return super().key()
        try:
            return Path(self.token_file).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            raise CheckFault("its access token cannot be read") from None

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        shown = spoken(passages) or list(passages)
        text = "\n\n".join(p.text for p in shown)
        output = any(p.place.side is Side.OUTPUT for p in shown)
        method, field = (
            ("sanitizeModelResponse", "modelResponseData") if output else ("sanitizeUserPrompt", "userPromptData")
        )
        url = f"{self.url}/v1/{self.template}:{method}"
        body: Document = {field: {"text": text}}
        answer = document(await ask.post(ServiceCall(url, body, self.bearer())))
        result = document(answer.get("sanitizationResult"))
        if result.get("invocationResult", "SUCCESS") != "SUCCESS":
            raise CheckFault("the service could not run all of its filters")
        state = told(result, "filterMatchState", str)
        if state not in {MATCH, "NO_MATCH_FOUND"}:
            raise CheckFault(NO_VERDICT)
        filters = document(result.get("filterResults") or {})
        named = tuple(name for name, one in filters.items() if _matched(one)) or ("match",)
        return Judgement(hit := state == MATCH, named if hit else ())


def _matched(one: Any) -> bool:
    """Whether a match state stands anywhere below."""
    if isinstance(one, dict):
        return one.get("matchState") == MATCH or any(map(_matched, one.values()))
    return isinstance(one, list) and any(map(_matched, one))
