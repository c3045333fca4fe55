"""Embeddings: texts in, numbers out."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.terms import Document, Passage
from gateway.wire.answers import PlainReader
from gateway.wire.completions import check_texts, joined, token_ids
from gateway.wire.endpoint import Endpoint, MiB, invalid
from gateway.wire.fields import EMBEDDINGS_KEYS


class Embeddings(Endpoint):
    name = "embeddings"
    path = "/embeddings"
    keys = EMBEDDINGS_KEYS
    max_answer = 64 * MiB
    max_values = 4_000_000  # 2,048 inputs of 1,536 numbers

    def check(self, document: Document) -> None:
        check_texts(document, "input")

    def streams(self, document: Document) -> bool:
        if document.get("stream") not in (None, False):
            raise invalid("stream", "is not served here")
        return False

    def passages(self, document: Document) -> Iterator[Passage]:
        yield from super().passages(document)
        yield from token_ids(document, "input")
        yield from joined(document, "input")

    def reader(self, asked: Document, *, stream: bool) -> PlainReader:
        return PlainReader(asked, stream=False, endpoint=self.name, needs="data")
