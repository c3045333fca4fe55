"""Every error in OpenAI's shape: `{"error": {message, type, param, code}}`, all four keys present."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from gateway.core.terms import Document, Fault


class BadRequest(Exception):
    """The client's fault, told to it with a status that says so. The message may quote keys, never texts."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.kind = kind
        self.headers = dict(headers or {})


def error_object(message: str, *, kind: str, code: str | None, param: str | None, **extra: Any) -> Document:
    return {"error": {"message": message, "type": kind, "param": param, "code": code, **extra}}


def error_body(message: str, *, kind: str, code: str | None = None, param: str | None = None) -> bytes:
    return orjson.dumps(error_object(message, kind=kind, code=code, param=param))


def fault_object(fault: Fault) -> Document:
    return error_object(fault.message, kind=fault.kind, code=fault.code, param=fault.param)


def blocked(*, policy: str, check: str, stage: str, categories: Iterable[str], request_id: str, param: str) -> Document:
    """A policy's no. Names the policy and the check, never the text; typed so that no client retries it."""
    named = list(dict.fromkeys(categories))
    return error_object(
        f"Blocked by policy '{policy}', check '{check}' ({stage}). Request id {request_id}.",
        kind="invalid_request_error",
        code="content_filter",
        param=param,
        moderation_details={"moderation_stage": stage, "categories": named},
        innererror={
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {name: {"filtered": True} for name in named},
        },
    )
