"""Chat completions: a body to a Request, and an upstream's chunks to Deltas with all their text.

A stream cuts text anywhere, so every string under a choice continues the channel of its path: a
word that is split over chunks is whole in its channel, in unknown fields as well. Strings outside
the choices (ids, names) are said once each.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from gateway.core.terms import Delta, Document, Passage, Piece, Place, Request
from gateway.wire import canonical
from gateway.wire.canonical import Malformed
from gateway.wire.errors import BadRequest
from gateway.wire.fields import ANSWER, ATTACHMENTS, REQUEST_KEYS, REQUEST_TOP, ROLES
from gateway.wire.walk import MAX_DECODED, Leaf, hidden, leaves, render

MAX_CHOICES = 128


class UpstreamErrorFrame(ValueError):
    """The upstream sent an error object where an answer was expected."""


# --- requests ---------------------------------------------------------------------------------


def read_request(body: bytes) -> Request:
    """A chat request from its bytes. Raises BadRequest."""
    document = canonical.parse(body)
    _refuse_confusable_keys(document)
    model = document.get("model")
    if not isinstance(model, str) or not model.strip():
        raise BadRequest("'model' must be a name.", param="model", code="invalid_value")
    stream = document.get("stream")
    if not isinstance(stream, bool | None):
        raise BadRequest("'stream' must be true or false.", param="stream", code="invalid_value")
    if not isinstance(document.get("stream_options"), dict | None):
        raise BadRequest("'stream_options' must be an object.", param="stream_options", code="invalid_value")
    _check_choices(document.get("n"))
    _check_messages(document.get("messages"))
    return Request("chat", model, bool(stream), document, tuple(passages(document)))


def _refuse_confusable_keys(document: Document) -> None:
    for key in document:
        plain = unicodedata.normalize("NFKC", key).strip().casefold()
        if key not in REQUEST_KEYS and plain in REQUEST_KEYS:
            raise BadRequest(f"A key looks like '{plain}' but is not it.", param=plain, code="unknown_parameter")


def _check_choices(n: Any) -> None:
    if n is not None and (type(n) is not int or not 1 <= n <= MAX_CHOICES):
        raise BadRequest(f"'n' must be a whole number from 1 to {MAX_CHOICES}.", param="n", code="invalid_value")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a list with at least one message.", param="messages", code="invalid_value")
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            raise BadRequest(f"'{where}' must be an object.", param=where, code="invalid_value")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            said = "' or '".join(ROLES)
            raise BadRequest(f"'{where}.role' must be '{said}'.", param=f"{where}.role", code="invalid_value")
        _check_content(message.get("content"), f"{where}.content")


def _check_content(content: Any, where: str) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise BadRequest(f"'{where}' must be a string or a list of parts.", param=where, code="invalid_value")
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            here = f"{where}[{number}]"
            raise BadRequest(f"'{here}' must be an object with a 'type'.", param=here, code="invalid_value")


def passages(document: Document) -> Iterator[Passage]:
    """Every text of a request: as it stands, decoded where it is wrapped, and joined over parts."""
    for leaf in leaves(document):
        place = _place_of(leaf, document)
        yield Passage(leaf.path, place, leaf.text)
        for step, text in hidden(leaf.text):
            yield Passage(leaf.path + step, place, text)
    yield from _joined(document["messages"])


def _place_of(leaf: Leaf, document: Document) -> Place:
    steps = leaf.steps
    if steps[0] != "messages" or len(steps) < 3:
        return REQUEST_TOP.get(steps[0], Place.OTHER_INPUT)
    if steps[2] == "content" and len(steps) > 4 and steps[4] in ATTACHMENTS:
        return Place.ATTACHMENT
    message = document["messages"][int(steps[1][1:-1])]
    return ROLES[message["role"]]


def _joined(messages: Iterable[Document]) -> Iterator[Passage]:
    """A word that is cut over two parts of a message is whole here."""
    for number, message in enumerate(messages):
        content = message.get("content")
        if not isinstance(content, list):
            continue
        texts = [part["text"] for part in content if isinstance(part.get("text"), str)]
        if len(texts) > 1:
            yield Passage(f"messages[{number}].content[*]", ROLES[message["role"]], "".join(texts))


def wants_usage(request: Request) -> bool:
    options = request.document.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def forward(request: Request, model: str) -> Document:
    """What the upstream gets: the checked document with its own name for the model, and usage asked for."""
    document = {**request.document, "model": model}
    if request.stream:
        document["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
    return document


# --- answers ----------------------------------------------------------------------------------


def _by_index(_position: int, item: Any) -> str:
    """List elements are told apart by their own `index`; without one they continue each other."""
    index = item.get("index") if isinstance(item, dict) else None
    return f"[{index}]" if type(index) is int else "[]"


class Reader:
    """Reads one upstream answer, chunk by chunk or whole, and keeps what its end needs."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self._said: set[tuple[str, str]] = set()
        self._wrapped: dict[str, _Wrapped] = {}  # by channel
        self._choices: dict[int, bool] = {}  # index -> has a finish reason
        self.usage: Document | None = None

    @property
    def finished(self) -> bool:
        """Every choice seen so far has said why it ended."""
        return bool(self._choices) and all(self._choices.values())

    def delta(self, document: Document, size: int = 0) -> Delta:
        """One frame: made fit for clients, with every text it adds. Raises Malformed, UpstreamErrorFrame."""
        frame = self._fit(document)
        if isinstance(frame.get("usage"), dict):
            self.usage = frame["usage"]
        return Delta(frame, tuple(self._pieces(frame)), size)

    def closing(self) -> tuple[Piece, ...]:
        """Texts that are only readable at the end: what complete JSON says once it is decoded."""
        return tuple(
            Piece(channel + step, kept.place, text)
            for channel, kept in self._wrapped.items()
            for step, text in kept.hidden()
        )

    def _fit(self, document: Document) -> Document:
        if document.get("error") is not None:
            raise UpstreamErrorFrame
        frame = {key: value for key, value in document.items() if key != "error"}
        choices = frame.get("choices")
        if choices is None and self._stream:
            choices = []
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise Malformed("'choices' is not a list of objects")
        if not choices and not self._stream:
            raise Malformed("'choices' is empty")
        frame["choices"] = [self._fit_choice(i, choice) for i, choice in enumerate(choices)]
        return frame

    def _fit_choice(self, position: int, choice: Document) -> Document:
        name = "delta" if self._stream else "message"
        body = choice.get(name)
        if body is None and self._stream:
            body = {}
        if not isinstance(body, dict):
            raise Malformed(f"a choice has no '{name}' object")
        if body.get("role", "assistant") != "assistant":
            body = {**body, "role": "assistant"}
        index = choice.get("index")
        if type(index) is not int:
            index = position
        self._choices[index] = self._choices.get(index, False) or choice.get("finish_reason") is not None
        return {**choice, "index": index, name: body}

    def _pieces(self, frame: Document) -> Iterator[Piece]:
        for leaf in leaves(frame, _by_index):
            place, running = _channel(leaf.steps)
            channel = render(leaf.steps)
            if running:
                self._keep_wrapped(channel, place, leaf.text)
                yield Piece(channel, place, leaf.text)
            elif (channel, leaf.text) not in self._said:
                self._said.add((channel, leaf.text))
                yield Piece(channel, place, f"\n{leaf.text}")
                for step, text in hidden(leaf.text):
                    yield Piece(channel + step, place, f"\n{text}")

    def _keep_wrapped(self, channel: str, place: Place, text: str) -> None:
        """Keep what may turn out to be JSON: arguments, and whatever begins like it."""
        kept = self._wrapped.get(channel)
        if kept is None:
            begins = place is Place.TOOL_CALL or text.lstrip()[:1] in {"{", "[", ""}
            kept = self._wrapped[channel] = _Wrapped(place, begins)
        kept.add(text)


