"""Answers of the smaller endpoints: any JSON object, read by the places of its fields, whole or as typed events."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.terms import Document, Place
from gateway.wire.canonical import Malformed
from gateway.wire.fields import ANSWER_TOP, EVENT_ONCE
from gateway.wire.reader import Manner, Reader, Said, UpstreamErrorFrame, grown
from gateway.wire.walk import Leaf, leaves


class PlainReader(Reader):
    """Reads one JSON object, or events that end with one whose type ends in `ends`."""

    repeats = True

    def __init__(
        self, asked: Document, *, stream: bool, endpoint: str, needs: str | None = None, ends: tuple[str, ...] = ()
    ) -> None:
        super().__init__(asked, stream=stream)
        self._places = ANSWER_TOP.get(endpoint, {})
        self._needs = needs  # the field without which it is no answer
        self._ends = ends

    def fit(self, document: Document) -> Document:
        if document.get("error") is not None:
            raise UpstreamErrorFrame
        if self.stream:
            kind = document.get("type")
            if not isinstance(kind, str):
                raise Malformed("an event has no 'type'")
            if kind == "error":
                raise UpstreamErrorFrame
            self._ended = self._ended or kind.endswith(self._ends)
        elif self._needs is not None and self._needs not in document:
            raise Malformed(f"it has no '{self._needs}'")
        if isinstance(document.get("usage"), dict):
            self.usage = document["usage"]
        return document

    def said(self, frame: Document) -> Iterator[Said]:
        running = self.stream and str(frame.get("type", "")).endswith(".delta")
        for leaf in leaves(frame, grown):
            yield self._said(leaf, running=running)

    def _said(self, leaf: Leaf, *, running: bool) -> Said:
        steps = leaf.steps
        name = steps[0] if steps[0] != "data" or len(steps) < 3 else steps[2]
        place = self._places.get(name, Place.OTHER_OUTPUT)
        if place is Place.CONTENT and self.stream and name in {"delta", "text"}:
            # the deltas, and the text of the last event that says them again
            return Said(leaf._replace(steps=("text",)), place, Manner.RUNS if running else Manner.WHOLE)
        if self.stream and steps[-1] not in EVENT_ONCE:
            return Said(leaf, place, Manner.RUNS if running and len(steps) > 1 else Manner.JOINS)
        return Said(leaf, place, Manner.ONCE)
