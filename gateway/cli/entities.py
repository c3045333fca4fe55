"""How well a check finds the places of values: for each entity, which are found, which exactly, and which are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.cli.labelled import Gold

ANY = "any"  # every value, whatever it is taken for
# What other people call the entities of `pii`; of other names the one in lower case is tried.
NAMES = {
    "email_address": "email",
    "phone_number": "phone",
    "telephone": "phone",
    "credit_card": "card",
    "credit_card_number": "card",
    "iban_code": "iban",
    "us_ssn": "ssn",
    "social_security_number": "ssn",
    "ip_address": "ip",
    "mac_address": "mac",
}


class Entities:
    """What came of the values of one source. A value is found where what is told covers half of it or more."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        """`names`: what the data calls an entity -> what the check calls it."""
        self._names = {name.lower(): entity for name, entity in (names or {}).items()}
        self._counts: dict[str, Counter[str]] = {}

    def add(self, wanted: Iterable[Gold], found: Sequence[Gold]) -> None:
        named = [Gold(g.start, g.end, self._name(g.entity)) for g in wanted]
        for gold in named:
            for entity in (gold.entity, ANY):
                alike = [f for f in found if entity in (ANY, f.entity)]
                self._count(entity)["values"] += 1
                self._count(entity)["found"] += any(_covers(f, gold) for f in alike)
                self._count(entity)["exact"] += any(f[:2] == gold[:2] for f in alike)
        for one in found:
            for entity in (one.entity, ANY):
                right = any(_overlap(one, g) for g in named if entity in (ANY, g.entity))
                self._count(entity)["right" if right else "wrong"] += 1

    def figures(self) -> dict[str, dict[str, Any]]:
        """Those that the data holds, the most frequent first, then those that only the check tells; `any` last."""
        order = sorted(self._counts, key=lambda name: (name == ANY, -self._counts[name]["values"], name))
        return {name: self._of(self._counts[name]) for name in order}

    def _of(self, count: Counter[str]) -> dict[str, Any]:
        values, told = count["values"], count["right"] + count["wrong"]
        return {
            "values": values,
            "told": told,
            "recall": count["found"] / values if values else None,
            "exact": count["exact"] / values if values else None,
            "precision": count["right"] / told if told else None,
        }

    def _name(self, told: str) -> str:
        plain = told.lower()
        return self._names.get(plain) or NAMES.get(plain, plain)

    def _count(self, entity: str) -> Counter[str]:
        return self._counts.setdefault(entity, Counter())


def _overlap(one: Gold, other: Gold) -> int:
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def _covers(found: Gold, gold: Gold) -> bool:
    return 2 * _overlap(found, gold) >= gold.end - gold.start
