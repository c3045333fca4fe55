"""JSON Schema says what `jsonschema` says, and comes to an end whoever wrote the schema."""

import json
import time

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.hurry import Hurry
from gateway.checks.schemas import Schema
from gateway.core.holdback import Crowded

values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from([0.0, 1.0, 1.5]) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)
keywords = {
    "type": st.sampled_from(["object", "array", "string", "integer", "number", "null", ["string", "array"]]),
    "pattern": st.sampled_from(["a", "^b+$", "a.b"]),
    "uniqueItems": st.booleans(),
    "enum": st.lists(values, min_size=1, max_size=3),
    "const": values,
    "required": st.lists(st.text("ab", max_size=2), max_size=2, unique=True),
    "minimum": st.integers(-1, 2),
    "maxLength": st.integers(0, 2),
    "minItems": st.integers(0, 2),
}
made = st.recursive(
    st.fixed_dictionaries({}, optional=keywords),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            **keywords,
            "properties": st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["a", "^b"]), inner, max_size=2),
            "additionalProperties": inner | st.booleans(),
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    ),
    max_leaves=5,
)


@given(made, values)
def test_it_says_what_jsonschema_says(schema, document):
    expected = jsonschema.Draft202012Validator(schema).is_valid(document)
    assert Schema(schema).is_valid(document, len(json.dumps(document))) == expected


DOUBLING = {"$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": False}, "$ref": "#/$defs/d0"}  # fmt: skip
HOSTILE = [
    ({"pattern": "^(a+)+$"}, "a" * 60 + "b"),
    ({"patternProperties": {"^(a+)+$": False}, "additionalProperties": False}, {"a" * 60 + "b": 1}),
    ({"uniqueItems": True}, [{"a": number} for number in range(3000)] + [{"a": 1.0}]),
    (DOUBLING, 1),
    ({"allOf": [{"$ref": "#"}]}, 1),
    ({"pattern": "(?=a)a"}, "a"),
    ({"patternProperties": {"a": True}, "unevaluatedProperties": False}, {"a": 1}),
]


@pytest.mark.parametrize(("schema", "document"), HOSTILE, ids=[json.dumps(schema)[:40] for schema, _ in HOSTILE])
def test_what_would_take_too_long_or_cannot_be_told_is_not_valid(schema, document):
    started = time.process_time()
    assert not Schema(schema).is_valid(document, len(json.dumps(document)))
    assert time.process_time() - started < 10  # without the bounds: for ever


def test_a_large_document_is_read_to_its_end():
    schema = {"items": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]}}
    document = [{"n": number} for number in range(20_000)]
    told = len(json.dumps(document))
    assert Schema(schema).is_valid(document, told)
    assert not Schema(schema).is_valid([*document, {"n": -1}], told)
    with Hurry(), pytest.raises(Crowded):
        Schema(schema).is_valid(document, told)


@pytest.mark.parametrize("schema", [{"type": "objekt"}, {"required": "a"}, {"enum": 1}])
def test_what_is_no_schema(schema):
    with pytest.raises(ValueError, match="is no JSON Schema"):
        Schema(schema)
