"""Telephone numbers by the numbering plans of countries, which the extra `phone` brings along."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from gateway.checks.hurry import takes

COST = 6  # of reading one text by one plan, in units of `hurry`
EXTRA = "'region' needs the extra: pip install 'outrider[phone]'"
GROUPED = "|".join(rf"\b\d{{2,5}}(?:{gap}\d{{2,4}}){{1,5}}\b" for gap in (" ", r"\.", "-"))  # if a plan has it


@cache
def plans() -> Any:
    """The library. Raises ValueError without the extra."""
    try:
        return importlib.import_module("phonenumbers")
    except ImportError:
        raise ValueError(EXTRA) from None


def known() -> frozenset[str]:
    """Two-letter codes of the regions that have a plan. Raises ValueError without the extra."""
    return frozenset(plans().SUPPORTED_REGIONS)


def warm(regions: Sequence[str]) -> None:
    """Read the plans of these regions now, so that no request waits for it."""
    for region in regions:
        plans().is_valid_number(plans().example_number(region))


def version() -> str:
    return str(plans().__version__)


def is_possible(text: str, regions: Sequence[str]) -> bool:
    """Whether it has the length of a number of its own country, or of one of the regions."""
    return any(plans().is_possible_number(number) for number in _read(text, regions))


def is_given_out(text: str, regions: Sequence[str]) -> bool:
    """Whether the plan of its country or of one of the regions gives out such numbers."""
    return any(plans().is_valid_number(number) for number in _read(text, regions))


def _read(text: str, regions: Sequence[str]) -> list[Any]:
    plain = text.strip()
    if plain.startswith("00"):
        plain = "+" + plain[2:]
    read = []
    for region in regions:
        takes(COST)
        try:
            read.append(plans().parse(plain, region))
        except plans().NumberParseException:
            continue
    return read
