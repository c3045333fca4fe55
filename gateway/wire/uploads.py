"""Endpoints whose requests are forms: fields are read like a document's, files as far as they are text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gateway.core.terms import Document, Passage, Place
from gateway.wire.endpoint import JSON, Endpoint, invalid
from gateway.wire.errors import BadRequest
from gateway.wire.forms import FORM, Upload, parse_form, render_form
from gateway.wire.walk import readable


class Uploads(Endpoint):
    """Takes forms, and where clients send them, JSON documents."""

    media = frozenset({FORM, JSON})
    files: ClassVar[frozenset[str]] = frozenset({"file"})
    lists: ClassVar[frozenset[str]] = frozenset()  # of files, fields that may be there several times

    def parse(self, body: bytes, content_type: str) -> Document:
        if content_type.partition(";")[0].strip().lower() != FORM:
            return super().parse(body, content_type)
        document = parse_form(body, content_type)
        for name, value in document.items():
            if name not in self.files and _uploads(value):
                raise invalid(name, "is not a file")
            if isinstance(value, list) and name in self.files - self.lists:
                raise invalid(name, "is one file")
        if not any(_uploads(value) for value in document.values()):
            raise BadRequest("The form holds no file.", param=min(self.files), code="invalid_value")
        return {name: _typed(name, value) for name, value in document.items()}

    def passages(self, document: Document) -> Iterator[Passage]:
        yield from super().passages(document)
        for name, value in document.items():
            for number, one in enumerate(_uploads(value)):
                yield from _upload(f"{name}[{number}]" if isinstance(value, list) else name, one)

    def encode(self, document: Document) -> tuple[str, bytes]:
        if not any(_uploads(value) for value in document.values()):  # it came as JSON
            return super().encode(document)
        return render_form({name: _told(value) for name, value in document.items() if value is not None})


def _uploads(value: object) -> list[Upload]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Upload)]


def _typed(name: str, value: object) -> object:
    """A form has only texts: those that stand for something else become it."""
    if name == "stream" and value in {"true", "false"}:
        return value == "true"
    if name == "n" and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4:
        return int(value)
    return value


def _told(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _upload(path: str, upload: Upload) -> Iterator[Passage]:
    yield Passage(f"{path}.filename", Place.ATTACHMENT, upload.filename)
    yield Passage(f"{path}.type", Place.OTHER_INPUT, upload.media)
    text = readable(upload.data)
    if text is not None:
        yield Passage(f"{path}<decoded>", Place.ATTACHMENT, text)
    else:
        yield Passage(path, Place.UNREAD_INPUT, "a file")