class _Wrapped:
    """One channel that may hold JSON, kept until its end; nothing is kept of one that does not."""

    def __init__(self, place: Place, kept: bool) -> None:  # noqa: FBT001 -- its two facts
        self.place = place
        self._kept = kept
        self._size = 0
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        if not self._kept:
            return
        if not self._size and text.strip() and self.place is not Place.TOOL_CALL:
            self._kept = text.lstrip()[0] in "{["
        self._size += len(text) if text.strip() or self._size else 0
        if self._size > MAX_DECODED:
            raise Malformed("a JSON text is too long to be read")
        self._texts.append(text)

    def hidden(self) -> Iterator[tuple[str, str]]:
        return hidden("".join(self._texts)) if self._kept else iter(())


def _channel(steps: tuple[str, ...]) -> tuple[Place, bool]:
    """The place of an answer's string, and whether it continues what came before at its path."""
    if steps[0] != "choices" or len(steps) < 3:
        return Place.OTHER_OUTPUT, False
    if steps[2] in {"delta", "message"}:
        name = steps[3] if len(steps) > 3 else ""
        if name == "audio" and steps[-1] == "transcript":
            return Place.TRANSCRIPT, True
        return ANSWER.get(name, Place.OTHER_OUTPUT), True
    if steps[2] == "logprobs" and len(steps) > 3:
        return ANSWER.get(steps[3], Place.OTHER_OUTPUT), True
    if steps[2] == "text":
        return Place.CONTENT, True
    return Place.OTHER_OUTPUT, steps[2] != "finish_reason"


def chunks_from_answer(document: Document) -> list[Document]:
    """A whole answer as the chunks of a stream, for an upstream that did not stream."""
    head = {key: value for key, value in document.items() if key not in {"choices", "usage", "object"}}
    head["object"] = "chat.completion.chunk"
    chunks = []
    for position, choice in enumerate(document["choices"]):
        index = choice.get("index", position)
        rest = {k: v for k, v in choice.items() if k not in {"message", "finish_reason", "index"}}
        delta = dict(choice["message"])
        if isinstance(calls := delta.get("tool_calls"), list):
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
        chunks.append({**head, "choices": [{"index": index, "delta": delta, **rest, "finish_reason": None}]})
        end = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}
        chunks.append({**head, "choices": [end]})
    if document.get("usage") is not None:
        chunks.append({**head, "choices": [], "usage": document["usage"]})
    return chunks


def refused(
    kind: Literal["message", "refusal"],
    *,
    text: str,
    model: str,
    request_id: str,
    stream: bool,
    created: int,
    usage: Document | None,
) -> list[Document]:
    """A block as an answer: the policy's own words, as content or as a refusal."""
    message: Document = {"role": "assistant", "content": text, "refusal": None}
    finish = "content_filter"
    if kind == "refusal":
        message = {"role": "assistant", "content": None, "refusal": text}
        finish = "stop"
    document: Document = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    return chunks_from_answer(document) if stream else [document]
