"""Amazon Bedrock's ApplyGuardrail: a guardrail of one's account judges a text, without a model."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from gateway.checks.base import Ask, CheckFault, ServiceCall
from gateway.checks.replies import usage_of
from gateway.checks.service import NO_VERDICT, KeyEnv, Service, Url, document, documents, keyless, told
from gateway.core.terms import Document, Judgement, Passage, Side

API_KEY = "AWS_BEARER_TOKEN_BEDROCK"  # the name that Amazon's own tools read
ACTED = frozenset({"BLOCKED", "ANONYMIZED"})


class Bedrock(Service):
    """A hit where the guardrail intervenes. Calls are signed (SigV4), or carry a Bedrock API key."""

    most: ClassVar[int | None] = 25_000

    use: Literal["bedrock"] = "bedrock"
    guardrail: str = Field(min_length=1, description="the guardrail's id or ARN")
    guardrail_version: str = Field("DRAFT", min_length=1, description="a number, or DRAFT")
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]+$", description="of the guardrail")
    url: Url = Field("https://bedrock-runtime.amazonaws.com", description="absent: the region's own")
    key_env: KeyEnv | None = Field(
        None, description=f"of a Bedrock API key; absent: {API_KEY}, else the AWS credentials"
    )

    _credentials: Any = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _at_region(cls, given: Any) -> Any:
        if (
            isinstance(given, dict)
            and "url" not in given
            and isinstance(region := given.get("region", "us-east-1"), str)
        ):
            return {**given, "url": f"https://bedrock-runtime.{region}.amazonaws.com"}
        return given

    @model_validator(mode="after")
    def _may_ask(self, info: ValidationInfo) -> Bedrock:
        if not keyless(info) and self.key() is None:
            self._credentials = _credentials()
        return self

    def key(self) -> str | None:
        return super().key() or os.environ.get(API_KEY) or None

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        source = "OUTPUT" if any(p.place.side is Side.OUTPUT for p in passages) else "INPUT"
        body: Document = {"source": source, "content": [{"text": {"text": p.text}} for p in passages]}
        name, version = quote(self.guardrail, safe=""), quote(self.guardrail_version, safe="")
        url = f"{self.url}/guardrail/{name}/version/{version}/apply"
        sign = self._sign if self.key() is None else None
        answer = document(await ask.post(ServiceCall(url, body, self.bearer(), sign)))
        action = told(answer, "action", str)
        if action not in {"NONE", "GUARDRAIL_INTERVENED"}:
            raise CheckFault(NO_VERDICT)
        hit = action == "GUARDRAIL_INTERVENED"
        named = tuple(dict.fromkeys(_acted(answer.get("assessments")))) if hit else ()
        return Judgement(hit, named or (("intervened",) if hit else ()), usage=usage_of(answer))

    def _sign(self, url: str, body: bytes) -> Mapping[str, str]:
        auth, awsrequest = importlib.import_module("botocore.auth"), importlib.import_module("botocore.awsrequest")
        request = awsrequest.AWSRequest("POST", url, data=body, headers={"content-type": "application/json"})
        auth.SigV4Auth(self._credentials, "bedrock", self.region).add_auth(request)
        return dict(request.headers.items())


def _credentials() -> Any:
    try:
        session = importlib.import_module("botocore.session")
    except ImportError:
        raise ValueError(
            f"signing calls needs the extra 'aws' (pip install 'outrider[aws]'), or an API key in {API_KEY}"
        ) from None
    credentials = session.get_session().get_credentials()
    if credentials is None:
        raise ValueError(f"there are no AWS credentials, and no API key in {API_KEY}")
    return credentials


def _acted(assessments: Any) -> list[str]:
    """The policies of the guardrail that acted, as `topicPolicy`, and the types of what they found."""
    named: list[str] = []
    for assessment in documents(assessments or []):
        for policy, said in assessment.items():
            lists = [one for one in said.values() if isinstance(one, list)] if isinstance(said, dict) else []
            found = [one for listed in lists for one in listed if isinstance(one, dict)]
            types = [one["type"] for one in found if one.get("action") in ACTED and isinstance(one.get("type"), str)]
            if types or any(one.get("action") in ACTED for one in found):
                named += [policy, *(f"{policy}.{kind}" for kind in types)]
    return named
