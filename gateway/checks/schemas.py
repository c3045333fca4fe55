"""JSON Schema in bounded time, whoever wrote the schema and the document: clients bring their own.

As `jsonschema` has it, but with patterns in linear time (RE2), with unique items told by what they say, and with so many
steps for a document of its size. What cannot be decided within these bounds is not valid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any

import jsonschema
import re2

from gateway.checks.hurry import takes

STEPS = 10_000  # keywords looked at for any document
STEPS_BY_SIZE = 4  # and for each character of it
STEPS_AT_ONCE = 4  # that take a unit of `hurry`

Keyword = Callable[[Any, Any, Any, Any], Any]
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


class Undecided(ValueError):
    """It would take too long, or it is a pattern that RE2 has not."""


class Schema:
    """Says of documents whether they are as it asks. Raises ValueError for one that is no schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            said = json.dumps(schema)  # what is evaluated by a pattern elsewhere is not told in linear time
            self._is_decidable = "unevaluatedProperties" not in said or "patternProperties" not in said
            error = _within(STEPS * 10, lambda: next(_bounded(kind)(kind.META_SCHEMA).iter_errors(schema), None))
        except (Undecided, RecursionError):
            raise ValueError("is too large a JSON Schema") from None
        if error is not None:
            raise ValueError(f"is no JSON Schema: {error.message[:200]}")
        self._validator = _bounded(kind)(schema)

    def is_valid(self, document: Any, size: int) -> bool:
        """`size`: characters of the document."""
        if not self._is_decidable:
            return False
        try:
            return bool(_within(STEPS + STEPS_BY_SIZE * size, lambda: self._validator.is_valid(document)))
        except (Undecided, RecursionError):
            return False


def _within(steps: int, work: Callable[[], Any]) -> Any:
    token = _left.set([steps])
    try:
        return work()
    finally:
        _left.reset(token)


@cache
def _bounded(kind: Any) -> Any:
    """A kind of validator whose keywords are counted, and of which none takes longer than its document is long."""
    own: dict[str, Keyword] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    known = {name: own.get(name, keyword) for name, keyword in kind.VALIDATORS.items()}
    return jsonschema.validators.extend(kind, {name: _counted(keyword) for name, keyword in known.items()})


def _counted(keyword: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        left = _left.get()
        assert left is not None
        left[0] -= 1
        if left[0] < 0:
            raise Undecided
        if left[0] % STEPS_AT_ONCE == 0:
            takes(1)
        return keyword(validator, value, instance, schema)

    return counted


@cache
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise Undecided from None


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text.encode("utf-8", "replace").decode()) is not None


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "string") and not _matches(pattern, instance):
        yield jsonschema.ValidationError("it does not match")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, _schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if _matches(pattern, name):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, inner: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name not in named and not any(_matches(pattern, name) for pattern in patterns):
            yield from validator.descend(value, inner, path=name)


def _unique_items(validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if wanted and validator.is_type(instance, "array"):
        said = [json.dumps(_plain(item), sort_keys=True) for item in instance]
        if len(set(said)) < len(said):
            yield jsonschema.ValidationError("two items are the same")


def _plain(value: Any) -> Any:
    """With 1.0 as 1, which it is in JSON."""
    match value:
        case float():
            return int(value) if value.is_integer() else value
        case list():
            return [_plain(one) for one in value]
        case dict():
            return {name: _plain(one) for name, one in value.items()}
    return value
