"""The policy file as a JSON Schema, for editors: made from the same models that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.checks import KINDS
from gateway.checks.base import Check
from gateway.policy.model import PLACES, Common, Head

Schema = dict[str, Any]


def schema() -> Schema:
    """Draft 2020-12. A check is told apart by `use`, or by its own name where that is a kind."""
    head = Head.model_json_schema(by_alias=True)
    definitions: Schema = head.pop("$defs", {})
    common = Common.model_json_schema()
    definitions |= common.get("$defs", {})
    shared: Schema = {name: _plain(field) for name, field in common["properties"].items() if name != "use"}
    shared["at"]["description"] = f"places: {', '.join(PLACES)}"
    definitions |= {f"every-{name}": field for name, field in shared.items()}
    shared = {name: {"$ref": f"#/$defs/every-{name}"} for name in shared}
    for name, kind in KINDS.items():
        definitions[f"kind-{name}"] = _kind(name, kind, shared, definitions)
    definitions["panel"] = _panel(shared)
    ways = [{"$ref": f"#/$defs/kind-{name}"} for name in sorted(KINDS)]
    definitions["named"] = {
        "type": "object",
        "if": {"required": ["of"]},
        "then": {"$ref": "#/$defs/panel"},
        "else": {
            "required": ["use"],
            "properties": {"use": {"enum": sorted(KINDS)}},
            "allOf": [_by_use(name) for name in sorted(KINDS)],
        },
    }
    checks = head["properties"]["checks"]
    pattern = next(iter(checks.pop("patternProperties", {})), "")
    head["properties"]["checks"] = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": pattern or "^[a-z0-9][a-z0-9_-]{0,63}$"},
        "properties": {name: _by_name(name) for name in sorted(KINDS)},
        "additionalProperties": {"$ref": "#/$defs/named"},
        "description": f"the checks, each under a name of its own; {len(ways)} kinds",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A policy of Outrider",
        **head,
        "$defs": definitions,
    }


def _by_use(name: str) -> Schema:
    return {
        "if": {"properties": {"use": {"const": name}}, "required": ["use"]},
        "then": {"$ref": f"#/$defs/kind-{name}"},
    }


def _by_name(name: str) -> Schema:
    """An entry whose name is a kind is of that kind, unless it says otherwise."""
    other = {"anyOf": [{"required": ["use"]}, {"required": ["of"]}]}
    return {"if": other, "then": {"$ref": "#/$defs/named"}, "else": {"$ref": f"#/$defs/kind-{name}"}}


def _kind(name: str, kind: type[Check], shared: Mapping[str, Any], definitions: Schema) -> Schema:
    own = kind.model_json_schema(by_alias=True)
    definitions |= own.get("$defs", {})
    properties = {key: _plain(field) for key, field in own["properties"].items() if key != "use"}
    required = [key for key in own.get("required", ()) if key != "use"]
    return {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "properties": {"use": {"const": name}, **properties, **shared},
        "required": required,
        "additionalProperties": False,
    }


def _panel(shared: Mapping[str, Any]) -> Schema:
    member = {"type": "object", "properties": {"use": {"enum": sorted(KINDS)}}}
    return {
        "type": "object",
        "description": "Several checks that vote: a hit where `need` of them hit.",
        "properties": {
            "need": {"type": "integer", "minimum": 1, "default": 1, "description": "how many must hit"},
            "of": {"type": "object", "minProperties": 1, "additionalProperties": member},
            **shared,
        },
        "required": ["of"],
        "additionalProperties": False,
    }


def _plain(field: Mapping[str, Any]) -> Schema:
    """Without the title that pydantic makes of a name."""
    return {key: value for key, value in field.items() if key != "title"}
