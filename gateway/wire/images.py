"""Images: a prompt in; pictures out, which nothing here can read, and the prompts as they were revised."""

from __future__ import annotations

from typing import ClassVar

from gateway.core.terms import Document
from gateway.wire.answers import PlainReader
from gateway.wire.endpoint import Events, MiB, check_count, invalid
from gateway.wire.fields import IMAGES_KEYS
from gateway.wire.uploads import Uploads


class ImagesReader(PlainReader):
    @property
    def ended(self) -> bool:
        """Each of several pictures has an event of its own that completes it."""
        return False


class Generations(Events):
    name = "images"
    path = "/images/generations"
    keys = IMAGES_KEYS
    param = "prompt"
    needs_model = False
    max_answer = 64 * MiB
    max_event = 32 * MiB

    def check(self, document: Document) -> None:
        check_count(document, "n", 10)
        if not isinstance(document.get("prompt"), str):
            raise invalid("prompt", "must be a string")

    def reader(self, asked: Document, *, stream: bool) -> ImagesReader:
        return ImagesReader(asked, stream=stream, endpoint=self.name, needs="data", ends=(".completed",))


class Edits(Uploads, Generations):
    path = "/images/edits"
    files: ClassVar[frozenset[str]] = frozenset({"image", "mask"})
    lists: ClassVar[frozenset[str]] = frozenset({"image"})


class Variations(Edits):
    path = "/images/variations"

    def check(self, document: Document) -> None:
        """A picture alone is asked about: there need be no prompt."""
        if document.get("prompt") is not None and not isinstance(document["prompt"], str):
            raise invalid("prompt", "must be a string")
