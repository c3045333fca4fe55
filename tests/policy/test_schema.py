"""The schema for editors says of a policy file what the loader says."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from gateway.checks import KINDS
from gateway.policy.schema import schema

ROOT = Path(__file__).parent.parent.parent
VALIDATOR = jsonschema.Draft202012Validator(schema())
NOTES = yaml.safe_load((ROOT / "docs" / "kinds" / "notes.yaml").read_text())


def mistakes(text):
    return list(VALIDATOR.iter_errors(yaml.safe_load(text)))


def test_it_is_a_schema_and_the_file_is_as_it_is():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads((ROOT / "policies" / "schema.json").read_text()) == schema(), "run `make docs`"


@pytest.mark.parametrize("file", sorted((ROOT / "policies").rglob("*.yaml")), ids=lambda file: file.stem)
def test_the_shipped_policies_are_as_it_says(file):
    assert mistakes(file.read_text()) == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_example_of_each_kind_is_as_it_says(kind):
    assert mistakes(f"policy: p\nchecks:\n  mine: {NOTES[kind]['example']}\n") == []


@pytest.mark.parametrize(
    "check",
    [
        "pii: {do: mask, restore: content}",
        "secrets: {at: [input, tool_result], timeout: 500ms, mode: shadow}",
        "pii: {use: regex, patterns: {a: b}}",
        "harm: {need: 2, of: {a: {use: judge, model: m}, judge: {model: m}}, on_error: allow}",
    ],
)
def test_what_loads_is_right(check):
    assert mistakes(f"policy: p\nchecks:\n  {check}\n") == []


@pytest.mark.parametrize(
    "check",
    [
        "pii: {entitys: [email]}",
        "pii: {entities: [emial]}",
        "mine: {use: keywordz, words: [x]}",
        "mine: {words: [x]}",
        "regex: {}",
        "pii: {do: hide}",
        "pii: {timeout: 5}",
        "pii: {use: regex, entities: [email]}",
        "harm: {need: 0, of: {a: {use: judge}}}",
        "Bad name: {use: pii}",
        "length: {max_words: many}",
    ],
)
def test_what_does_not_load_is_wrong(check):
    assert mistakes(f"policy: p\nchecks:\n  {check}\n")


@pytest.mark.parametrize(
    "policy",
    ["policy: p", "checks: {pii: {}}", "policy: p\nmode: enforced\nchecks: {pii: {}}", "policy: p\nchecks: {}"],
)
def test_the_keys_of_a_policy_are_held_to(policy):
    assert mistakes(policy)
