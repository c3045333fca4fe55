"""The exact lane: how much of a growing text can no longer become part of a hit, and so need not be held.

A check that can follow a text piece by piece gives a `Scanner` for each channel. What it says is
exact: on the whole text it finds what the check finds, and no character before `safe` ever
belongs to a hit that it has not told yet.
"""

from __future__ import annotations

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


class _Channel:
    """One channel that is read, and the scanner that follows it."""

    __slots__ = ("base", "length", "scanner", "start", "tail")

    def __init__(self) -> None:
        self.scanner: Scanner | None = None  # None: nothing follows on what it has said
        self.length = 0
        self.base = 0  # where the text that its scanner follows begins
        self.start = 0  # where what is kept of it begins
        self.tail = ""  # of a watch that rewrites: what a hit may still cover

    def feed(self, text: str, follow: Follow) -> Scan:
        if self.scanner is None:
            self.scanner, self.base = follow(), self.length
        scan = self._moved(self.scanner.feed(text))
        self.length += len(text)
        return scan

    def end(self) -> Scan:
        assert self.scanner is not None
        scan = self._moved(self.scanner.end())
        self.scanner = None
        return scan

    def _moved(self, scan: Scan) -> Scan:
        """A scanner counts from where it began."""
        if not self.base:
            return scan
        return Scan([Hit(h.start + self.base, h.end + self.base, h.category) for h in scan.hits], self.base + scan.safe)


class Following:
    """One watch that follows an answer as it comes: a scanner for each channel."""

    def __init__(self, watch: Watch, follow: Follow) -> None:
        self.watch = watch
        self._rewrites = watch.rewrites
        self._places = watch.places
        self._follow = follow
        self._coming: list[Piece] = []  # not read yet
        self._at = 0  # characters of the first of them that are read
        self._complete = False  # nothing more is coming
        self._channels: dict[str, _Channel] = {}  # that were read
        self._cuts: list[tuple[str, Hit, str]] = []
        self._found: dict[str, None] = {}
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
        return tuple(self._channels)

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
        coming, done = self._coming, 0
        try:
            while done < len(coming):
                piece = coming[done]
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
                        cleared[channel] = self._channels[channel].length
                done += 1
                self._at = 0
            return Read(self._end() if complete else None, cleared)
        except Crowded:
            return Read(None, cleared)
        except Exception as error:  # noqa: BLE001 -- a check is a guest: its fault is a finding
            return Read(Finding(self.watch, Outcome.FAILED, note=f"raised {type(error).__name__}"), {})
        finally:
            del coming[:done]

    def _closed(self, channel: str) -> Finding | None:
        """Nothing follows on what a channel has said so far."""
        return self._taken(channel, self._channels[channel].end())

    def _taken(self, channel: str, scan: Scan) -> Finding | None:
        """Gather what was found, or say that it decides."""
        if self._rewrites:
            self._gather(channel, scan)
        elif scan.hits:
            return self._hit(channel, scan.hits)
        return None

    def _end(self) -> Finding:
        for channel, kept in self._channels.items():
            if kept.scanner is not None and (finding := self._closed(channel)) is not None:
                return finding
        if not self._channels:
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
        kept = self._channels[channel]
        base, text = kept.start, kept.tail
        for hit in scan.hits:
            self._found[hit.category] = None
            self._hit_in[channel] = None
            self._cuts.append((channel, hit, text[max(0, hit.start - base) : hit.end - base]))
        gone = max(0, scan.safe - base)
        kept.start, kept.tail = base + gone, text[gone:]

    def _fed(self, channel: str, text: str) -> Scan:
        kept = self._channels.get(channel) or _Channel()
        scan = kept.feed(text, self._follow)
        if self._rewrites:
            kept.tail += text
        self._channels[channel] = kept
        return scan

    def _hit(self, channel: str, hits: Sequence[Hit]) -> Finding:
        named = tuple(dict.fromkeys(hit.category for hit in hits))
        return Finding(self.watch, Outcome.HIT, Judgement(hit=True, categories=named, paths=(channel,)))
