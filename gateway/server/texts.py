"""What of an exchange's text its receipt keeps: nothing, hashes, what is left of it, or all, as the operator says."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

from gateway.core.masking import Masks
from gateway.core.terms import Delta, Document, Passage, Piece, Request, Spot

MOST = 1024**2  # characters of a question, and of an answer
WITHHELD = "[withheld]"  # a check found something in it that was not cut out

SAID = frozenset("messages input prompt instructions".split())  # parts of a request that are its texts

Mode = Literal["hashed", "redacted", "full"]


class Texts:
    """The texts of one exchange.

    `full` and `hashed`: the question as it came, the answer as the model said it. `redacted`: both as they were
    passed on, with the placeholders in the place of what they stand for; a text in which a check found something
    that was not cut out is withheld, and so is a question that no upstream was asked.
    """

    def __init__(self, mode: Mode, key: bytes) -> None:
        """`key` makes the hashes: without it nobody can try out what a short text was."""
        self._mode = mode
        self._key = key
        self._question: Sequence[Passage] = ()
        self._request: Document = {}
        self._answer: dict[str, tuple[str, list[str]]] = {}  # channel -> place, parts
        self._lengths: dict[str, int] = {}  # characters of each channel, as the model said them
        self._size = 0
        self.masks: Masks | None = None

    def asked(self, request: Request) -> None:
        self._question = request.passages
        self._request = request.document

    def rewritten(self, passages: Sequence[Passage]) -> None:
        """The question as the upstream is asked."""
        if self._mode == "redacted":
            self._question = passages

    def said(self, pieces: Iterable[Piece]) -> None:
        """What the model says."""
        if self._mode != "redacted":
            for piece in pieces:
                self._add(piece, piece.text)

    def sent(self, delta: Delta, changes: Sequence[tuple[Spot, str]]) -> None:
        """What the client gets."""
        if self._mode != "redacted":
            return
        for piece in delta.pieces:
            if piece.origin is None:
                start = self._lengths.get(piece.channel, 0)
                self._lengths[piece.channel] = start + len(piece.text)
                self._add(piece, _changed(piece, start, changes))

    def _add(self, piece: Piece, text: str) -> None:
        text = text[: max(0, MOST - self._size)]
        self._size += len(text)
        if text:
            self._answer.setdefault(piece.channel, (str(piece.place), []))[1].append(text)

    def lines(self, found: Collection[str], *, asked: bool) -> dict[str, Any]:
        """As a receipt tells them. `found`: the paths in which something was found that was not cut out.

        `asked`: an upstream was; what nobody was asked was not rewritten for anybody, so redacted it is withheld.

        In full also the rest of the request (its parameters, its tools), for checks that look at those.
        """
        told: dict[str, Any] = {"input": [], "output": []}
        if self._mode == "full":
            told["request"] = {name: value for name, value in self._request.items() if name not in SAID}
        left = MOST
        for passage in self._question:
            if self._mode != "redacted" or passage.origin is None:
                text = passage.text[:left]
                left -= len(text)
                withheld = found if asked else [passage.path]
                told["input"].append(self._told(passage.path, str(passage.place), text, withheld))
        for channel, (place, parts) in self._answer.items():
            told["output"].append(self._told(channel, place, "".join(parts), found))
        return told

    def _told(self, path: str, place: str, text: str, found: Collection[str]) -> dict[str, str]:
        said = {"path": path, "place": place}
        match self._mode:
            case "hashed":
                return {
                    **said,
                    "hash": hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest(),
                }
            case "redacted" if any(one.startswith(path) for one in found):
                return {**said, "text": WITHHELD}
            case "redacted" if self.masks is not None:
                return {**said, "text": self.masks.hidden(text)}
        return {**said, "text": text}


def _changed(piece: Piece, start: int, changes: Sequence[tuple[Spot, str]]) -> str:
    """A piece with what of it says something else now."""
    text = piece.text
    for spot, said in sorted(changes, key=lambda change: -change[0].start):
        first = spot.start - start
        if spot.channel == piece.channel and 0 <= first <= first + len(spot.text) <= len(piece.text):
            text = text[:first] + said + text[first + len(spot.text) :]
    return text
