"""What chat and text completions share: answers made of choices.

A stream cuts text anywhere, so every string under a choice continues the channel of its path: a
word that is split over chunks is whole in its channel, in unknown fields as well. Strings outside
the choices (ids, names) are said once each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.core.terms import Delta, Document, Place, Request
from gateway.wire.canonical import Malformed, parse_answer
from gateway.wire.endpoint import Endpoint
from gateway.wire.fields import ANSWER
from gateway.wire.reader import LONGEST_PLACE, MOST_PLACES, Manner, Reader, Said, UpstreamErrorFrame, grown
from gateway.wire.template import Chunk, Template, template
from gateway.wire.walk import Steps, leaves

OBJECTS = frozenset({dict})
MAX_CHOICES = 128
MOST_AT_ONCE = 64  # chunks that are taken as one
MOST_TEMPLATES = 8  # a stream of several choices, or of text and reasoning, has several
MOST_TRIES = 8  # after so many chunks that differ in more than their text nothing is expected of the next
MOST_INDEXED = 256  # tool calls of one streamed message
SAID_ONCE = frozenset({"id", "type", "role", "name", "object", "model", "created", "system_fingerprint"})


class ChoicesReader(Reader):
    """Reads answers and chunks that hold `choices`; `body` names the object in a choice that holds its message."""

    body: str | None = None

    def __init__(self, asked: Document, *, stream: bool) -> None:
        super().__init__(asked, stream=stream)
        self._choices: dict[int, bool] = {}  # index -> has a finish reason
        self._templates: list[Template] = []  # the newest first
        self._tries = 0  # templates in a row that fitted nothing

    @property
    def _at_once(self) -> int:
        """Chunks that may be taken as one: what marks that something was said again is not parted."""
        return MOST_AT_ONCE if len(self._choices) == 1 else 1

    @property
    def finished(self) -> bool:
        """Every choice seen so far has said why it ended."""
        return bool(self._choices) and all(self._choices.values())

    def event(self, data: bytes) -> Delta:
        """A chunk that only goes on with the text is read by its template."""
        return self._going_on((data,)) or self._in_full(data)

    def _in_full(self, data: bytes) -> Delta:
        document = parse_answer(data)
        delta = self.delta(document, len(data))
        if self._tries < MOST_TRIES:
            self._tries += 1
            if (made := template(data, delta)) is not None:
                self._templates = [made, *self._templates[: MOST_TEMPLATES - 1]]
        return delta

    def events(self, data: Sequence[bytes]) -> Iterator[Delta]:
        at = 0
        while at < len(data):
            delta = self._going_on(data[at : at + self._at_once]) or self._in_full(data[at])
            at += len(delta.several.ends) if delta.several is not None else 1
            yield delta

    def _going_on(self, data: Sequence[bytes]) -> Delta | None:
        """The first of these chunks that only go on with the text, read by their template; None: there is none."""
        for one in self._templates:
            texts, counted = one.texts(data)
            if texts:
                return self._read_by(one, texts, counted, data)
        return None

    def _read_by(
        self, one: Template, texts: Sequence[str], counted: Sequence[Document], data: Sequence[bytes]
    ) -> Delta:
        self._tries = 0
        if counted:
            self.usage = counted[-1]
        text = texts[0] if len(texts) == 1 else "".join(texts)
        start = self._lengths.get(one.channel, 0)
        piece = self._run(one.channel, one.place, text, ())
        if self.rewritable:
            self._lengths[one.channel] = start + len(text)
        data = data[: len(texts)]
        return Chunk(one, texts, data, start, piece, rewritable=self.rewritable, counted=counted).delta

    def fit(self, document: Document) -> Document:
        if document.get("error") is not None:
            raise UpstreamErrorFrame
        choices = document.get("choices")
        if choices is None and self.stream:
            choices = []
        if not isinstance(choices, list) or not OBJECTS.issuperset(map(type, choices)):
            raise Malformed("'choices' is not a list of objects")
        if not choices and not self.stream:
            raise Malformed("'choices' is empty")
        frame = {**document, "choices": [self._fit_choice(i, choice) for i, choice in enumerate(choices)]}
        frame.pop("error", None)
        if isinstance(frame.get("usage"), dict):
            self.usage = frame["usage"]
        return frame

    def _fit_choice(self, position: int, choice: Document) -> Document:
        index = choice.get("index")
        if type(index) is not int:
            index = position
        if index not in self._choices:
            self._choices[index] = False
            self._templates.clear()  # what was said once is marked again where there are several
        self._choices[index] = self._choices[index] or choice.get("finish_reason") is not None
        if len(self._choices) > MAX_CHOICES:
            raise Malformed("it has too many choices")
        return {**choice, "index": index, **self.fit_body(choice)}

    def fit_body(self, choice: Document) -> Document:
        """The fields of a choice that must have a shape, so made. Raises Malformed."""
        raise NotImplementedError

    def group(self, frame: Document) -> str | None:
        """The chunks of a choice keep their order among themselves only."""
        choices = frame["choices"]
        if self.stream and len(choices) == 1 and not frame.get("usage"):
            return str(choices[0]["index"])
        return None

    def said(self, frame: Document) -> Iterator[Said]:
        self.marks_again = len(self._choices) > 1
        for leaf in leaves(frame, grown):
            yield Said(leaf, *(_MANNERS.get(leaf.steps) or _manner(leaf.steps)))


_MANNERS: dict[Steps, tuple[Place, Manner]] = {}  # of the paths that all answers have


def _manner(steps: Steps) -> tuple[Place, Manner]:
    place, runs = channel_of(steps)
    found = place, Manner.RUNS if runs else Manner.ONCE
    if len(_MANNERS) < MOST_PLACES and sum(map(len, steps)) <= LONGEST_PLACE:
        _MANNERS[steps] = found
    return found


def channel_of(steps: Steps) -> tuple[Place, bool]:
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


class Choices(Endpoint):
    """An endpoint whose answers hold choices and whose streams tell usage only when asked."""

    def wants_usage(self, document: Document) -> bool:
        options = document.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def forward(self, request: Request, model: str) -> Document:
        """As every endpoint, and usage is asked for: the receipt tells it."""
        document = super().forward(request, model)
        if request.stream:
            document["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
        return document

    def for_client(self, request: Request, frame: Document) -> Document | None:
        """Usage that only we asked for stays here."""
        if "usage" not in frame or not request.stream or self.wants_usage(request.document):
            return frame
        if frame.get("choices") == []:
            return None
        return {key: value for key, value in frame.items() if key != "usage"}

    def gather(self, chunks: list[Document], body: str | None) -> Document:
        """Chunks as one answer: strings continue each other, other values replace each other."""
        whole: Document = {}
        choices: dict[int, Document] = {}
        for chunk in chunks:
            _grow(whole, {k: v for k, v in chunk.items() if k != "choices"})
            for position, choice in enumerate(chunk["choices"]):
                kept = choices.setdefault(choice.get("index", position), {})
                _grow(kept, {("message" if k == "delta" else k): v for k, v in choice.items()})
        whole = _ripe(whole)
        choices = {index: _ripe(choice) for index, choice in choices.items()}
        if not choices:
            raise Malformed("the stream held no choice")
        for choice in choices.values():
            if body is not None:
                choice[body] = {"content": None, **choice.get(body, {}), "role": "assistant"}
        return {**whole, "choices": [choices[index] for index in sorted(choices)]}


class _Parts:
    """A string that still grows; joined once, at the end."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)


