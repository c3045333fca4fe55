"""Presidio's names of personal data, as all three sources use them, and what of them Outrider finds by itself."""

from __future__ import annotations

from typing import Any

from gateway.policy.importers.account import Node
from gateway.policy.importers.draft import Draft

OURS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "US_SSN": "ssn",
    "IP_ADDRESS": "ip",
    "MAC_ADDRESS": "mac",
    "CRYPTO": "crypto",
    **dict.fromkeys("ES_NIF ES_NIE IT_FISCAL_CODE PL_PESEL IN_AADHAAR UK_NINO".split(), "national_id"),
}
SAMPLES = {
    "email": "Write to eve@example.org",
    "phone": "Call +1 415 555 0132",
    "card": "My card is 4111 1111 1111 1111",
    "iban": "Pay to DE89 3704 0044 0532 0130 00",
    "ssn": "My SSN is 536-90-4399",
    "ip": "The server is 203.0.113.77",
    "mac": "It is 3c:22:fb:aa:01:9e",
    "crypto": "Send it to 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "national_id": "My number is AB 12 34 56 C",
}
NOT_OURS = "the kind 'pii' does not find it; `--presidio URL` imports it as a check that asks a Presidio analyzer"


def personal(draft: Draft, name: str, rest: dict[str, Any], entities: list[Node], sources: list[Node]) -> str | None:
    """A check for these entities. With an analyzer it finds all of them, without one those that `pii` knows."""
    if draft.presidio is not None:
        named = [str(one.value) for one in entities]
        entry = {"use": "presidio", "url": draft.presidio, **({"entities": named} if named else {}), **rest}
        return draft.add(name, entry, [*entities, *sources])
    found = dict.fromkeys(OURS[str(one.value)] for one in entities if one.value in OURS)
    for one in entities:
        if one.value not in OURS:
            one.leave(NOT_OURS)
    if entities and not found:
        for source in sources:
            source.leave("nothing that it looks for is found by the kind 'pii'; see `--presidio URL`")
        return None
    settings = {key: value for key, value in rest.items() if key not in {"language", "threshold"}}
    entry = {"use": "pii", **({"entities": list(found)} if found else {}), **settings}
    known = [one for one in entities if one.value in OURS]
    return draft.add(name, entry, [*known, *sources], SAMPLES[next(iter(found), "email")])
