"""How much text there is: characters, words, estimated tokens, messages, attachments."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from gateway.checks.base import Check
from gateway.checks.texts import attachments, spoken
from gateway.core.terms import Judgement, Passage

_MESSAGE = re.compile(r"(?:messages|input)\[\d+\]")
Count = int


class Length(Check):
    """A hit where a total over all passages is above its maximum or below its minimum."""

    always_asked = True

    use: Literal["length"] = "length"
    max_characters: Count | None = Field(None, ge=0, description="characters in all")
    min_characters: Count | None = Field(None, ge=0, description="characters in all")
    max_words: Count | None = Field(None, ge=0, description="words in all, by white space")
    min_words: Count | None = Field(None, ge=0, description="words in all, by white space")
    max_tokens: Count | None = Field(None, ge=0, description="tokens in all, estimated as UTF-8 bytes / 4")
    max_messages: Count | None = Field(None, ge=0, description="messages of the request, or items of its `input`")
    max_attachments: Count | None = Field(None, ge=0, description="pictures, audio and files")

    @model_validator(mode="after")
    def _some_bound(self) -> Length:
        if not any(getattr(self, name) is not None for name in type(self).model_fields if "_" in name):
            raise ValueError("give at least one bound, for example 'max_characters'")
        return self

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        told = spoken(passages)
        counted = {
            "characters": sum(len(p.text) for p in told),
            "words": sum(len(p.text.split()) for p in told),
            "tokens": math.ceil(sum(len(p.text.encode("utf-8", "replace")) for p in told) / 4),
            "messages": len({found[0] for p in told if (found := _MESSAGE.match(p.path))}),
            "attachments": attachments(told),
        }
        broken = [name for name in counted if self._breaks(name, counted[name])]
        return Judgement(bool(broken), tuple(f"length_{name}" for name in broken))

    def _breaks(self, name: str, count: int) -> bool:
        most, least = getattr(self, f"max_{name}", None), getattr(self, f"min_{name}", None)
        return (most is not None and count > most) or (least is not None and count < least)
