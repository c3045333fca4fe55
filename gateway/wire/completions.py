"""Text completions, the endpoint before chat: a prompt, or several, and choices of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.core.terms import Document, Passage, Place, Request
from gateway.wire.canonical import Malformed
from gateway.wire.choices import MAX_CHOICES, Choices, ChoicesReader
from gateway.wire.endpoint import Spoken, check_count, check_object, invalid
from gateway.wire.fields import COMPLETIONS_KEYS


class CompletionsReader(ChoicesReader):
    def fit_body(self, choice: Document) -> Document:
        text = choice.get("text")
        if text is None and self.stream:
            text = ""
        if not isinstance(text, str):
            raise Malformed("a choice has no 'text'")
        return {"text": text}


class Completions(Choices):
    name = "completions"
    path = "/completions"
    keys = COMPLETIONS_KEYS
    param = "prompt"

    def check(self, document: Document) -> None:
        check_object(document, "stream_options")
        check_count(document, "n", MAX_CHOICES)
        check_count(document, "best_of", MAX_CHOICES)
        check_texts(document, "prompt", required=False)

    def passages(self, document: Document) -> Iterator[Passage]:
        yield from super().passages(document)
        yield from token_ids(document, "prompt")
        yield from joined(document, "prompt")

    def reader(self, asked: Document, *, stream: bool) -> CompletionsReader:
        return CompletionsReader(asked, stream=stream)

    def chunks(self, document: Document) -> list[Document]:
        CompletionsReader({}, stream=False).fit(document)
        return _chunks(document)

    def whole(self, chunks: list[Document]) -> Document:
        return self.gather(chunks, None)

    def refused(
        self, way: Spoken, *, text: str, request: Request, request_id: str, created: int, usage: Document | None
    ) -> list[Document]:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "content_filter"}
        document: Document = {
            "id": f"cmpl-{request_id}",
            "object": "text_completion",
            "created": created,
            "model": request.model,
            "choices": [choice],
            "usage": usage or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        }
        return _chunks(document) if request.stream else [document]


def check_texts(document: Document, name: str, *, required: bool = True) -> None:
    """A string, a list of strings, or token ids. Raises BadRequest."""
    value = document.get(name)
    if value is None and not required:
        return
    if isinstance(value, str) or _token_ids(value):
        return
    if isinstance(value, list) and value and all(isinstance(v, str) or _token_ids(v) for v in value):
        return
    raise invalid(name, "must be a string, a list of strings, or token ids")


def _token_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(v) is int for v in value)


def token_ids(document: Document, name: str) -> Iterator[Passage]:
    """Token ids are text that cannot be read without the model's own tokenizer."""
    value = document.get(name)
    if _token_ids(value) or (isinstance(value, list) and any(_token_ids(v) for v in value)):
        yield Passage(name, Place.UNREAD_INPUT, "token ids")


def joined(document: Document, name: str) -> Iterator[Passage]:
    """A word that is cut over two elements of a list is whole here."""
    value = document.get(name)
    if isinstance(value, list) and len(texts := [v for v in value if isinstance(v, str)]) > 1:
        yield Passage(f"{name}[*]", Place.USER, "".join(texts))


def _chunks(document: Document) -> list[Document]:
    head = {key: value for key, value in document.items() if key not in {"choices", "usage"}}
    chunks: list[Document] = [
        {**head, "choices": [{"index": position, **choice}]} for position, choice in enumerate(document["choices"])
    ]
    if document.get("usage") is not None:
        chunks.append({**head, "choices": [], "usage": document["usage"]})
    return chunks
