"""The exact lane: how much of a growing text can no longer become part of a hit, and so need not be held.

A check that can follow a text piece by piece gives a `Scanner` for each channel. What it says is
exact: on the whole text it finds what the check finds, and no character before `safe` ever
belongs to a hit that it has not told yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from gateway.core.terms import Finding, Judgement, Outcome, Piece, Watch


class Hit(NamedTuple):
    """A place of a channel: characters from its beginning, and what was hit there."""

    start: int
    end: int
    category: str


class Scan(NamedTuple):
    """What is certain by now."""

    hits: Sequence[Hit]
    safe: int  # characters from the channel's beginning that no later hit can touch


class Scanner(Protocol):
    """Follows one channel."""

    def feed(self, text: str) -> Scan:
        """The channel goes on with `text`."""
        ...

    def end(self) -> Scan:
        """The channel is complete."""
        ...


Follow = Callable[[], Scanner]  # a fresh scanner for a fresh channel


class Following:
    """One watch that follows an answer as it comes: a scanner for each channel."""

    def __init__(self, watch: Watch, follow: Follow) -> None:
        self.watch = watch
        self._rewrites = watch.rewrites
        self._places = watch.places
        self._follow = follow
        self._scanners: dict[str, Scanner] = {}
        self._lengths: dict[str, int] = {}
        self._behind: dict[str, int] = {}  # characters of each channel that a later hit may still touch
        self._bases: dict[str, int] = {}  # where the text that a channel's scanner follows begins
        self._tails: dict[str, tuple[int, str]] = {}  # of a watch that rewrites: what a hit may still cover
        self._cuts: list[tuple[str, Hit, str]] = []
        self._found: set[str] = set()
        self._hit_in: dict[str, None] = {}

    @property
    def behind(self) -> int:
        """Characters that may be read again when a channel goes on, of the channel with most of them."""
        return max(self._behind.values(), default=0)

    @property
    def paths(self) -> tuple[str, ...]:
        """The channels that were read."""
        return tuple(self._lengths)

    def add(self, pieces: Iterable[Piece]) -> tuple[Finding | None, dict[str, int]]:
        """A finding that decides, or how far each channel of these pieces is cleared.

        A watch that rewrites only gathers what is to be cut out: `cuts` gives it.
        """
        cleared: dict[str, int] = {}
        try:
            for piece in pieces:
                if piece.place not in self._places:
                    continue
                scan = self._fed(piece)
                if self._rewrites:
                    self._gather(piece.channel, scan)
                elif scan.hits:
                    return self._hit(piece.channel, scan.hits), {}
                if not piece.wrapped:
                    cleared[piece.channel] = scan.safe
        except Exception as error:  # noqa: BLE001 -- a check is a guest: its fault is a finding
            return Finding(self.watch, Outcome.FAILED, note=f"raised {type(error).__name__}"), {}
        return None, cleared

    def end(self) -> Finding:
        """The answer is complete."""
        try:
            for channel, scanner in self._scanners.items():
                scan = scanner.end()
                if self.watch.rewrites:
                    self._gather(channel, self._moved(channel, scan))
                elif scan.hits:
                    return self._hit(channel, scan.hits)
        except Exception as error:  # noqa: BLE001 -- as above
            return Finding(self.watch, Outcome.FAILED, note=f"raised {type(error).__name__}")
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

    def _fed(self, piece: Piece) -> Scan:
        channel = piece.channel
        scanner = self._scanners.get(channel)
        if scanner is None:
            scanner = self._scanners[channel] = self._follow()
            self._bases[channel] = self._lengths.get(channel, 0)
        length = self._lengths[channel] = self._lengths.get(channel, 0) + len(piece.text)
        if self._rewrites:
            start, tail = self._tails.get(channel, (0, ""))
            self._tails[channel] = (start, tail + piece.text)
        scan = self._moved(channel, scanner.feed(piece.text))
        self._behind[channel] = length - scan.safe
        if not piece.closed:
            return scan
        del self._scanners[channel], self._behind[channel]
        return Scan([*scan.hits, *self._moved(channel, scanner.end()).hits], length)

    def _moved(self, channel: str, scan: Scan) -> Scan:
        """A scanner counts from where it began."""
        base = self._bases[channel]
        if not base:
            return scan
        return Scan([Hit(h.start + base, h.end + base, h.category) for h in scan.hits], base + scan.safe)

    def _hit(self, channel: str, hits: Sequence[Hit]) -> Finding:
        named = tuple(dict.fromkeys(hit.category for hit in hits))
        return Finding(self.watch, Outcome.HIT, Judgement(hit=True, categories=named, paths=(channel,)))
