"""Presidio's analyzer: personal data with its place, by models that run elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from gateway.checks.base import Ask, ServiceCall
from gateway.checks.service import Service, documents, score_of, stretch, told
from gateway.core.terms import Document, Judgement, Passage, Span


class Presidio(Service):
    """A hit for each entity that the analyzer finds; it can be masked."""

    single: ClassVar[bool] = True
    most: ClassVar[int | None] = 50_000
    can_rewrite: ClassVar[bool] = True

    use: Literal["presidio"] = "presidio"
    language: str = Field("en", min_length=2, description="of the texts, as the analyzer knows it")
    entities: list[str] | None = Field(None, description="types of entities that count, as PERSON; absent: all")
    threshold: float = Field(0.5, gt=0, le=1, description="score from which it is a hit")

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        spans: list[Span] = []
        highest = 0.0
        for passage in passages:
            if not passage.text.strip():
                continue
            body: Document = {
                "text": passage.text,
                "language": self.language,
                "score_threshold": self.threshold,
            }
            if self.entities is not None:
                body["entities"] = self.entities
            for found in documents(await ask.post(ServiceCall(f"{self.url}/analyze", body, self.bearer()))):
                kind, score, place = told(found, "entity_type", str), score_of(found), stretch(found, passage.text)
                if score >= self.threshold and (self.entities is None or kind in self.entities):
                    spans.append(Span(passage.path, *place, kind))
                    highest = max(highest, score)
        return located(spans, highest)


def located(spans: Sequence[Span], score: float | None = None) -> Judgement:
    """A judgement by the places of its hits."""
    named = tuple(dict.fromkeys(span.category for span in spans))
    paths = tuple(dict.fromkeys(span.path for span in spans))
    return Judgement(bool(spans), named, score, paths, spans=tuple(spans))
