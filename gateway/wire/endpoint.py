"""What every endpoint is: how its requests are read and forwarded, its answers followed, its events told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

import orjson

from gateway.core.terms import Document, Passage, Place, Request
from gateway.wire import canonical, sse, walk
from gateway.wire.canonical import AsItCame, Malformed
from gateway.wire.coats import Coat
from gateway.wire.errors import BadRequest
from gateway.wire.fields import KEYS, REFERENCES, REQUEST_TOP
from gateway.wire.padding import padded
from gateway.wire.reader import Reader
from gateway.wire.rewrite import rewritten
from gateway.wire.walk import PAYLOAD_KEYS, SCALARS, Leaf, Steps, hidden, hides, leaves, says

JSON = "application/json"
MiB = 1024**2
Spoken = Literal["message", "refusal"]
_EVENT = re.compile(r"[a-z][a-z0-9_.]{0,80}\Z")


DEFINED = 32  # tools and the like whose passages are kept
LONGEST_DEFINED = 65_536  # bytes of such


class Endpoint:
    """One endpoint. Only `read` sees a client's bytes; only `frame` and `encode` make bytes."""

    name: ClassVar[str]  # as `for.endpoints` of a policy and a receipt name it
    path: ClassVar[str]  # below the base URL; unique
    keys: ClassVar[frozenset[str]]  # top-level fields of a request
    param: ClassVar[str] = "input"  # the field that a block names
    method: ClassVar[str] = "POST"
    media: ClassVar[frozenset[str]] = frozenset({JSON})  # of request bodies
    raw_media: ClassVar[re.Pattern[str] | None] = None  # of answers that are not JSON
    flows: ClassVar[bool] = False  # such an answer is passed on as it comes
    needs_model: ClassVar[bool] = True
    done: ClassVar[bytes] = sse.DONE  # how an event stream ends
    refuses_in_mid_stream: ClassVar[bool] = True  # a refusal can follow what has been said
    fails_by_events: ClassVar[bool] = False  # what `failed` says hangs on events that the client has
    max_answer: ClassVar[int] = 10 * MiB  # bytes of a plain answer
    max_values: ClassVar[int] = canonical.MAX_VALUES  # of a plain answer
    max_event: ClassVar[int] = MiB  # bytes of one event

    # --- requests

    def read(self, body: bytes, content_type: str = JSON) -> Request:
        """A request from its bytes. Raises BadRequest."""
        document = self.parse(body, content_type)
        _refuse_confusable_keys(document, self.keys)
        self.check(document)
        model = self.model_of(document)
        found = tuple(self.passages(document))
        stream = self.streams(document)
        if stream:  # which outlives its bytes
            document = dict(document)
        return Request(self.name, model, stream, document, found)

    def parse(self, body: bytes, content_type: str) -> Document:
        return canonical.parse(body)

    def check(self, document: Document) -> None:
        """Refuse what has not the shape of a request, with the field's name. Raises BadRequest."""

    def model_of(self, document: Document) -> str:
        model = document.get("model")
        if model is None and not self.needs_model:
            return ""
        if not isinstance(model, str) or not model.strip():
            raise invalid("model", "must be a name")
        return model

    def streams(self, document: Document) -> bool:
        """Whether the answer is asked for as an event stream."""
        stream = document.get("stream")
        if stream is not None and type(stream) is not bool:
            raise invalid("stream", "must be true or false")
        return bool(stream)

    def place(self, steps: Steps, document: Document) -> Place:
        """The place of a request's string."""
        return REQUEST_TOP[self.name].get(steps[0], Place.OTHER_INPUT)

    def passages(self, document: Document) -> Iterable[Passage]:
        """Every text of a request: as it stands, and decoded where it is wrapped; and what is unread."""
        if not document.keys() <= KEYS:
            yield from self.passages_below((), document, dict.fromkeys(document))
        for name, value in document.items():
            if type(value) not in SCALARS:
                yield from self.passages_under(name, document, value)

    def passages_under(self, name: str, document: Document, part: Any) -> Iterable[Passage]:
        """Those of what a request holds under a name. Tools are long, and the same in all requests of an application."""
        if type(part) is not str and REQUEST_TOP[self.name].get(name) is Place.TOOL_DEFINITION:
            body = canonical.dump(part)
            if len(body) <= LONGEST_DEFINED:
                with suppress(orjson.JSONDecodeError):  # it holds a number that only the strict parser carries
                    return _defined(self, name, body)
        return self.passages_below((name,), document, part)

    def passages_below(self, base: Steps, document: Document, part: Any) -> Iterator[Passage]:
        """Those of a part of it, to which `base` leads."""
        if type(part) is str:
            if says(walk.name_of(base), part):
                yield from self.passages_of(Leaf(base, part), document)
        elif type(part) not in SCALARS:
            for leaf in leaves(part, base=base):
                yield from self.passages_of(leaf, document)

    def passages_of(self, leaf: Leaf, document: Document) -> Iterator[Passage]:
        place, path, name = self.place(leaf.steps, document), leaf.path, walk.name_of(leaf.steps)
        missing: str | None = REFERENCES.get(name)
        if name in PAYLOAD_KEYS:
            told = walk.coded(leaf)
            missing = told.unread or missing
            for step, text in walk.texts_of(leaf, told):
                origin = Coat(path, leaf.text, step) if step else None
                yield Passage(path + step, place, text, origin)
        else:
            yield Passage(path, place, leaf.text)
            for step, text in hidden(leaf.text) if hides(leaf.text) else ():
                yield Passage(path + step, place, text, Coat(path, leaf.text, step))
        if missing:
            yield Passage(path, Place.UNREAD_INPUT, missing)

    def forward(self, request: Request, model: str) -> Document:
        """What the upstream gets: the checked document with its own name for the model."""
        if type(request.document) is AsItCame and request.document.get("model") == model:
            return request.document
        return {**request.document, "model": model} if model else dict(request.document)

    def rewritten(self, request: Request, texts: Mapping[tuple[str, str], str]) -> Request:
        """The request in which these texts, by path and text, say something else, read anew."""
        document = rewritten(request.document, texts)
        return replace(request, document=document, passages=tuple(self.passages(document)))

    def encode(self, document: Document) -> tuple[str, bytes]:
        """A document as the bytes of a request: content type, body."""
        return JSON, canonical.dump(document)

    # --- answers

    def reader(self, asked: Document, *, stream: bool) -> Reader:
        """What follows one answer to `asked`."""
        raise NotImplementedError

    def chunks(self, document: Document) -> list[Document]:
        """A whole answer as the events of a stream, for an upstream that did not stream. Raises Malformed."""
        raise Malformed("it is not a stream")

    def whole(self, chunks: list[Document]) -> Document:
        """The events of a stream as a whole answer, for an upstream that streamed unasked. Raises Malformed."""
        raise Malformed("it is a stream")

    def for_client(self, request: Request, frame: Document) -> Document | None:
        """A released event as the client asked for it; None: not at all."""
        return frame

    def frame(self, document: Document) -> bytes:
        """One event as bytes."""
        return sse.frame(padded(canonical.dump(document)))

    def failed(self, error: Document, first: Document, last: Document, request: Request) -> bytes:
        """How a stream under way tells an error; `first` and `last`: events that the client has, if it `fails_by_events`."""
        return sse.frame(canonical.dump(error)) + sse.DONE

    def refused(
        self, way: Spoken, *, text: str, request: Request, request_id: str, created: int, usage: Document | None
    ) -> list[Document] | None:
        """A block as an answer: the policy's own words, one document or a stream's; None: only an error can say it."""
        return None


