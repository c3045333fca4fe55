"""Tool calls: which tools may be called or offered, with what arguments, and whether results answer a call."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import re2
from pydantic import Field, PrivateAttr, model_validator

from gateway.checks.answered import orphans
from gateway.checks.base import Check
from gateway.checks.schemas import Schema
from gateway.checks.texts import paths
from gateway.core.terms import Document, Judgement, Passage, Place, Request

_PART = re.compile(r"(?P<call>.*?)\.(?:function\.|custom\.)?(?P<part>name|arguments|input)\Z")
_NO_TOOL = re.compile(r"messages\[\d+\]\.name\Z|response_format\.|text\.format\.")  # names of speakers and formats
CALLS = frozenset({Place.TOOL_CALL, Place.ASSISTANT})


class Tools(Check):
    """A hit where a tool is not allowed, is called with arguments that are not as declared, or answers without a call."""

    can_read = frozenset({Place.TOOL_CALL, Place.TOOL_DEFINITION, Place.ASSISTANT, Place.TOOL_RESULT})

    use: Literal["tools"] = "tools"
    allow: list[str] | None = Field(None, description="names of tools, * stands for any text; absent: all")
    deny: list[str] = Field([], description="names of tools that are never allowed")
    schema_: Literal["declared"] | None = Field(
        None, alias="schema", description="'declared': arguments must be valid against the request's own tools"
    )
    deny_if: dict[str, dict[str, str]] = Field(
        {},
        description="tool -> argument -> RE2 pattern: a call whose argument matches is a hit; "
        "of a custom tool the argument is `input`",
    )
    results: Literal["linked"] | None = Field(
        None, description="'linked': a tool result must answer a call that the request shows before it, each call once"
    )

    _patterns: Any = PrivateAttr(default=None)
    _declared: Any = PrivateAttr(default=None)
    _orphans: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _something(self) -> Tools:
        if self.allow is None and not (self.deny or self.schema_ or self.deny_if or self.results):
            raise ValueError("give 'allow', 'deny', 'schema', 'deny_if' or 'results'")
        try:
            self._patterns = {
                tool: {name: re2.compile(pattern) for name, pattern in conditions.items()}
                for tool, conditions in self.deny_if.items()
            }
        except re2.error as error:
            raise ValueError(f"a pattern of 'deny_if' is not valid RE2: {error}") from None
        return self

    def bound(self, request: Request) -> Check:
        if self.schema_ is None and self.results is None:
            return self
        made = self.model_copy()
        if self.schema_ is not None:
            made._declared = dict(_schemas(request.document))  # noqa: SLF001
        if self.results is not None:
            made._orphans = tuple(f"{path}." for path in orphans(request.document))  # noqa: SLF001
        return made

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        calls: dict[str, dict[str, Passage]] = {}
        for passage in passages:
            found = _PART.match(passage.path)
            if found is not None and _NO_TOOL.match(passage.path) is None:
                calls.setdefault(found["call"], {})[found["part"]] = passage
        hit = [passage for passage in passages if self._orphans and passage.path.startswith(self._orphans)]
        named = {"result_without_call"} if hit else set()
        for parts in calls.values():
            for problem, passage in self._problems(parts):
                named.add(problem)
                hit.append(passage)
        return Judgement(bool(hit), tuple(sorted(named)), paths=paths(hit))

    def _problems(self, parts: Mapping[str, Passage]) -> Iterator[tuple[str, Passage]]:
        name = parts.get("name")
        if name is None:
            return
        tool = name.text.strip()
        if not self._may(tool):
            yield "tool_not_allowed", name
        if self._declared is not None and tool not in self._declared and name.place in CALLS:
            yield "tool_not_declared", name
        given = parts.get("arguments")
        if given is not None:
            yield from self._of_arguments(tool, given)
        elif "input" in parts and self._is_denied(tool, {"input": parts["input"].text}, parts["input"].text):
            yield "arguments_denied", parts["input"]

    def _of_arguments(self, tool: str, given: Passage) -> Iterator[tuple[str, Passage]]:
        try:
            arguments = json.loads(given.text or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if self._declared is not None and tool in self._declared and not self._is_as_declared(tool, arguments, given):
            yield "arguments_not_as_declared", given
        if self._is_denied(tool, arguments, given.text):
            yield "arguments_denied", given

    def _may(self, tool: str) -> bool:
        if any(fnmatchcase(tool, pattern) for pattern in self.deny):
            return False
        return self.allow is None or any(fnmatchcase(tool, pattern) for pattern in self.allow)

    def _is_as_declared(self, tool: str, arguments: Any, given: Passage) -> bool:
        return isinstance(arguments, dict) and bool(self._declared[tool].is_valid(arguments, len(given.text)))

    def _is_denied(self, tool: str, arguments: Any, text: str) -> bool:
        for pattern, conditions in self._patterns.items():
            if not fnmatchcase(tool, pattern):
                continue
            for name, condition in conditions.items():
                value = arguments.get(name) if isinstance(arguments, dict) else text
                said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                if value is not None and condition.search(said) is not None:
                    return True
        return False


def _schemas(document: Document) -> Iterator[tuple[str, Any]]:
    """What validates the arguments of each tool that a request declares."""
    listed = [*_listed(document.get("tools")), *_listed(document.get("functions"))]
    for tool in listed:
        function = next((tool[key] for key in ("function", "custom") if isinstance(tool.get(key), dict)), tool)
        name, parameters = function.get("name"), function.get("parameters")
        if isinstance(name, str):
            try:
                yield name, Schema(parameters if isinstance(parameters, dict) else {})
            except ValueError:
                continue


def _listed(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
