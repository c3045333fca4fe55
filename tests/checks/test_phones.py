"""Phone numbers by the plans of countries: what a region finds more, what it takes back, and without the extra."""

import sys

import pytest
from pydantic import ValidationError

from gateway.checks import phones
from gateway.checks.pii import Pii
from gateway.core.terms import Passage, Place


def found(text, **settings):
    spans = Pii(entities=["phone"], **settings).find([Passage("p", Place.USER, text)]).spans
    return [text[span.start : span.end] for span in spans]


@pytest.mark.parametrize(
    ("region", "text", "expected"),
    [
        (None, "Ring mig på 32 12 34 56.", []),
        ("DK", "Ring mig på 32 12 34 56.", ["32 12 34 56"]),
        ("ES", "llámame al 612 345 678", ["612 345 678"]),
        (["US", "ES"], "llámame al 612 345 678", ["612 345 678"]),
        ("US", "llámame al 612 345 678", []),
        (None, "+1 202 555 01", ["+1 202 555 01"]),
        ("US", "+1 202 555 01", []),  # too short for a number of its country
        ("US", "+1 202-555-0143 or 202.555.0143 x12", ["+1 202-555-0143", "202.555.0143 x12"]),
        ("DE", "0044 20 7946 0958", ["0044 20 7946 0958"]),
        ("DE", "030 901820", ["030 901820"]),
        ("DK", "am 2024-05-01 um 20:15, Version 10.20.30.40, 12 von 345 Zeilen", []),
    ],
)
def test_a_region(region, text, expected):
    assert found(text, region=region) == expected


@pytest.mark.parametrize(("region", "words"), [("XX", "no region 'XX'"), (["DE", "USA"], "did you mean 'US'")])
def test_a_region_without_a_plan(region, words):
    with pytest.raises(ValidationError, match=words):
        Pii(region=region)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    phones.plans.cache_clear()
    try:
        with pytest.raises(ValidationError, match=r"'region' needs the extra: pip install 'outrider\[phone\]'"):
            Pii(region="US")
        assert found("call +1 202-555-0143") == ["+1 202-555-0143"]
    finally:
        phones.plans.cache_clear()


def test_the_plans_are_part_of_the_version(monkeypatch):
    before = Pii(region="US").version
    assert before != Pii(region="DE").version
    monkeypatch.setattr(phones.plans(), "__version__", "0")
    assert Pii(region="US").version != before
    assert Pii().version == Pii(region=None).version