def _grow(into: Document, more: Document) -> None:
    for key, value in more.items():
        old = into.get(key)
        if old is None:
            into[key] = _grown_list([], value) if isinstance(value, list) else _copy(value)
        elif isinstance(old, _Parts) and isinstance(value, str):
            old.texts.append(value)
        elif isinstance(old, str) and isinstance(value, str) and key not in SAID_ONCE:
            into[key] = _Parts(old, value)
        elif isinstance(old, dict) and isinstance(value, dict):
            _grow(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            into[key] = _grown_list(old, value)
        elif value is not None:
            into[key] = value


def _copy(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    made: Document = {}
    _grow(made, value)
    return made


def _grown_list(old: list[Any], more: list[Any]) -> list[Any]:
    """Elements with an `index` grow in their place, others follow."""
    for item in more:
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int:
            old.append(_copy(item))
            continue
        kept = next((o for o in old[:MOST_INDEXED] if isinstance(o, dict) and o.get("index") == index), None)
        if kept is not None:
            _grow(kept, item)
        elif len(old) >= MOST_INDEXED:
            raise Malformed("it has too many tool calls")
        else:
            old.append(_copy(item))
    return old


def _ripe(value: Any) -> Any:
    """What has grown, its strings joined."""
    if isinstance(value, _Parts):
        return "".join(value.texts)
    if isinstance(value, dict):
        return {key: _ripe(one) for key, one in value.items()}
    return [_ripe(one) for one in value] if isinstance(value, list) else value
