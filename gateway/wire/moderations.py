"""Moderations: forwarded, or answered by Outrider's own policies for the model `outrider/<policy>`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.terms import Document
from gateway.wire.answers import PlainReader
from gateway.wire.endpoint import Endpoint, invalid
from gateway.wire.fields import MODERATIONS_KEYS

OWN = "outrider/"
CATEGORIES = (
    "harassment harassment/threatening sexual hate hate/threatening illicit illicit/violent self-harm/intent "
    "self-harm/instructions self-harm sexual/minors violence violence/graphic"
).split()


class Moderations(Endpoint):
    name = "moderations"
    path = "/moderations"
    keys = MODERATIONS_KEYS
    needs_model = False

    def check(self, document: Document) -> None:
        value = document.get("input")
        if isinstance(value, str) or (isinstance(value, list) and value and all(map(_is_input, value))):
            return
        raise invalid("input", "must be a string, a list of strings, or a list of parts")

    def reader(self, asked: Document, *, stream: bool) -> PlainReader:
        return PlainReader(asked, stream=False, endpoint=self.name, needs="results")


def _is_input(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("type"), str))


@dataclass(frozen=True, slots=True)
class Result:
    """What a policy says of one input: every category that it could name, with a score."""

    flagged: bool
    scores: Mapping[str, float]  # by check and by category; 1.0: hit


def inputs(document: Document) -> list[list[str]]:
    """The texts of each input; a list of parts is one input."""
    value = document["input"]
    if isinstance(value, str):
        return [[value]]
    if all(isinstance(v, str) for v in value):
        return [[v] for v in value]
    return [[text for v in value if (text := v if isinstance(v, str) else v.get("text")) and isinstance(text, str)]]


def answer(results: list[Result], *, model: str, request_id: str) -> Document:
    """OpenAI's shape: its own categories are there as well, so that typed clients find them."""
    return {"id": f"modr-{request_id}", "model": model, "results": [_result(one) for one in results]}


def _result(one: Result) -> Document:
    scores = {**dict.fromkeys(CATEGORIES, 0.0), **one.scores}
    return {
        "flagged": one.flagged,
        "categories": {name: score >= 1.0 for name, score in scores.items()},
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in scores},
    }
