"""Responses: input items, output items, and the long list of events in which a text comes up to four times.

Every text belongs to an output item, so whatever event brings it, its channel is that of the item:
`output[0].content[0].text`. Deltas continue it; `.done`, the finished part, the finished item and
`response.completed` say it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.core.terms import Document, Passage, Place, Request
from gateway.wire import canonical, sse
from gateway.wire.canonical import Malformed
from gateway.wire.coats import joined
from gateway.wire.endpoint import Events, Spoken, check_object, invalid
from gateway.wire.errors import BadRequest
from gateway.wire.fields import (
    ATTACHMENTS,
    ECHOED,
    EVENT_ONCE,
    ITEM_RESULTS,
    ITEMS,
    KEYS,
    REQUEST_TOP,
    RESPONSES_KEYS,
    ROLES,
    STEMS,
    WHOLE_FIELDS,
)
from gateway.wire.reader import Manner, Reader, Said, UpstreamErrorFrame, grown
from gateway.wire.walk import SCALARS, Leaf, Steps, by_position, leaves

SILENT: tuple[Any, ...] = ("", [])  # fields that say nothing, besides scalars
ENDS = frozenset({"response.completed", "response.incomplete"})
BY_POSITION = frozenset({"output", "content", "summary", "commands", "outputs", "results"})


def _step(steps: Steps, position: int, item: Any) -> str:
    """Items and their parts are told apart by position, as the events' indexes do."""
    return by_position(steps, position, item) if steps and steps[-1] in BY_POSITION else grown(steps, position, item)


