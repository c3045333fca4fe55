"""Forms with files: `multipart/form-data` read strictly, checked like a document, and rendered anew."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

import multipart

from gateway.core.terms import Document
from gateway.wire.errors import BadRequest

FORM = "multipart/form-data"
MAX_PARTS = 200
_MEDIA = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}\Z")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}(\[[A-Za-z0-9_]{0,32}\])?\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form."""

    filename: str
    media: str
    data: bytes


def parse_form(body: bytes, content_type: str) -> Document:
    """A form as a document: texts, `Upload`s, and lists for fields whose names end in `[]`. Raises BadRequest."""
    try:
        _, options = multipart.parse_options_header(content_type)
        parser = multipart.PushMultipartParser(
            options.get("boundary", ""), strict=True, max_segment_count=MAX_PARTS, content_length=len(body)
        )
        found: list[tuple[Any, bytes]] = []
        for event in parser.parse(body):
            if event is None:
                continue
            if isinstance(event, multipart.MultipartSegment):
                found.append((event, b""))
            else:
                segment, data = found[-1]
                found[-1] = (segment, data + bytes(event))
        parser.close()
        if not body.rstrip(b"\r\n").endswith(b"--%s--" % parser.boundary):
            raise _wrong("something follows its end")
    except (multipart.MultipartError, ValueError, IndexError):
        raise _wrong("it is not valid multipart/form-data") from None
    return _document(found)


def _wrong(problem: str) -> BadRequest:
    return BadRequest(f"The form cannot be read: {problem}.", code="invalid_form")


def _document(found: list[tuple[Any, bytes]]) -> Document:
    document: Document = {}
    for segment, data in found:
        name = segment.name
        if segment.disposition != "form-data" or not isinstance(name, str) or not _NAME.match(name):
            raise _wrong("a part has no proper name")
        if any(key.lower() not in {"content-disposition", "content-type"} for key, _ in segment.headerlist):
            raise _wrong("a part has a header that a form does not have")
        value = _value(segment, data)
        plain = name.removesuffix("[]")
        if name.endswith("[]"):
            kept = document.setdefault(plain, [])
            if not isinstance(kept, list):
                raise _wrong(f"'{plain}' is there twice")
            kept.append(value)
        elif name in document:
            raise _wrong(f"'{name}' is there twice")
        else:
            document[name] = value
    return document


def _value(segment: Any, data: bytes) -> str | Upload:
    if segment.filename is not None:
        media = segment.content_type or "application/octet-stream"
        if not _MEDIA.match(media) or _CONTROL.search(segment.filename):
            raise _wrong("a file has an odd name or type")
        return Upload(segment.filename, media, data)
    if (segment.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise _wrong("a text is not UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _wrong("a text is not UTF-8") from None


def render_form(document: Document) -> tuple[str, bytes]:
    """The form of a document: its content type with a boundary that no part holds, and its bytes."""
    parts = [
        (name if not isinstance(value, list) else f"{name}[]", one)
        for name, value in document.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    boundary = secrets.token_hex(16)
    while any(boundary.encode() in _bytes(value) for _, value in parts):
        boundary = secrets.token_hex(16)
    lines = [_part(boundary, name, value) for name, value in parts]
    return f"{FORM}; boundary={boundary}", b"".join([*lines, f"--{boundary}--\r\n".encode()])


def _bytes(value: str | Upload) -> bytes:
    return value.data if isinstance(value, Upload) else value.encode()


def _part(boundary: str, name: str, value: str | Upload) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
    if isinstance(value, Upload):
        quoted = value.filename.replace("\\", "\\\\").replace('"', "%22")
        head += f'; filename="{quoted}"\r\nContent-Type: {value.media}'
    return head.encode() + b"\r\n\r\n" + _bytes(value) + b"\r\n"
