"""What is cut out of a question before it is asked, and out of an answer before it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.core.edits import Edit, Edits, apply
from gateway.core.holdback import Hit
from gateway.core.masking import Masks, Restorer, redacted
from gateway.core.terms import Action, Delta, Judgement, Origin, Passage, Piece, Span, Spot, Watch


class _Cut(NamedTuple):
    start: int
    end: int
    category: str
    watch: Watch
    value: str  # what was found, decoded


class QuestionCuts:
    """Gathers what the checks found in the question, and says how its texts read without it."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._found: list[tuple[Watch, Span]] = []
        self._said: dict[str, None] = {}  # labels and placeholders
        self.made = False

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, watch: Watch, judgement: Judgement) -> None:
        self._found += [(watch, span) for span in judgement.spans]

    def texts(self, passages: Sequence[Passage]) -> Mapping[tuple[str, str], str]:
        """(path, text) -> the text without what was found; a text in another coat is cut where it stands."""
        self.made = True
        read = {p.path: p for p in passages}
        stands = {p.path: p.text for p in passages if p.origin is None}
        cuts: dict[str, list[_Cut]] = {}
        for watch, span in self._found:
            passage = read[span.path]
            value = passage.text[span.start : span.end]
            for path, start, end in _behind(passage.origin, span):
                cuts.setdefault(path, []).append(_Cut(start, end, span.category, watch, value))
                value = ""
        return {(path, stands[path]): self._cut(stands[path], some) for path, some in cuts.items() if path in stands}

    def left(self, judgement: Judgement, passages: Sequence[Passage]) -> bool:
        """Whether a second look found anything but our own labels and placeholders."""
        texts: dict[str, list[str]] = {}
        for passage in passages:
            texts.setdefault(passage.path, []).append(passage.text)
        return not judgement.spans or any(
            not any(self._covers(text, span) for text in texts.get(span.path, ())) for span in judgement.spans
        )

    def _covers(self, text: str, span: Span) -> bool:
        """Whether the span stands inside something that we said."""
        for said in self._said:
            at = text.find(said, max(0, span.end - len(said)))
            if 0 <= at <= span.start:
                return True
        return False

    def _cut(self, text: str, cuts: list[_Cut]) -> str:
        return apply([self._edit(text, group) for group in _overlapping(cuts)], 0, text)

    def _edit(self, text: str, group: list[_Cut]) -> Edit:
        """One edit for hits that overlap: what is cut for good wins over what comes back."""
        start, end = group[0].start, max(cut.end for cut in group)
        for_good = [cut for cut in group if cut.watch.action is Action.REDACT]
        if for_good:
            said = redacted(for_good[0].category)
        else:
            places = frozenset.intersection(*(cut.watch.restore for cut in group))
            whole = next((cut.value for cut in group if (cut.start, cut.end) == (start, end)), text[start:end])
            said = self._masks.hide(group[0].category, whole, places)
        self._said[said] = None
        return Edit(start, end, said)


def _behind(origin: Origin | None, span: Span) -> list[tuple[str, int, int]]:
    return [(span.path, span.start, span.end)] if origin is None else origin.spans(span.start, span.end)


def _overlapping(cuts: list[_Cut]) -> Iterator[list[_Cut]]:
    """Groups of hits that overlap, in the order of the text; in a group the first and longest first."""
    group: list[_Cut] = []
    reach = 0
    for cut in sorted(cuts, key=lambda cut: (cut.start, -cut.end, cut.category, cut.watch.key)):
        if group and cut.start >= reach:
            yield group
            group = []
        group.append(cut)
        reach = max(reach, cut.end)
    if group:
        yield group


class AnswerCuts:
    """Gathers what is cut out of one answer, and says how its frames read without it."""

    def __init__(self, masks: Masks, *, needed: bool = True) -> None:
        """Not `needed`: no check rewrites, so nothing is kept of where texts stand."""
        self._masks = masks
        self._needed = needed
        self._edits = Edits()
        self._coats: dict[str, list[tuple[int, int, Origin]]] = {}
        self._lengths: dict[str, int] = {}
        self._fixed: dict[str, None] = {}  # channels
        self.restorer: Restorer | None = None
        self.changed = False

    @property
    def unknown(self) -> int:
        """Placeholders that the model made up."""
        return self.restorer.unknown if self.restorer is not None else 0

    def restore(self) -> Restorer | None:
        """Give the question's values back from now on, if there are any."""
        if self._masks.places:
            self.restorer = Restorer(self._masks)
        return self.restorer

    def read(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """The pieces as a client will read them; keeps where those stand that were read in another coat."""
        if not self._needed:
            return pieces
        for piece in pieces:
            start = self._lengths.get(piece.channel, 0)
            end = self._lengths[piece.channel] = start + len(piece.text)
            if piece.origin is not None:
                self._coats.setdefault(piece.channel, []).append((start, end, piece.origin))
            elif piece.fixed:
                self._fixed[piece.channel] = None
        return pieces if self.restorer is None else self.restorer.read(pieces)

    def cut(self, watch: Watch, channel: str, hit: Hit, text: str) -> bool:
        """Cut one hit out; False where it stands nowhere that could be changed."""
        if channel in self._fixed:
            return False
        if watch.action is Action.REDACT:
            said = redacted(hit.category)
        elif watch.restore and self._is_the_clients(channel, hit, text):
            return True
        else:
            said = self._masks.placeholder(hit.category, text)
        if channel not in self._coats:
            self._edits.add(channel, Edit(hit.start, hit.end, said))
            return True
        stands = [span for span in self._behind(channel, hit) if span[0] not in self._fixed]
        for name, start, end in stands:
            first, last = self._place(name, start), self._place(name, end)
            self._edits.add(name, Edit(first, last, said))
            said = ""
        return bool(stands)

    def _is_the_clients(self, channel: str, hit: Hit, text: str) -> bool:
        """Whether the client said it itself, and is to read it."""
        stands = self.restorer is not None and self.restorer.stands(channel, hit.start, hit.end)
        return stands or self._masks.knows(text)

    @property
    def change(self) -> bool:
        """Whether a frame may have to say something else."""
        return bool(self._edits) or self.restorer is not None

    def changes(self, delta: Delta) -> tuple[tuple[Spot, str], ...]:
        """The strings of a frame that say something else now."""
        if not self.change:
            return ()
        changed = []
        for spot in delta.spots:
            start, text = spot.start, spot.text
            if self.restorer is not None:
                text = self.restorer.applied(spot.channel, start, text)
                start = self._place(spot.channel, start)
            text = self._edits.applied(spot.channel, start, text)
            if text != spot.text:
                changed.append((spot, text))
        self.changed = self.changed or bool(changed)
        return tuple(changed)

    def _place(self, channel: str, at: int) -> int:
        return at if self.restorer is None else self.restorer.place(channel, at)

    def _behind(self, channel: str, hit: Hit) -> Iterable[tuple[str, int, int]]:
        start, end = hit.start, hit.end
        if self.restorer is not None:
            start, end = self.restorer.origin(channel, start, end)
        for first, last, origin in self._coats[channel]:
            if first < end and start < last:
                yield from origin.spans(max(start, first) - first, min(end, last) - first)
