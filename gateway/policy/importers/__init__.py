"""Policies from the guardrails of others: a document goes in, a policy and all that it lacks come out."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from gateway.policy.importers import litellm, nemo, openai_guardrails
from gateway.policy.importers.account import Account, Left
from gateway.policy.importers.draft import Draft, Imported

__all__ = ["SOURCES", "Imported", "Left", "imported", "recognised"]

SOURCES: Mapping[str, ModuleType] = {"openai-guardrails": openai_guardrails, "litellm": litellm, "nemo": nemo}


def recognised(document: Any) -> str | None:
    """Whose format a document has, as far as it shows."""
    return next((name for name, source in SOURCES.items() if source.recognises(document)), None)


def imported(
    document: Any,
    source: str,
    name: str,
    *,
    presidio: str | None = None,
    environ: Mapping[str, str] | None = None,
    origin: str = "",
) -> Imported:
    """The policy `name` of a document. `environ`: where addresses are looked up that a document only refers to."""
    draft = Draft(name, Account(document), environ or {}, presidio)
    notes = SOURCES[source].convert(draft)
    head = (
        f"Imported from {SOURCES[source].TITLE}{f': {origin}' if origin else ''}. Read it, then try it in shadow mode."
    )
    return draft.done([head, *notes])