class ResponsesReader(Reader):
    repeats = True

    def __init__(self, asked: Document, *, stream: bool) -> None:
        super().__init__(asked, stream=stream)
        self._echoes: dict[str, frozenset[str]] = {}

    def fit(self, document: Document) -> Document:
        if document.get("error") is not None:
            raise UpstreamErrorFrame
        if not self.stream:
            return self._fit_whole(document)
        kind = document.get("type")
        if not isinstance(kind, str):
            raise Malformed("an event has no 'type'")
        if kind in {"error", "response.failed", "response.cancelled"}:
            raise UpstreamErrorFrame
        if kind in ENDS:
            self._fit_whole(document.get("response"))
            self._ended = True
        elif document.get("response") is not None and not isinstance(document["response"], dict):
            raise Malformed("'response' is not an object")
        return document

    def _fit_whole(self, response: Any) -> Document:
        if not isinstance(response, dict) or not isinstance(response.get("output"), list):
            raise Malformed("'output' is not a list")
        if not all(isinstance(item, dict) for item in response["output"]):
            raise Malformed("'output' holds something that is not an item")
        if response.get("error") is not None:
            raise UpstreamErrorFrame
        if response.get("status", "completed") not in ("completed", "incomplete"):
            raise Malformed("the response is not complete")
        if isinstance(response.get("usage"), dict):
            self.usage = response["usage"]
        return response

    def said(self, frame: Document) -> Iterator[Said]:
        if not self.stream:
            yield from self._response(frame)
            return
        stem, _, word = str(frame["type"]).rpartition(".")
        for key, value in frame.items():
            if key == "response" and isinstance(value, dict):
                yield from self._response(value)
            elif key not in KEYS or not (type(value) in SCALARS or value in SILENT):
                yield from self._field(frame, stem, word, key, value)

    def _field(self, frame: Document, stem: str, word: str, key: str, value: Any) -> Iterator[Said]:
        item: Steps = ("output", _index(frame, "output_index"))
        known = STEMS.get(stem)
        if key == "item":
            yield from self._item(value, item, Manner.WHOLE)
        elif key == "part":
            parts = "summary" if "summary" in stem else "content"
            index = _index(frame, "summary_index" if parts == "summary" else "content_index")
            part: Steps = (*item, parts, index)
            place = Place.REASONING if "reasoning" in stem or parts == "summary" else None
            yield from self._walk(frame, key, part, Manner.WHOLE, place)
        elif key == "annotation":
            steps = (*item, "content", _index(frame, "content_index"), "annotations", "[]")
            yield from self._walk(frame, key, steps, Manner.RUNS, Place.OTHER_OUTPUT)
        elif known is not None and key in {"delta", *WHOLE_FIELDS}:
            below, place = known
            steps = (*item, *(_index(frame, s[1:-1]) if s[:1] == "[" else s for s in below))
            yield from self._walk(frame, key, steps, Manner.RUNS if key == "delta" else Manner.WHOLE, place)
        elif known is not None and key == "logprobs":
            steps = (*item, "content", _index(frame, "content_index"), "logprobs")
            manner = Manner.RUNS if word == "delta" else Manner.WHOLE
            yield from self._walk(frame, key, steps, manner, known[1])
        else:
            running = key == "delta" or isinstance(value, dict | list)
            indexes = tuple(_index(frame, name) for name in ("output_index", "content_index") if name in frame)
            steps = (stem or "event", *indexes, "audio" if stem.endswith("audio") and running else key)
            if key not in KEYS:
                yield Said(Leaf((*steps, "<key>"), key), Place.OTHER_OUTPUT, Manner.ONCE)
            manner = Manner.RUNS if running else Manner.ONCE if key in EVENT_ONCE else Manner.JOINS
            yield from self._walk(frame, key, steps, manner, Place.OTHER_OUTPUT)

    def _response(self, response: Document) -> Iterator[Said]:
        for key, value in response.items():
            if key == "output" and isinstance(value, list):
                for position, item in enumerate(value):
                    yield from self._item(item, ("output", f"[{position}]"), Manner.WHOLE)
                continue
            place = Place.CONTENT if key == "output_text" else Place.OTHER_OUTPUT
            field = {key: value}
            for leaf in leaves(field, _step):
                if leaf.holder is field:
                    leaf = leaf._replace(holder=response)  # noqa: PLW2901
                if not (key in ECHOED and leaf.text in self._echo(key)):
                    yield Said(leaf, place, Manner.ONCE)

    def _item(self, item: Any, steps: Steps, manner: Manner) -> Iterator[Said]:
        kind = item.get("type") if isinstance(item, dict) else None
        for leaf in leaves(item, _step, steps):
            yield Said(leaf, _output_place(kind, leaf.steps[len(steps) :]), manner)

    def _walk(self, frame: Document, key: str, steps: Steps, manner: Manner, place: Place | None) -> Iterator[Said]:
        for leaf in leaves(frame[key], _step, steps, frame, key):
            yield Said(leaf, place or _output_place("message", ("content", "[0]", *leaf.steps[len(steps) :])), manner)

    def _echo(self, key: str) -> frozenset[str]:
        """Every string that the client itself said in this field."""
        if key not in self._echoes:
            found = leaves({key: self.asked.get(key)})
            self._echoes[key] = frozenset(leaf.text for leaf in found)
        return self._echoes[key]


def _index(frame: Document, name: str) -> str:
    index = frame.get(name)
    return f"[{index}]" if type(index) is int else "[0]"


def _output_place(kind: Any, below: Steps) -> Place:
    """The place of a string of an output item, by the item's type and the steps below it."""
    key = below[0] if below else ""
    if kind == "message":
        name = below[2] if len(below) > 2 else ""
        if key == "content" and name == "refusal":
            return Place.REFUSAL
        return Place.CONTENT if key == "content" and name in {"text", "logprobs"} else Place.OTHER_OUTPUT
    if kind == "reasoning":
        return Place.REASONING if key in {"summary", "content"} else Place.OTHER_OUTPUT
    if isinstance(kind, str) and kind.endswith("_call") and key not in ITEM_RESULTS | {"result", "id", "status"}:
        return Place.TOOL_CALL
    return Place.OTHER_OUTPUT