@lru_cache(DEFINED)
def _defined(endpoint: Endpoint, name: str, body: bytes) -> tuple[Passage, ...]:
    """The passages of definitions, from their canonical form, on which alone they depend."""
    return tuple(endpoint.passages_below((name,), {}, orjson.loads(body)))


class Events(Endpoint):
    """An endpoint whose events are told apart by their `type`."""

    def frame(self, document: Document) -> bytes:
        said = document.get("type")
        name = said if isinstance(said, str) and _EVENT.match(said) else ""
        return sse.frame(padded(canonical.dump(document)), name)


def invalid(param: str, problem: str) -> BadRequest:
    return BadRequest(f"'{param}' {problem}.", param=param, code="invalid_value")


def _refuse_confusable_keys(document: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in [key for key in document if key not in known]:
        plain = unicodedata.normalize("NFKC", key).strip().casefold()
        if plain in known:
            raise BadRequest(f"A key looks like '{plain}' but is not it.", param=plain, code="unknown_parameter")


def check_count(document: Document, name: str, most: int) -> None:
    n = document.get(name)
    if n is not None and (type(n) is not int or not 1 <= n <= most):
        raise invalid(name, f"must be a whole number from 1 to {most}")


def check_object(document: Document, name: str) -> None:
    if not isinstance(document.get(name), dict | None):
        raise invalid(name, "must be an object")
