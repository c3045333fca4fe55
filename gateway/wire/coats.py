"""Where the characters of a decoded text stand in the text that it was decoded from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from gateway.core.terms import Passage, Place
from gateway.wire.walk import ESCAPE, MAX_NESTED, payload_start, strings_of

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.", re.DOTALL)


class Run(NamedTuple):
    """Characters of a decoded text that stand together: from `at` on, `size` of them, for those from `start` to `end`.

    Where the numbers agree they stand one for one, else all for all.
    """

    at: int
    size: int
    start: int
    end: int


class Coat:
    """The decoded form `step` of `text`, which begins at `start` of `path`; `lead` characters come before it."""

    def __init__(self, path: str, text: str, step: str, start: int = 0, *, lead: int = 0) -> None:
        self._path = path
        self._text = text
        self._step = step
        self._start = start
        self._lead = lead

    @cached_property
    def _runs(self) -> Sequence[Run]:
        match self._step:
            case "<json>":
                return list(_json_runs(self._text))
            case "<unescaped>":
                return list(_unescaped_runs(self._text))
        start, size = payload_start(self._text), len(self._text)
        if start and not self._text[:start].endswith(";base64,"):
            return [Run(0, size - start, start, size)]
        return [Run(0, size * 4 + 1, start, size)]  # encoded: it stays or goes as a whole

    def spans(self, start: int, end: int) -> list[tuple[str, int, int]]:
        found = _through(self._runs, start - self._lead, end - self._lead)
        return [(self._path, self._start + first, self._start + last) for first, last in found]


class Joined:
    """Texts read as one: (path, characters) of each."""

    def __init__(self, parts: Sequence[tuple[str, int]]) -> None:
        self._parts = parts

    def spans(self, start: int, end: int) -> list[tuple[str, int, int]]:
        found = []
        at = 0
        for path, size in self._parts:
            first, last = max(start, at), min(end, at + size)
            if first < last:
                found.append((path, first - at, last - at))
            at += size
        return found


def joined(parts: Sequence[Any], path: str, place: Place) -> Iterator[Passage]:
    """The texts of a message's parts as one: a word that is cut over two of them is whole here."""
    texts = [(n, p["text"]) for n, p in enumerate(parts) if isinstance(p, dict) and isinstance(p.get("text"), str)]
    if len(texts) > 1:
        origin = Joined([(f"{path}[{number}].text", len(text)) for number, text in texts])
        yield Passage(f"{path}[*]", place, "".join(text for _, text in texts), origin)


def _through(runs: Sequence[Run], start: int, end: int) -> list[tuple[int, int]]:
    """The characters behind these; runs that touch are one span, strings that are apart stay apart."""
    found: list[tuple[int, int]] = []
    for run in runs:
        if run.at >= end or run.at + run.size <= start:
            continue
        if run.size == run.end - run.start:
            first = run.start + max(0, start - run.at)
            last = run.start + min(run.size, end - run.at)
        else:
            first, last = run.start, run.end
        if found and found[-1][1] == first:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


def _unescaped_runs(text: str) -> Iterator[Run]:
    at = place = 0
    for match in ESCAPE.finditer(text):
        if match.start() > place:
            yield Run(at, match.start() - place, place, match.start())
            at += match.start() - place
        yield Run(at, 1, match.start(), match.end())
        at, place = at + 1, match.end()
    if place < len(text):
        yield Run(at, len(text) - place, place, len(text))


def _json_runs(text: str) -> Iterator[Run]:
    """The strings of a JSON text in their order, then those of the JSON inside them, as `walk` joins them."""
    at = 0
    layer: list[tuple[str, list[Run]]] = [(text, [Run(0, len(text), 0, len(text))])]
    for _ in range(MAX_NESTED):
        inner: list[tuple[str, list[Run]]] = []
        for source, stands in layer:
            for said, runs in _strings(source):
                outer = _composed(runs, stands)
                yield from (Run(at + run.at, *run[1:]) for run in outer)
                at += len(said) + 1
                if said.lstrip()[:1] in {"{", "["} and strings_of(said):
                    inner.append((said, outer))
        layer = inner


def _strings(source: str) -> Iterator[tuple[str, list[Run]]]:
    """Each string of a JSON text: what it says, and where its characters stand."""
    for literal in _STRING.finditer(source):
        runs: list[Run] = []
        said: list[str] = []
        at, place = 0, literal.start(1)
        for match in _ESCAPED.finditer(source, literal.start(1), literal.end(1)):
            if match.start() > place:
                runs.append(Run(at, match.start() - place, place, match.start()))
                said.append(source[place : match.start()])
                at += match.start() - place
            said.append(_unescaped(match[0]))
            runs.append(Run(at, 1, match.start(), match.end()))
            at, place = at + 1, match.end()
        if place < literal.end(1):
            runs.append(Run(at, literal.end(1) - place, place, literal.end(1)))
            said.append(source[place : literal.end(1)])
        yield "".join(said), runs


def _unescaped(escape: str) -> str:
    said: str = json.loads(f'"{escape}"')
    return said.encode("utf-8", "replace").decode()


def _composed(runs: list[Run], stands: list[Run]) -> list[Run]:
    """Runs over a text that itself stands elsewhere, as runs over that."""
    made: list[Run] = []
    for run in runs:
        if run.size != run.end - run.start:
            spans = _through(stands, run.start, run.end)
            made.append(Run(run.at, run.size, spans[0][0], spans[-1][1]))
            continue
        for other in stands:
            first, last = max(run.start, other.at), min(run.end, other.at + other.size)
            if first < last:
                start, end = other.start, other.end
                if other.size == other.end - other.start:
                    start, end = other.start + first - other.at, other.start + last - other.at
                made.append(Run(run.at + first - run.start, last - first, start, end))
    return made
