"""Audio: speech from a text, and texts from speech."""

from __future__ import annotations

import re
from typing import ClassVar

from gateway.core.terms import Delta, Document, Piece, Place, Spot
from gateway.wire.answers import PlainReader
from gateway.wire.canonical import Malformed
from gateway.wire.coats import Coat
from gateway.wire.endpoint import Endpoint, MiB, invalid
from gateway.wire.fields import SPEECH_KEYS, TRANSCRIPTIONS_KEYS
from gateway.wire.forms import Upload
from gateway.wire.reader import Raw
from gateway.wire.uploads import Uploads
from gateway.wire.walk import hidden, readable


class SpeechReader(PlainReader):
    def raw(self, media: str, data: bytes) -> Delta:
        text = readable(data)  # what calls itself audio and is text is read like text
        piece = self._left_unread("audio", "audio") if text is None else Piece("audio", Place.CONTENT, text, fixed=True)
        return Delta(Raw(media, data), (piece,), len(data))


class Speech(Endpoint):
    name = "speech"
    path = "/audio/speech"
    keys = SPEECH_KEYS
    raw_media = re.compile(r"audio/[a-z0-9.+-]{1,40}\Z|application/octet-stream\Z")
    flows = True
    max_event = 4 * MiB

    def check(self, document: Document) -> None:
        if not isinstance(document.get("input"), str):
            raise invalid("input", "must be a string")
        if document.get("stream_format") not in (None, "audio", "sse"):
            raise invalid("stream_format", "must be 'audio' or 'sse'")

    def streams(self, document: Document) -> bool:
        return document.get("stream_format") == "sse"

    def reader(self, asked: Document, *, stream: bool) -> SpeechReader:
        return SpeechReader(asked, stream=stream, endpoint=self.name, ends=("speech.audio.done",))


class TranscriptionsReader(PlainReader):
    def raw(self, media: str, data: bytes) -> Delta:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("it is not UTF-8") from None
        frame = Raw(f"{media}; charset=utf-8", data)
        others = tuple(
            Piece(f"text{step}", Place.CONTENT, other, origin=Coat("text", text, step)) for step, other in hidden(text)
        )
        spot = Spot("text", 0, text, ("text",), frame, "data")
        return Delta(frame, (Piece("text", Place.CONTENT, text), *others), len(data), spots=(spot,))


class Transcriptions(Uploads):
    name = "transcriptions"
    path = "/audio/transcriptions"
    keys = TRANSCRIPTIONS_KEYS
    param = "file"
    raw_media = re.compile(r"text/(plain|vtt|srt)\Z|application/x-subrip\Z")
    files: ClassVar[frozenset[str]] = frozenset({"file"})

    def check(self, document: Document) -> None:
        if not isinstance(document.get("file"), Upload):
            raise invalid("file", "must be a file, sent as multipart/form-data")

    def reader(self, asked: Document, *, stream: bool) -> TranscriptionsReader:
        return TranscriptionsReader(asked, stream=stream, endpoint=self.name, ends=("transcript.text.done",))


class Translations(Transcriptions):
    path = "/audio/translations"