class Responses(Events):
    name = "responses"
    path = "/responses"
    keys = RESPONSES_KEYS
    needs_model = False  # a stored prompt may name it
    done = b""  # a terminal event ends the stream
    refuses_in_mid_stream = False  # its events would begin a second response
    fails_by_events = True
    max_event = 10 * 1024**2  # the last event holds everything

    def check(self, document: Document) -> None:
        for name in ("stream_options", "text", "reasoning", "prompt"):
            check_object(document, name)
        if document.get("background") not in (None, False):
            raise BadRequest(
                "'background' is not served: its answer could not be checked.",
                param="background",
                code="unsupported_parameter",
            )
        _check_input(document.get("input"))

    def place(self, steps: Steps, document: Document) -> Place:
        if steps[0] != "input" or len(steps) < 2:
            return REQUEST_TOP[self.name].get(steps[0], Place.OTHER_INPUT)
        item = document["input"][int(steps[1][1:-1])]
        return _input_place(item, steps[2:])

    def passages(self, document: Document) -> Iterator[Passage]:
        yield from super().passages(document)
        prompt = document.get("prompt")
        if isinstance(prompt, dict) and prompt.get("id") is not None:
            yield Passage("prompt.id", Place.UNREAD_INPUT, "a stored prompt")
        if isinstance(document.get("conversation"), dict):
            yield Passage("conversation.id", Place.UNREAD_INPUT, "a conversation")
        items = document.get("input")
        for number, item in enumerate(items if isinstance(items, list) else ()):
            path = f"input[{number}]"
            if item.get("type") == "item_reference" or set(item) <= {"id", "type"}:
                yield Passage(path, Place.UNREAD_INPUT, "an earlier item")
            yield from _joined(item, path)

    def reader(self, asked: Document, *, stream: bool) -> ResponsesReader:
        return ResponsesReader(asked, stream=stream)

    def chunks(self, document: Document) -> list[Document]:
        ResponsesReader({}, stream=False).fit(document)
        return events(document)

    def whole(self, chunks: list[Document]) -> Document:
        last = chunks[-1] if chunks else {}
        response = last.get("response")
        if last.get("type") not in ENDS or not isinstance(response, dict):
            raise Malformed("the stream did not complete")
        return response

    def failed(self, error: Document, first: Document, last: Document, request: Request) -> bytes:
        """`response.failed`, the one event that every client library recognises as an error."""
        number = last.get("sequence_number")
        started = first.get("response")
        told = error["error"]
        document: Document = {
            "type": "response.failed",
            "sequence_number": number + 1 if type(number) is int else 0,
            "response": {
                "id": started.get("id") if isinstance(started, dict) else "resp_failed",
                "object": "response",
                "created_at": 0,
                "status": "failed",
                "error": {**told, "code": told["code"], "message": told["message"]},
                "incomplete_details": None,
                "model": request.model,
                "output": [],
                "usage": None,
            },
        }
        return sse.frame(canonical.dump(document), "response.failed")

    def refused(
        self, way: Spoken, *, text: str, request: Request, request_id: str, created: int, usage: Document | None
    ) -> list[Document]:
        part: Document = {"type": "output_text", "text": text, "annotations": []}
        if way == "refusal":
            part = {"type": "refusal", "refusal": text}
        item: Document = {
            "id": f"msg_{request_id}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
        document = response_of([item], model=request.model, response_id=f"resp_{request_id}", created=created)
        document["usage"] = usage or _usage(0, 0)
        if way == "message":
            document |= {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
        return events(document) if request.stream else [document]


def _check_input(value: Any) -> None:
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, list):
        raise invalid("input", "must be a string or a list of items")
    for number, item in enumerate(value):
        where = f"input[{number}]"
        if not isinstance(item, dict):
            raise invalid(where, "must be an object")
        role, kind = item.get("role"), item.get("type")
        if kind is not None and not isinstance(kind, str):
            raise invalid(f"{where}.type", "must be a word")
        if (kind in (None, "message") and "role" in item) and (not isinstance(role, str) or role not in ROLES):
            raise invalid(f"{where}.role", "must be '" + "' or '".join(ROLES) + "'")
        content = item.get("content")
        if isinstance(content, list) and not all(isinstance(part, dict) for part in content):
            raise invalid(f"{where}.content", "must be a string or a list of parts")


def _input_place(item: Document, below: Steps) -> Place:
    if not below:
        return Place.OTHER_INPUT
    kind = item.get("type")
    if kind in (None, "message") and isinstance(role := item.get("role"), str):
        part = below[0] == "content" and len(below) > 2 and below[2] in ATTACHMENTS
        return Place.ATTACHMENT if part else ROLES[role]
    if not isinstance(kind, str):
        return Place.OTHER_INPUT
    if kind in ITEMS:
        return ITEMS[kind]
    if kind.endswith("_output"):
        return Place.TOOL_RESULT
    if kind.endswith(("_call", "_approval_request")):
        return Place.TOOL_RESULT if below[0] in ITEM_RESULTS else Place.ASSISTANT
    return Place.OTHER_INPUT


def _joined(item: Document, path: str) -> Iterator[Passage]:
    """A word that is cut over two parts of an item is whole here."""
    for key in ("content", "output", "summary"):
        parts = item.get(key)
        if isinstance(parts, list):
            yield from joined(parts, f"{path}.{key}", _input_place(item, (key,)))


# --- answers of our own: refusals, the scripted upstream, and whole answers to stream requests ------------


def _usage(asked: int, told: int) -> Document:
    return {"input_tokens": asked, "output_tokens": told, "total_tokens": asked + told}


def response_of(output: list[Document], *, model: str, response_id: str, created: int) -> Document:
    """A complete response around these output items."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


DELTAS = {"output_text": ("text", "response.output_text"), "refusal": ("refusal", "response.refusal")}
ARGUMENTS = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
    "mcp_call": ("arguments", "response.mcp_call_arguments"),
}


def events(response: Document, pieces: int = 1) -> list[Document]:
    """A whole response as the events of a stream, each text in so many pieces."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    told: list[Document] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(response["output"]):
        told += _item_events(item, index, pieces)
    end = "response.incomplete" if response.get("status") == "incomplete" else "response.completed"
    told.append({"type": end, "response": response})
    return [{**event, "sequence_number": number} for number, event in enumerate(told)]


def _item_events(item: Document, index: int, pieces: int) -> Iterator[Document]:
    at: Document = {"output_index": index}
    kind = item.get("type")
    field, stem = ARGUMENTS.get(kind if isinstance(kind, str) else "", ("", ""))
    empty: Document = {"content": []} if isinstance(item.get("content"), list) else {}
    if field:
        empty = {field: ""}
    yield {"type": "response.output_item.added", **at, "item": {**item, "status": "in_progress", **empty}}
    at["item_id"] = item.get("id")
    if field and isinstance(item.get(field), str):
        yield from _pieces(stem, field, item[field], at, pieces)
    parts = item.get("content")
    if kind == "message" and isinstance(parts, list) and all(isinstance(part, dict) for part in parts):
        for number, part in enumerate(parts):
            yield from _part_events(part, {**at, "content_index": number}, pieces)
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(part: Document, at: Document, pieces: int) -> Iterator[Document]:
    kind = part.get("type")
    field, stem = DELTAS.get(kind if isinstance(kind, str) else "", ("", ""))
    yield {"type": "response.content_part.added", **at, "part": {**part, field: ""} if field else part}
    if field and isinstance(part.get(field), str):
        yield from _pieces(stem, field, part[field], at, pieces)
    yield {"type": "response.content_part.done", **at, "part": part}


def _pieces(stem: str, field: str, text: str, at: Document, pieces: int) -> Iterator[Document]:
    size = max(1, -(-len(text) // pieces))
    for start in range(0, len(text), size):
        yield {"type": f"{stem}.delta", **at, "delta": text[start : start + size]}
    yield {"type": f"{stem}.done", **at, field: text}
