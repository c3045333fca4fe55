"""Qwen3Guard-Gen: lines that tell the safety, the categories and, of an answer, whether it refuses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from gateway.checks.base import CheckFault
from gateway.checks.guard import Guard, Verdict, fields, known
from gateway.checks.replies import replied
from gateway.core.terms import Document, Side

CATEGORIES = (
    "Violent",
    "Non-violent Illegal Acts",
    "Sexual Content or Sexual Acts",
    "PII",
    "Suicide & Self-Harm",
    "Unethical Acts",
    "Politically Sensitive Topics",
    "Copyright Violation",
    "Jailbreak",
)


class Qwen3Guard(Guard):
    """A hit where the model says Unsafe, or Controversial if that is to count."""

    use: Literal["qwen3guard"] = "qwen3guard"
    controversial: bool = Field(default=False, description="whether Controversial is a hit as well")
    categories: list[str] | None = Field(None, description="only these count; absent: all")

    @field_validator("categories")
    @classmethod
    def _named(cls, categories: list[str] | None) -> list[str] | None:
        return known(categories, CATEGORIES)

    def body(self, text: str, side: Side) -> Document:
        return {"messages": self.turns(text, side), "temperature": 0, "max_tokens": 128}

    def read(self, answer: Document, side: Side) -> Verdict:
        said = fields(replied(answer))
        safety = said.get("safety")
        if safety not in {"Safe", "Controversial", "Unsafe"}:
            raise CheckFault("the model's answer is not a verdict")
        if safety == "Safe" or (safety == "Controversial" and not self.controversial):
            return Verdict(hit=False)
        named = tuple(
            one for part in said.get("categories", "").split(",") if (one := part.strip()) not in {"", "None"}
        )
        if self.categories is None or not named:
            return Verdict(hit=True, categories=named or (safety.lower(),))
        counted = tuple(one for one in named if one in self.categories or one not in CATEGORIES)
        return Verdict(bool(counted), counted)
