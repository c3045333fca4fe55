"""Chat completions: the endpoint that everybody uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.core.terms import Delta, Document, Passage, Piece, Place, Request
from gateway.wire import ordinary
from gateway.wire.canonical import Malformed
from gateway.wire.choices import MAX_CHOICES, Choices, ChoicesReader
from gateway.wire.coats import Coat, joined
from gateway.wire.endpoint import Spoken, check_count, check_object, invalid
from gateway.wire.fields import ANSWER, ATTACHMENTS, CHAT_KEYS, KEYS, REQUEST_TOP, ROLES
from gateway.wire.walk import SCALARS, Steps, hidden, hides

BARE = {"role", "content"}


class ChatReader(ChoicesReader):
    def fit_body(self, choice: Document) -> Document:
        name = "delta" if self.stream else "message"
        body = choice.get(name)
        if body is None and self.stream:
            body = {}
        if not isinstance(body, dict):
            raise Malformed(f"a choice has no '{name}' object")
        if body.get("role", "assistant") != "assistant":
            body = {**body, "role": "assistant"}
        return {name: body}

    def known(self, frame: Document, size: int) -> Delta | None:
        said = None if self.stream else ordinary.strings(frame)
        if said is None:
            return None
        pieces = [
            self._run(channel, ANSWER[key], text, ())
            if key in ordinary.MESSAGE
            else Piece(channel, Place.OTHER_OUTPUT, f"\n{text}", closed=True)
            for channel, _, text, _, key in said
        ]
        return Delta(frame, tuple(pieces), size, None, ordinary.Spots(said) if self.rewritable else ())


class Chat(Choices):
    name = "chat"
    path = "/chat/completions"
    keys = CHAT_KEYS
    param = "messages"

    def check(self, document: Document) -> None:
        check_object(document, "stream_options")
        check_count(document, "n", MAX_CHOICES)
        _check_messages(document.get("messages"))

    def place(self, steps: Steps, document: Document) -> Place:
        if steps[0] != "messages" or len(steps) < 3:
            return REQUEST_TOP[self.name].get(steps[0], Place.OTHER_INPUT)
        if steps[2] == "content" and len(steps) > 4 and steps[4] in ATTACHMENTS:
            return Place.ATTACHMENT
        message = document["messages"][int(steps[1][1:-1])]
        return ROLES[message["role"]]

    def passages(self, document: Document) -> list[Passage]:
        """As for every endpoint; most messages are a role and a text, and these are read without a walk."""
        found: list[Passage] = []
        if not document.keys() <= KEYS:
            found += super().passages(dict.fromkeys(document))
        for name, value in document.items():
            if name == "messages":
                self._add_said(found, document, value)
            elif type(value) not in SCALARS:
                found += self.passages_under(name, document, value)
        found += _joined(document["messages"])
        return found

    def _add_said(self, found: list[Passage], document: Document, messages: Iterable[Document]) -> None:
        for number, message in enumerate(messages):
            text = message.get("content")
            if type(text) is not str or message.keys() != BARE:
                found += self.passages_below(("messages", f"[{number}]"), document, message)
            elif text:
                path, place = f"messages[{number}].content", ROLES[message["role"]]
                found.append(Passage(path, place, text))
                if hides(text):
                    found += [
                        Passage(path + step, place, inner, Coat(path, text, step)) for step, inner in hidden(text)
                    ]

    def reader(self, asked: Document, *, stream: bool) -> ChatReader:
        return ChatReader(asked, stream=stream)

    def chunks(self, document: Document) -> list[Document]:
        ChatReader({}, stream=False).fit(document)  # must be a whole answer before it is cut
        return _chunks(document)

    def whole(self, chunks: list[Document]) -> Document:
        whole = {**self.gather(chunks, "message"), "object": "chat.completion"}
        for choice in whole["choices"]:
            calls = choice["message"].get("tool_calls")
            for call in calls if isinstance(calls, list) else ():
                if isinstance(call, dict):
                    call.pop("index", None)
        return whole

    def refused(
        self, way: Spoken, *, text: str, request: Request, request_id: str, created: int, usage: Document | None
    ) -> list[Document]:
        message: Document = {"role": "assistant", "content": text, "refusal": None}
        finish = "content_filter"
        if way == "refusal":
            message = {"role": "assistant", "content": None, "refusal": text}
            finish = "stop"
        document: Document = {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion",
            "created": created,
            "model": request.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
            "usage": usage or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        }
        return _chunks(document) if request.stream else [document]


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "must be a list with at least one message")
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise invalid(f"messages[{number}]", "must be an object")
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or role not in ROLES:
            raise invalid(f"messages[{number}].role", "must be '" + "' or '".join(ROLES) + "'")
        if content is not None and not isinstance(content, str):
            _check_parts(content, f"messages[{number}].content")


def _check_parts(content: Any, where: str) -> None:
    if not isinstance(content, list):
        raise invalid(where, "must be a string or a list of parts")
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise invalid(f"{where}[{number}]", "must be an object with a 'type'")


def _joined(messages: Iterable[Document]) -> Iterator[Passage]:
    """A word that is cut over two parts of a message is whole here."""
    for number, message in enumerate(messages):
        content = message.get("content")
        if not isinstance(content, list):
            continue
        path = f"messages[{number}].content"
        yield from joined(content, path, ROLES[message["role"]])


def _chunks(document: Document) -> list[Document]:
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
