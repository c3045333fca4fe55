"""The list of models: what the house names, and what the default upstream offers."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from gateway.core.terms import Document, Request
from gateway.wire.answers import PlainReader
from gateway.wire.canonical import Malformed
from gateway.wire.endpoint import Endpoint
from gateway.wire.errors import BadRequest

_ID = re.compile(r"[\w.:@/+-]{1,200}\Z", re.ASCII)


class ModelsReader(PlainReader):
    """Reads the upstream's list; what it adds to an entry stays in it."""

    def fit(self, document: Document) -> Document:
        frame = super().fit(document)
        data = frame.get("data")
        if not isinstance(data, list) or not all(isinstance(m, dict) and isinstance(m.get("id"), str) for m in data):
            raise Malformed("'data' is not a list of models")
        return frame


class Models(Endpoint):
    name = "models"
    path = "/models"
    keys = frozenset()
    method = "GET"
    needs_model = False

    def ask(self) -> Request:
        """A request that has no body."""
        return Request(self.name, "", False, {}, ())

    def encode(self, document: Document) -> tuple[str, bytes]:
        return "", b""

    def reader(self, asked: Document, *, stream: bool) -> ModelsReader:
        return ModelsReader(asked, stream=False, endpoint=self.name, needs="data")


class Listed(Models):
    """The upstream's list as one client gets it: behind the house's own names, or one model of it."""

    def __init__(self, own: tuple[str, ...], name: str | None, may: Callable[[str], bool] = lambda _name: True) -> None:
        """`may`: whether the client may ask this model."""
        self._own = own
        self._name = name
        self._may = may

    def for_client(self, request: Request, frame: Document) -> Document:
        return self.select(frame)

    def select(self, theirs: Document | None) -> Document:
        """The answer. Raises BadRequest when there is no such model."""
        data = theirs["data"] if theirs else []
        every: list[Document] = [*map(_model, self._own), *(m for m in data if m["id"] not in self._own)]
        every = [one for one in every if self._may(one["id"])]
        if self._name is None:
            rest = {k: v for k, v in (theirs or {}).items() if k not in {"data", "object"}}
            return {"object": "list", "data": every, **rest}
        found = next((m for m in every if m["id"] == self._name), None)
        if found is None:
            raise BadRequest("There is no such model here.", status=404, code="model_not_found", param="model")
        return found


def _model(name: str) -> Document:
    return {"id": name, "object": "model", "created": 0, "owned_by": "outrider"}


def wanted(path: str) -> str:
    """The model that a path asks for, whose slashes may be raw or quoted. Raises BadRequest."""
    name = unquote(path.removeprefix("/models/"))
    if not _ID.match(name):
        raise BadRequest("This is not the name of a model.", status=404, code="model_not_found", param="model")
    return name
