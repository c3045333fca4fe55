"""Labelled texts: JSON lines, each with a text, whether it should be a hit, and where in it the values stand."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson


class Unusable(Exception):
    """An argument or a line that cannot be used."""


class Gold(NamedTuple):
    """A value that stands in a text, in characters."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class Row:
    """One text."""

    text: str
    positive: bool
    source: str
    spans: tuple[Gold, ...] | None = None  # None: not told


def rows_of(path: Path) -> list[Row]:
    """Every line. Raises Unusable."""
    try:
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}") from None
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise Unusable(f"{path}: holds no text")
    return rows


def _row(line: bytes, where: str) -> Row:
    try:
        one = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Unusable(f"{where}: not valid JSON: {error}") from None
    if not isinstance(one, dict) or not isinstance(one.get("text"), str):
        raise Unusable(f"{where}: needs 'text' and 'positive'")
    spans = _spans(one["spans"], len(one["text"]), where) if "spans" in one else None
    positive = one.get("positive", one.get("label") if spans is None else bool(spans))
    if positive not in (True, False):
        raise Unusable(f"{where}: needs 'text' and 'positive'")
    return Row(one["text"], bool(positive), str(one.get("source", "-")), spans)


def _spans(told: Any, length: int, where: str) -> tuple[Gold, ...]:
    found = []
    for span in told if isinstance(told, list) else [None]:
        match span:
            case {"start": int(start), "end": int(end), "type": str(entity)} if 0 <= start < end <= length:
                found.append(Gold(start, end, entity))
            case _:
                raise Unusable(f"{where}: 'spans' is a list of start, end and type, within the text")
    return tuple(found)
