"""The table of readings: what an answer is as a ballot, and what is none."""

import pytest

from gateway.core.ballot import Abstained, Reading, fold, read, same

LABELS = {fold(s): label for s, label in {"refund": "refund", "money back": "refund", "bug": "bug"}.items()}
TABLE = [
    ("text", " Yes,  it is. ", "yes, it is"),
    ("text", "**Bold**", "bold"),
    ("text", "<think>no</think>yes", "yes"),
    ("text", "   ", None),
    ("label", "Refund.", "refund"),
    ("label", '"money  BACK"', "refund"),
    ("label", "I would say this:\nLabel: **bug**", "bug"),
    ("label", "reasoning ...\nbug", "bug"),
    ("label", "neither", None),
    ("label", "bugs", None),
    ("number", "1,234.50", "2469/2"),
    ("number", "$1,234", "1234"),
    ("number", "1.234,5", "2469/2"),
    ("number", "12,5", "25/2"),
    ("number", "1 234", "1234"),
    ("number", "-3/4", "-3/4"),
    ("number", "1 1/2", "3/2"),
    ("number", "50%", "1/2"),
    ("number", "1e3", "1000"),
    ("number", "\u22125", "-5"),
    ("number", "The answer is 42.", "42"),
    ("number", r"so \boxed{\frac{1}{2}} no, \boxed{7}", "7"),
    ("number", "forty", None),
    ("number", "1/0", None),
    ("number", "1.2.3", None),
    ("bool", "Yes.", "true"),
    ("bool", "FALSE", "false"),
    ("bool", "maybe", None),
    ("date", "2021-5-1", "2021-05-01"),
    ("date", "5/1/2021", "2021-05-01"),
    ("date", "05/01/2021", "2021-05-01"),
    ("date", "May 1st, 2021", "2021-05-01"),
    ("date", "1 May 2021", "2021-05-01"),
    ("date", "13/13/2021", None),
    ("json", '{"b": 1, "a": [true, null]}', '{"a":[true,null],"b":#1}'),
    ("json", '{"a": 1.0}', '{"a":#1}'),
    ("json", '{"a": 1e0}', '{"a":#1}'),
    ("json", '{"a": "1"}', '{"a":"1"}'),
    ("json", '{"a": true}', '{"a":true}'),
    ("json", '{"a": 1, "a": 2}', None),
    ("json", "NaN", None),
    ("json", 'Here:\n```json\n{"a": 1}\n```', '{"a":#1}'),
    ("json", '{"a": 0.12345678901234567890}', '{"a":#1234567890123456789/10000000000000000000}'),
    ("literal", "[(1, 2.0), 'x']", '[(#1,#2),"x"]'),
    ("literal", "{1: None}", '{"#1":null}'),
    ("literal", "import os", None),
]


@pytest.mark.parametrize(("kind", "text", "expected"), TABLE)
def test_readings(kind, text, expected):
    assert read(text, Reading(kind, labels=LABELS)) == expected


@pytest.mark.parametrize(
    ("reading", "text", "expected"),
    [
        (Reading("number", select="whole"), "it is 5", None),
        (Reading("number", select="marker", marker="So:"), "So: 4\nthen\nSo: 5", "5"),
        (Reading("number", select="pointer", pointer="/a/0"), '{"a": [3, 4]}', "3"),
        (Reading("number", select="fenced"), "```\n1\n```\n```\n2\n```", "2"),
        (Reading("number", select="last_line"), "1\n2\n\n", "2"),
        (Reading("date", day_first=True), "5/1/2021", "2021-01-05"),
        (
            Reading("json", ignore=("/id", "/items/*/at")),
            '{"id": 1, "items": [{"at": 2, "v": 3}]}',
            '{"items":[{"v":#3}]}',
        ),
        (Reading("json", unordered=("/tags",)), '{"tags": ["b", "a"]}', '{"tags":["a","b"]}'),
        (Reading("json", null_is_missing=True), '{"a": null}', "{}"),
    ],
)
def test_settings_of_a_reading(reading, text, expected):
    assert read(text, reading) == expected


def test_an_abstention_is_said_and_not_guessed():
    with pytest.raises(Abstained):
        read("Not sure.", Reading("label", labels=LABELS, abstain=frozenset({"not sure"})))


def test_tolerance():
    near = same(Reading("number", absolute=0.01))
    assert near("1", "1001/1000")
    assert not near("1", "102/100")
    alike = same(Reading("literal", absolute=0.01))
    assert alike("[#1,#2]", "[#1001/1000,#2]")
    assert not alike("[#1,#2]", "(#1,#2)")
    assert same(Reading("number")) is None


def test_tool_calls_are_a_multiset_of_names_and_arguments():
    def call(name, arguments):
        return {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}

    reading = Reading("tool_calls")
    one = {"tool_calls": [call("a", '{"x": 1, "y": 2}'), call("b", "")]}
    two = {"tool_calls": [call("b", "{}"), call("a", '{"y": 2.0, "x": 1}')]}
    assert read("", reading, one) == read("", reading, two)
    assert read("", reading, {"content": "hello"}) == "text"
    assert read("", reading, {"tool_calls": [call("a", "{")]}) is None
    assert read("", reading, {"content": None}) is None
