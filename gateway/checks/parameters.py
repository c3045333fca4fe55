"""What a request may ask for: models, lengths, counts, attachments."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from gateway.checks.base import Check
from gateway.checks.texts import attachments
from gateway.core.terms import INPUT_PLACES, Document, Judgement, Passage, Place, Request

LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class Parameters(Check):
    """A hit where a parameter of the request is outside its bounds."""

    can_read = INPUT_PLACES
    always_asked = True

    use: Literal["parameters"] = "parameters"
    models_: list[str] | None = Field(
        None, alias="models", description="names that may be asked for; * stands for any text"
    )
    max_tokens: int | None = Field(None, ge=1, description="that an answer may have, under any of its names")
    require_max_tokens: bool = Field(False, description="a request that names no length is a hit")
    max_temperature: float | None = Field(None, ge=0, le=2, description="of sampling")
    max_n: int | None = Field(None, ge=1, description="answers of one request")
    logprobs: bool = Field(True, description="false: asking for log probabilities is a hit")
    max_attachments: int | None = Field(None, ge=0, description="pictures, audio and files of one request")
    remote_images: bool = Field(True, description="false: a link to a picture that the upstream would fetch is a hit")
    deny: list[str] = Field([], description="top-level fields that must not be there")

    _document: Document = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _something(self) -> Parameters:
        if self == Parameters.model_construct(use="parameters"):
            raise ValueError("give at least one bound, for example 'max_tokens'")
        return self

    def bound(self, request: Request) -> Check:
        made = self.model_copy()
        made._document = request.document  # noqa: SLF001
        return made

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        document = self._document
        attached = [p for p in passages if p.place is Place.ATTACHMENT]
        found = [
            ("models", self.models_ is not None and not self._names(document.get("model"))),
            (
                "max_tokens",
                self.max_tokens is not None and any(_above(document.get(n), self.max_tokens) for n in LENGTHS),
            ),
            ("require_max_tokens", self.require_max_tokens and not any(type(document.get(n)) is int for n in LENGTHS)),
            ("max_temperature", _above(document.get("temperature"), self.max_temperature)),
            ("max_n", _above(document.get("n"), self.max_n) or _above(document.get("best_of"), self.max_n)),
            ("logprobs", not self.logprobs and document.get("logprobs") not in (None, False, 0)),
            ("max_attachments", _above(attachments(passages), self.max_attachments)),
            (
                "remote_images",
                not self.remote_images and any(p.text.lower().startswith(("http:", "https:")) for p in attached),
            ),
            ("deny", any(name in document for name in self.deny)),
        ]
        named = tuple(name for name, broken in found if broken)
        return Judgement(bool(named), named, paths=named)

    def _names(self, model: Any) -> bool:
        return isinstance(model, str) and any(fnmatchcase(model, pattern) for pattern in self.models_ or ())


def _above(value: Any, most: float | None) -> bool:
    return most is not None and isinstance(value, (int, float)) and not isinstance(value, bool) and value > most
