"""Llama Guard 3 and 4: `safe`, or `unsafe` and the codes of what is wrong."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from gateway.checks.base import CheckFault
from gateway.checks.guard import Guard, Verdict, known
from gateway.checks.replies import replied
from gateway.core.terms import Document, Side

CODES = tuple(f"S{number}" for number in range(1, 15))
_UNSAFE = re.compile(r"unsafe(?:\s+(S\d{1,2}(?:\s*,\s*S\d{1,2})*))?")


class LlamaGuard(Guard):
    """A hit where the model says unsafe, of one of the categories if any are named."""

    use: Literal["llama_guard"] = "llama_guard"
    categories: list[str] | None = Field(None, description="codes S1 to S14 that count; absent: all")

    @field_validator("categories")
    @classmethod
    def _named(cls, categories: list[str] | None) -> list[str] | None:
        return known(categories, CODES)

    def body(self, text: str, side: Side) -> Document:
        return {"messages": self.turns(text, side), "temperature": 0, "max_tokens": 64}

    def read(self, answer: Document, side: Side) -> Verdict:
        said = replied(answer)
        if said == "safe":
            return Verdict(hit=False)
        if (unsafe := _UNSAFE.fullmatch(said)) is None:
            raise CheckFault("the model's answer is not a verdict")
        codes = tuple(re.findall(r"S\d+", unsafe[1] or ""))
        if self.categories is None or not codes:
            return Verdict(hit=True, categories=codes or ("unsafe",))
        counted = tuple(code for code in codes if code in self.categories or code not in CODES)
        return Verdict(bool(counted), counted)
