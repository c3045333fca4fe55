"""What calls cost: tokens, and dollars where `prices` of outrider.yaml knows the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.config.model import Price

MILLION = 1_000_000


def dollars(usage: Mapping[str, Any] | None, price: Price | None) -> float | None:
    """USD of one call, by what its answer says it used; None where either is not known."""
    if usage is None or price is None:
        return None
    asked = _count(usage, "prompt_tokens", "input_tokens")
    said = _count(usage, "completion_tokens", "output_tokens")
    return (asked * price.input + said * price.output) / MILLION


def _count(usage: Mapping[str, Any], *names: str) -> int:
    return next((count for name in names if type(count := usage.get(name)) is int and count >= 0), 0)


@dataclass(slots=True)
class Spent:
    """What one look has cost so far, whatever becomes of it."""

    tokens: dict[str, int] = field(default_factory=dict)  # by the names that the answers use
    usd: float | None = None

    def add(self, usage: Mapping[str, Any] | None, price: Price | None) -> None:
        for name, count in (usage or {}).items():
            if type(count) is int and count >= 0:
                self.tokens[name] = self.tokens.get(name, 0) + count
        if (usd := dollars(usage, price)) is not None:
            self.usd = (self.usd or 0.0) + usd

    def line(self) -> dict[str, Any]:
        """As a receipt tells it: only what was spent."""
        said: dict[str, Any] = {"usage": dict(self.tokens)} if self.tokens else {}
        return said if self.usd is None else {**said, "usd": round(self.usd, 8)}
