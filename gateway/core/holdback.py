"""The exact lane: how much of a growing text can no longer become part of a hit, and so need not be held.

A check that can follow a text piece by piece gives a `Scanner` for each channel. What it says is
exact: on the whole text it finds what the check finds, and no character before `safe` ever
belongs to a hit that it has not told yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.core.terms import Finding, Judgement, Outcome, Piece, Watch

STEP = 128  # characters that are read at once where others wait: a text may be made to take long
AT_ONCE = 16_384  # characters where nobody waits


class Hit(NamedTuple):
    """A place of a channel: characters from its beginning, and what was hit there."""

    start: int
    end: int
    category: str


class Scan(NamedTuple):
    """What is certain by now."""

    hits: Sequence[Hit]
    safe: int  # characters from the channel's beginning that no later hit can touch


class Crowded(Exception):
    """There is more to look at than others can wait for."""


class Scanner(Protocol):
    """Follows one channel.

    Where others wait, each of its methods may raise Crowded instead, with nothing changed: it is called
    again, with the same text or the beginning of it, where nobody waits.
    """

    def feed(self, text: str) -> Scan:
        """The channel goes on with `text`."""
        ...

    def end(self) -> Scan:
        """The channel is complete."""
        ...


Follow = Callable[[], Scanner]  # a fresh scanner for a fresh channel


class Read(NamedTuple):
    """What a watch that follows an answer makes of what it has read."""

    finding: Finding | None  # decides
    cleared: Mapping[str, int]  # how far each channel that was read is clear


class Following:
    """One watch that follows an answer as it comes: a scanner for each channel."""

    def __init__(self, watch: Watch, follow: Follow) -> None:
        self.watch = watch
        self._rewrites = watch.rewrites
        self._places = watch.places
        self._follow = follow
        self._coming: deque[Piece] = deque()  # not read yet
        self._at = 0  # characters of the first of them that are read
        self._complete = False  # nothing more is coming
        self._scanners: dict[str, Scanner] = {}
        self._lengths: dict[str, int] = {}
        self._bases: dict[str, int] = {}  # where the text that a channel's scanner follows begins
        self._tails: dict[str, tuple[int, str]] = {}  # of a watch that rewrites: what a hit may still cover
        self._cuts: list[tuple[str, Hit, str]] = []
        self._found: set[str] = set()
        self._hit_in: dict[str, None] = {}

    @property
    def behind(self) -> bool:
        """Whether there is something to read."""
        return self._complete or bool(self._coming)

    @property
    def size(self) -> int:
        """Characters that are to be read."""
        return sum([len(piece.text) for piece in self._coming]) - self._at

    @property
    def paths(self) -> tuple[str, ...]:
        """The channels that were read."""
        return tuple(self._lengths)

    def add(self, pieces: Iterable[Piece]) -> None:
        """The answer goes on. Nothing is read yet."""
        self._coming.extend([piece for piece in pieces if piece.place in self._places])

    def end(self) -> None:
        """The answer is complete. Nothing is read yet."""
        self._complete = True

    def read(self, most: int = STEP) -> Read:
        """Read what has come, at most so many characters at a time; still `behind` after it: it is too much for here.

        A watch that rewrites only gathers what is to be cut out: `cuts` gives it.
        """
        cleared: dict[str, int] = {}
        complete = self._complete  # asked first: what comes before the end may come while this reads elsewhere
        coming = self._coming
        try:
            while coming:
                piece = coming[0]
                channel, text = piece.channel, piece.text
                if self._at or len(text) > most:
                    text = text[self._at : self._at + most]
                if text or not piece.text:
                    scan = self._fed(channel, text)
                    self._at += len(text)
                    if (finding := self._taken(channel, scan)) is not None:
                        return Read(finding, {})
                    if not piece.wrapped:
                        cleared[channel] = scan.safe
                if self._at < len(piece.text):
                    continue
                if piece.closed:
                    if (finding := self._closed(channel)) is not None:
                        return Read(finding, {})
                    if not piece.wrapped:
                        cleared[channel] = self._lengths[channel]
                coming.popleft()
                self._at = 0
            return Read(self._end() if complete else None, cleared)
        except Crowded:
            return Read(None, cleared)
        except Exception as error:  # noqa: BLE001 -- a check is a guest: its fault is a finding
            return Read(Finding(self.watch, Outcome.FAILED, note=f"raised {type(error).__name__}"), {})

    def _closed(self, channel: str) -> Finding | None:
        """Nothing follows on what a channel has said so far."""
        scan = self._moved(channel, self._scanners[channel].end())
        del self._scanners[channel]
        return self._taken(channel, scan)

    def _taken(self, channel: str, scan: Scan) -> Finding | None:
        """Gather what was found, or say that it decides."""
        if self._rewrites:
            self._gather(channel, scan)
        elif scan.hits:
            return self._hit(channel, scan.hits)
        return None

    def _end(self) -> Finding:
        while self._scanners:
            if (finding := self._closed(next(iter(self._scanners)))) is not None:
                return finding
        if not self._lengths:
            return Finding(self.watch, Outcome.NOTHING)
        if self._found:
            judged = Judgement(hit=True, categories=tuple(sorted(self._found)), paths=tuple(self._hit_in))
            return Finding(self.watch, Outcome.HIT, judged)
        return Finding(self.watch, Outcome.CLEAR, Judgement(hit=False))

    def cuts(self) -> list[tuple[str, Hit, str]]:
        """What was found since this was last asked: channel, place, the text that stands there."""
        cuts, self._cuts = self._cuts, []
        return cuts

    def _gather(self, channel: str, scan: Scan) -> None:
        """Keep the hits and their texts; of the rest, only what a later hit may need."""
        base, text = self._tails.get(channel, (0, ""))
        for hit in scan.hits:
            self._found.add(hit.category)
            self._hit_in[channel] = None
            self._cuts.append((channel, hit, text[max(0, hit.start - base) : hit.end - base]))
        gone = max(0, scan.safe - base)
        self._tails[channel] = (base + gone, text[gone:])

    def _fed(self, channel: str, text: str) -> Scan:
        scanner = self._scanners.get(channel)
        if scanner is None:
            scanner = self._scanners[channel] = self._follow()
            self._bases[channel] = self._lengths.get(channel, 0)
        scan = scanner.feed(text)
        self._lengths[channel] = self._lengths.get(channel, 0) + len(text)
        if self._rewrites:
            start, tail = self._tails.get(channel, (0, ""))
            self._tails[channel] = (start, tail + text)
        return self._moved(channel, scan)

    def _moved(self, channel: str, scan: Scan) -> Scan:
        """A scanner counts from where it began."""
        base = self._bases[channel]
        if not base:
            return scan
        return Scan([Hit(h.start + base, h.end + base, h.category) for h in scan.hits], base + scan.safe)

    def _hit(self, channel: str, hits: Sequence[Hit]) -> Finding:
        named = tuple(dict.fromkeys(hit.category for hit in hits))
        return Finding(self.watch, Outcome.HIT, Judgement(hit=True, categories=named, paths=(channel,)))
