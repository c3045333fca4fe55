"""Pieces of an answer that go on with the same text, as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.core.terms import Piece


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """What goes on in the same channel is one piece, where it began; what other channels say in between comes behind."""
    runs: list[tuple[Piece, list[str]]] = []
    newest: dict[str, int] = {}  # of each channel
    for piece in pieces:
        at = newest.get(piece.channel)
        if at is not None and _goes_on(runs[at][0], piece):
            runs[at][1].append(piece.text)
        else:
            newest[piece.channel] = len(runs)
            runs.append((piece, [piece.text]))
    return [piece if len(texts) == 1 else replace(piece, text="".join(texts)) for piece, texts in runs]


def _goes_on(last: Piece, piece: Piece) -> bool:
    return (
        last.channel == piece.channel
        and not last.closed
        and not piece.closed
        and last.origin is piece.origin is None
        and last.place is piece.place
        and last.wrapped == piece.wrapped
        and last.fixed == piece.fixed
    )
