"""Structured output: valid JSON, and valid against a schema of the policy's or of the request's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from gateway.checks.base import Check
from gateway.checks.beside import Beside
from gateway.checks.schemas import Schema
from gateway.checks.texts import paths, spoken
from gateway.core.terms import Document, Judgement, Passage, Place, Request


class JsonSchema(Check):
    """A hit where the answer's content is no JSON, or not what its schema asks for."""

    can_read = frozenset({Place.CONTENT})

    use: Literal["json_schema"] = "json_schema"
    schema_: dict[str, Any] | Literal["declared"] | None = Field(
        None, alias="schema", description="a JSON Schema, or 'declared': that of the request's own `response_format`"
    )
    file: Beside | None = Field(None, description="a file with the schema, relative to the policy")

    _validator: Any = PrivateAttr(default=None)
    _said: str = PrivateAttr(default="")  # by the file
    _asked: bool = PrivateAttr(default=True)  # JSON was asked for

    @model_validator(mode="after")
    def _readable(self) -> JsonSchema:
        if self.schema_ is not None and self.file is not None:
            raise ValueError("give 'schema' or 'file', not both")
        schema: Any = self.schema_
        if self.file is not None:
            try:
                self._said = Path(self.file).read_text(encoding="utf-8")
                schema = json.loads(self._said)
            except ValueError:
                raise ValueError("the file is no JSON") from None
        if isinstance(schema, dict):
            self._validator = Schema(schema)
        return self

    def read_from(self) -> str:
        return self._said

    def bound(self, request: Request) -> Check:
        """With `schema: declared`: as the request declares its answer; one that declares nothing has no schema."""
        if self.schema_ != "declared":
            return self
        made = self.model_copy()
        schema = declared(request.document)
        made._asked = schema is not None  # noqa: SLF001
        made._validator = None  # noqa: SLF001
        if schema:
            try:
                made._validator = Schema(schema)  # noqa: SLF001
            except ValueError:
                made._validator = None  # noqa: SLF001 -- the upstream will say what is wrong with it
        return made

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        if not self._asked:
            return Judgement(hit=False)
        hit, named = [], set()
        for passage in spoken(passages):
            problem = self._problem(passage.text)
            if problem:
                hit.append(passage)
                named.add(problem)
        return Judgement(bool(hit), tuple(sorted(named)), paths=paths(hit))

    def _problem(self, text: str) -> str | None:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return "not_json"
        if self._validator is not None and not self._validator.is_valid(document, len(text)):
            return "not_as_schema"
        return None


def declared(document: Document) -> dict[str, Any] | None:
    """The schema that a request wants for its answer; empty: any JSON; None: it wants no JSON."""
    form = document.get("response_format")
    if not isinstance(form, dict):
        text = document.get("text")
        form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict) or form.get("type") not in {"json_object", "json_schema"}:
        return None
    inner = form.get("json_schema") if isinstance(form.get("json_schema"), dict) else form
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return schema if isinstance(schema, dict) else {}
