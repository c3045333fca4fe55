"""Long texts for a check that reads so much at a time: pieces that overlap, and the worst of what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.terms import Judgement, Passage

OVERLAP = 200  # characters that two neighbours share, so that what matters is whole in one of them
JOINED = 2  # characters that may stand between two texts of one call
SEARCHED = 200  # characters before the end of a piece in which it may end at a border of words


Cut = tuple[Passage, int]  # a piece of a passage, and at which character of it the piece begins


def segments(
    passages: Sequence[Passage], most: int | None = None, overlap: int = OVERLAP, *, single: bool = False
) -> list[tuple[Cut, ...]]:
    """The passages in groups of at most `most` characters, in their order; a longer one is cut.

    Every stretch of `overlap` characters of a passage is whole in one group, and a group holds at most one piece
    of a passage. None: one group of all. Single: each passage has groups of its own.
    """
    if not (single and len(passages) > 1) and (
        most is None or sum(len(p.text) + JOINED for p in passages) - JOINED <= most
    ):
        return [tuple((p, 0) for p in passages)]
    most = most if most is not None else sum(len(p.text) for p in passages) + 1
    groups: list[tuple[Cut, ...]] = []
    group: list[Cut] = []
    room = most
    for passage in passages:
        for begin, piece in _pieces(passage.text, most, overlap):
            if group and (len(piece) > room or begin or single):
                groups.append(tuple(group))
                group, room = [], most
            group.append((passage if piece == passage.text else replace(passage, text=piece), begin))
            room -= len(piece) + JOINED
    return [*groups, tuple(group)] if group else groups


def _pieces(text: str, most: int, overlap: int) -> list[tuple[int, str]]:
    overlap = min(overlap, most // 2)
    pieces: list[tuple[int, str]] = []
    begin = 0
    while len(text) - begin > most:
        end = begin + most
        border = text.rfind(" ", max(begin + overlap, end - SEARCHED), end)
        end = border if border > begin + overlap else end
        pieces.append((begin, text[begin:end]))
        begin = end - overlap
    return [*pieces, (begin, text[begin:])]


def moved(judgement: Judgement, group: Sequence[Cut]) -> Judgement:
    """What was said of pieces, as of the passages that they are from."""
    begins = {piece.path: begin for piece, begin in group}
    spans = tuple(
        span._replace(start=span.start + begins.get(span.path, 0), end=span.end + begins.get(span.path, 0))
        for span in judgement.spans
    )
    return replace(judgement, spans=spans) if spans != judgement.spans else judgement


def worst(judgements: Sequence[Judgement]) -> Judgement:
    """One judgement of many: a hit if any is, its highest score, everything that was spent."""
    if len(judgements) == 1:
        return judgements[0]
    scores = [one.score for one in judgements if one.score is not None]
    usage: dict[str, int] = {}
    for one in judgements:
        for name, count in (one.usage or {}).items():
            usage[name] = usage.get(name, 0) + count
    return Judgement(
        any(one.hit for one in judgements),
        tuple(dict.fromkeys(name for one in judgements for name in one.categories)),
        max(scores, default=None),
        tuple(dict.fromkeys(path for one in judgements for path in one.paths)),
        next((one.note for one in judgements if one.note), ""),
        usage or None,
        tuple(span for one in judgements for span in one.spans),
    )
