"""One exchange from the first call to the verdict: events in, effects out; it never waits.

Rule 1: local checks of the question run before the call; then the call and the checks beside
        it start at the same moment.
Rule 2: nothing is sent before every gating check of the question has spoken, then only what
        the gate lets go.
Rule 3: the first finding that blocks closes the exchange; everything still running is dropped.
Rule 4: a lost call is told only after the question has been cleared: a block outranks a fault.
Rule 5: a check that rewrites the question runs before the call; what is asked, and what the checks
        beside the call read, is the question rewritten. What it still finds then, it blocks.
Rule 6: what a check cuts out of the answer is cut when its frame goes; local checks read the answer
        as its client will, with the question's values in the place of their placeholders.
Rule 7: after the close nothing is sent, asked or waited for. Looks that gate nothing (shadow,
        flag) may outlive it; nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from gateway.core.gate import Gate
from gateway.core.history import last_question, parted
from gateway.core.holdback import AT_ONCE, Follow, Following, Hit
from gateway.core.masking import Masks
from gateway.core.pieces import joined
from gateway.core.rewriting import AnswerCuts, QuestionCuts
from gateway.core.terms import (
    Arrived,
    Ask,
    Blame,
    Broke,
    Call,
    CatchUp,
    CaughtUp,
    Close,
    Decision,
    Drop,
    Effect,
    Elapsed,
    Ended,
    Event,
    Examine,
    Fault,
    Finding,
    Found,
    History,
    Judgement,
    Lane,
    Left,
    Note,
    Outcome,
    Overfull,
    Passage,
    Pause,
    Piece,
    Place,
    Resume,
    Rewrite,
    Rewritten,
    Send,
    Side,
    Stopped,
    Verdict,
    Watch,
    When,
)
from gateway.core.verdict import stops
from gateway.core.windows import Windows

TOO_SLOW = Fault(504, "The answer was not complete within the time allowed.", "timeout", blame=Blame.TIMEOUT)
TOO_LONG = Fault(
    502, "The answer is longer than may be held back for its checks.", "answer_too_long", blame=Blame.OVERFLOW
)

NO_ROOM = Fault(
    503,
    "The gateway is at its limit of memory and has broken off this answer.",
    "overloaded",
    "server_error",
    headers={"retry-after": "1"},
    blame=Blame.OVERFLOW,
)


class Spoken:
    """The answer so far: one running text for each channel, and only where a check will read it."""

    def __init__(self, places: frozenset[Place]) -> None:
        self._wanted = places
        self._channels: dict[str, tuple[Place, list[str]]] = {}
        self._shown: dict[frozenset[Place], tuple[Passage, ...]] = {}
        self.size = 0  # characters

    def add(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if piece.place in self._wanted:
                self._channels.setdefault(piece.channel, (piece.place, []))[1].append(piece.text)
                self.size += len(piece.text)
                self._shown.clear()

    def passages(self, watch: Watch) -> tuple[Passage, ...]:
        known = self._shown.get(watch.places)
        if known is None:
            known = self._shown[watch.places] = tuple(
                [
                    Passage(channel, place, "".join(texts))
                    for channel, (place, texts) in self._channels.items()
                    if place in watch.places
                ]
            )
        return known


UNREAD = Spoken(frozenset())  # of an answer that nobody reads whole: nothing is kept


def _as_it_can(watch: Watch, follows: Mapping[str, Follow], *, stream: bool) -> Watch:
    """A watch that nobody waits for or can read along for reads the whole, and so does each of a plain answer."""
    if watch.lane in {Lane.WHOLE, Lane.AFTER}:
        return watch
    if not stream or not watch.gates or (watch.lane is Lane.EXACT and watch.name not in follows):
        return replace(watch, lane=Lane.WHOLE)
    return watch


def _said(event: Arrived) -> Sequence[Piece]:
    """The pieces of all frames that came together."""
    if not event.then:
        return event.delta.pieces
    return joined(chain(event.delta.pieces, *[delta.pieces for delta in event.then]))


class Layout:
    """Who reads what, and when, in the exchanges of one plan: made once for many."""

    def __init__(self, watches: Sequence[Watch], follows: Mapping[str, Follow], *, stream: bool) -> None:
        """`follows` gives a scanner for each watch, by its name, that follows the answer as it comes."""
        question = [watch for watch in watches if watch.side is Side.INPUT]
        gating = [watch for watch in question if watch.gates]
        answer = [_as_it_can(w, follows, stream=stream) for w in watches if w.side is Side.OUTPUT]
        self.before = tuple(watch for watch in gating if watch.when is When.BEFORE)
        self.beside = tuple(watch for watch in gating if watch.when is When.BESIDE)
        self.silent = tuple(watch for watch in question if not watch.gates)
        self.again = tuple(watch for watch in question if watch.rewrites)  # they look at the question said otherwise
        self.rewrites = any(watch.rewrites for watch in watches)
        self.following = tuple((watch, follows[watch.name]) for watch in answer if watch.lane is Lane.EXACT)
        self.windows = tuple(watch for watch in answer if watch.lane is Lane.WINDOW)
        self.whole = tuple(watch for watch in answer if watch.lane not in {Lane.EXACT, Lane.WINDOW})
        self.holding = tuple(watch for watch in answer if watch.holds)
        self.read = frozenset(place for w in self.whole if w.local for place in w.places)
        self.read_raw = frozenset(place for w in self.whole if not w.local for place in w.places)


class Exchange:
    """The state of one request: which looks are out, what is held, whether it is over."""

    def __init__(
        self,
        call: Call,
        watches: Sequence[Watch] | Layout,
        passages: Sequence[Passage],
        max_held: int,
        follows: Mapping[str, Follow] | None = None,
        *,
        masks: Masks | None = None,
    ) -> None:
        """`watches`, or the layout that was made of them and `follows`."""
        self._call = call
        masks = Masks(b"", "") if masks is None else masks
        layout = watches if isinstance(watches, Layout) else Layout(watches, follows or {}, stream=call.stream)
        self._layout = layout
        self._question_cuts = QuestionCuts(masks)
        self._cuts = AnswerCuts(masks, needed=layout.rewrites)
        self._following = [Following(watch, follow) for watch, follow in layout.following]
        self._windows = {watch.key: Windows(watch) for watch in layout.windows}
        self._passages = tuple(passages)
        self._shown: dict[tuple[frozenset[Place], History], tuple[Passage, ...]] = {}  # of them, by who reads them
        self._max_held = max_held
        self._gate = Gate(layout.holding)
        self._spoken = Spoken(layout.read) if layout.read else UNREAD
        self._spoken_raw = Spoken(layout.read_raw) if layout.read_raw else UNREAD
        self._out: dict[str, Watch] = {}  # looks that are out, by the watch's key
        self._gating = dict.fromkeys(Side, 0)  # of them, those that somebody waits for
        self._asked = False
        self._rewriting = False  # the question is being said otherwise
        self._over = False  # the call has ended or broken
        self._paused = False
        self._ended = False
        self._fault: Fault | None = None
        self.verdict: Verdict | None = None
        self.closed = False  # there is a verdict

    @property
    def cleared(self) -> bool:
        """Whether every gating check of the question has let it pass, so that an answer may begin."""
        return self._asked and not self._rewriting and not self._gating[Side.INPUT]

    @property
    def held(self) -> int:
        """What it keeps of the answer: frames in the gate, or texts (the same ones) that a check will read whole."""
        return max(self._gate.held, self._spoken.size, self._spoken_raw.size)

    def start(self) -> list[Effect]:
        """The first effects: the local checks of the question, or everything if there are none."""
        return self._look(self._layout.before) + self._advance()

    def take(self, event: Event) -> list[Effect]:
        """What follows from one event. After the close: nothing."""
        if self.closed:
            return []
        match event:
            case Arrived():
                return self._arrived(event)
            case Ended():
                return self._answer_ended()
            case Broke(fault=fault):
                self._over = True
                self._fault = fault
                return self._advance()
            case Stopped(finding=finding):
                self._over = True
                return self._close(Verdict(Decision.BLOCKED, by=finding))
            case Found():
                return self._found(event)
            case CaughtUp():
                return self._caught_up(event)
            case Rewritten():
                return self._rewritten(event)
            case Elapsed():
                return self._close(Verdict(Decision.FAILED, fault=TOO_SLOW))
            case Overfull():
                return self._close(Verdict(Decision.FAILED, fault=NO_ROOM))
            case Left():
                return self._close(Verdict(Decision.LEFT))

    def _arrived(self, event: Arrived) -> list[Effect]:
        if self._over:
            return []
        self._gate.hold(event.delta)
        for delta in event.then:
            self._gate.hold(delta)
        effects = self._read(_said(event))
        if self.closed:
            return effects
        if event.last:
            return effects + self._answer_ended()
        effects += self._advance()
        if self._gate.held <= self._max_held or not (self._call.stream or self._call.flows) or self.closed:
            return effects
        if self._gate.needs_the_end or (self._gate.holding and not self._out_gates()):
            return effects + self._close(Verdict(Decision.FAILED, fault=TOO_LONG))
        if not self._paused:
            self._paused = True
            effects.append(Pause(self._call.name))
        return effects

    def _answer_ended(self) -> list[Effect]:
        if self._over:
            return []
        self._over = True
        effects: list[Effect] = []
        rest: list[Piece] = []
        if (restorer := self._cuts.restorer) is not None:
            rest = restorer.end()
            self._spoken.add(rest)
            self._gate.excuse(restorer.watch)
            effects += self._follow(rest)
            if self.closed:
                return effects
        self._ended = True
        for following in self._following:
            following.end()
            effects += self._read_along(following)
            if self.closed:
                return effects
        effects += self._show(rest, ())
        silent = [w.watch for w in self._windows.values() if not w.looked]
        return effects + self._look([*self._layout.whole, *silent]) + self._advance()

    def _read(self, pieces: Sequence[Piece]) -> list[Effect]:
        """What every check that reads along makes of these pieces."""
        read = self._cuts.read(pieces)
        if (restorer := self._cuts.restorer) is not None:
            self._gate.clear(restorer.watch, restorer.decided(piece.channel for piece in pieces))
        self._spoken.add(read)
        self._spoken_raw.add(pieces)
        effects = self._follow(read)
        return effects if self.closed else effects + self._show(read, pieces)

    def _show(self, read: Sequence[Piece], raw: Sequence[Piece]) -> list[Effect]:
        """Send the next windows to look; at the end, all that is left."""
        effects: list[Effect] = []
        for windows in self._windows.values():
            windows.add(read if windows.watch.local else raw)
            window = windows.next(final=self._ended)
            if window is not None:
                self._send_out(windows.watch)
                effects.append(Examine(windows.watch, window.passages, self._asked_by_user(windows.watch)))
        return effects

    def _follow(self, pieces: Sequence[Piece]) -> list[Effect]:
        """What the watches that read along say of these pieces."""
        effects: list[Effect] = []
        for following in self._following:
            following.add(pieces)
            effects += self._read_along(following)
            if self.closed:
                break
        return effects

    def _read_along(self, following: Following) -> list[Effect]:
        """Let it read what has come, unless it is reading elsewhere."""
        return [] if following.watch.key in self._out else self._said_along(following, *following.read())

    def _said_along(self, following: Following, finding: Finding | None, cleared: Mapping[str, int]) -> list[Effect]:
        """What follows from what it says; if there is more, it goes on elsewhere."""
        if following.watch.rewrites:
            finding = self._cut_along(following) or finding
        if finding is not None:
            return self._told(following, finding)
        self._gate.clear(following.watch, cleared)
        if not following.behind:
            return []
        self._send_out(following.watch)
        return [CatchUp(following.watch, partial(following.read, AT_ONCE), following.size)]

    def _caught_up(self, event: CaughtUp) -> list[Effect]:
        if not self._is_back(event.watch):
            return []
        (following,) = [one for one in self._following if one.watch.key == event.watch.key]
        effects = self._said_along(following, event.finding, event.cleared)
        return effects if self.closed else effects + self._advance()

    def _cut_along(self, following: Following) -> Finding | None:
        """Cut out what a following watch has found since; a finding where that cannot be done."""
        for channel, hit, text in following.cuts():
            if not self._cuts.cut(following.watch, channel, hit, text):
                judged = Judgement(hit=True, categories=(hit.category,), paths=(channel,))
                return Finding(following.watch, Outcome.HIT, judged, stuck=True)
        return None

    def _told(self, following: Following, finding: Finding) -> list[Effect]:
        """A following watch has come to its finding: on record, and it blocks or holds nothing any more."""
        self._following = [one for one in self._following if one is not following]
        effects: list[Effect] = [Note(finding, following.paths)]
        if stops(finding):
            return effects + self._close(Verdict(Decision.BLOCKED, by=finding))
        self._gate.excuse(following.watch)
        return effects

    def _found(self, event: Found) -> list[Effect]:
        effects: list[Effect] = []
        for finding in (event.finding, *event.then):
            if not self._is_back(finding.watch):
                continue
            effects += self._settled(finding)
            if self.closed:
                return effects
        return effects + self._advance()

    def _settled(self, finding: Finding) -> list[Effect]:
        """What one finding changes by itself."""
        if finding.outcome is not Outcome.CLEAR:
            if finding.watch.rewrites and finding.outcome is Outcome.HIT:
                finding = self._cut(finding)
            if stops(finding):
                return self._close(Verdict(Decision.BLOCKED, by=finding))
        windows = self._windows.get(finding.watch.key)
        if windows is not None and windows.out is not None:
            self._gate.clear(finding.watch, windows.cleared())
            return self._show((), ())
        if finding.watch.side is Side.OUTPUT:
            self._gate.excuse(finding.watch)  # it has seen everything
        return []

    def _cut(self, finding: Finding) -> Finding:
        """Cut out what a look has found, of the question or of the whole answer; stuck where that cannot be done."""
        watch, judged = finding.watch, finding.judgement
        assert judged is not None
        if watch.side is Side.OUTPUT:
            texts = {passage.path: passage.text for passage in self._seen_by(watch)}
            hits = [(span.path, Hit(*span[1:])) for span in judged.spans]
            done = [self._cuts.cut(watch, path, hit, texts[path][hit.start : hit.end]) for path, hit in hits]
            stuck = not done or not all(done)
        elif self._question_cuts.made:
            stuck = self._question_cuts.left(judged, self._passages)
        else:
            self._question_cuts.add(watch, judged)
            stuck = not judged.spans
        return replace(finding, stuck=stuck)

    def _rewritten(self, event: Rewritten) -> list[Effect]:
        """The question is said otherwise: what rewrites looks again, and blocks what it still finds."""
        self._rewriting = False
        self._call, self._passages = event.call, event.passages
        self._shown.clear()
        if (restorer := self._cuts.restore()) is not None:
            self._gate.restore(restorer.watch, restorer.place)
        return self._look(self._layout.again) + self._advance()

    def _look(self, watches: Iterable[Watch]) -> list[Effect]:
        """Send these watches' checks to look; one that has nothing to read is noted, not sent."""
        effects: list[Effect] = []
        for watch in watches:
            passages = self._seen_by(watch)
            if passages or watch.always_asked:
                self._send_out(watch)
                effects.append(Examine(watch, passages, self._asked_by_user(watch)))
            else:
                effects.append(Note(Finding(watch, Outcome.NOTHING)))
        return effects

    def _send_out(self, watch: Watch) -> None:
        if watch.key not in self._out:
            self._out[watch.key] = watch
            self._gating[watch.side] += watch.gates

    def _is_back(self, watch: Watch) -> bool:
        """Note that a look is over; False: it was not out."""
        if self._out.pop(watch.key, None) is None:
            return False
        self._gating[watch.side] -= watch.gates
        return True

    def _seen_by(self, watch: Watch) -> tuple[Passage, ...]:
        if watch.side is Side.OUTPUT:
            return (self._spoken if watch.local else self._spoken_raw).passages(watch)
        known = self._shown.get((watch.places, watch.history))
        if known is None:
            shown = parted(self._passages)[1] if watch.history is History.SKIP else self._passages
            known = tuple([passage for passage in shown if passage.place in watch.places])
            self._shown[watch.places, watch.history] = known
        return known

    def _asked_by_user(self, watch: Watch) -> tuple[Passage, ...]:
        """The user's turn, as the upstream was asked, for a check of the answer that wants it."""
        return last_question(self._passages) if watch.exchange and watch.side is Side.OUTPUT else ()

    def _out_gates(self) -> bool:
        """Whether a look is out that may still make room."""
        return any(self._gating.values())

    def _advance(self) -> list[Effect]:
        """Go as far as what is known allows."""
        effects: list[Effect] = []
        if self._rewriting or self._gating[Side.INPUT]:
            return effects
        if not self._asked:
            if self._question_cuts and not self._question_cuts.made:
                self._rewriting = True
                return [Rewrite(self._question_cuts.texts(self._passages))]
            effects = self._ask()
            if self._gating[Side.INPUT]:
                return effects
        self._gate.open()
        complete = self._ended and not self._gating[Side.OUTPUT]
        if self._gate.held_frames:
            released = self._gate.release(complete=complete)
            changes = self._cuts.changes if self._cuts.change else None
            effects += [Send(delta, changes(delta)) if changes else Send(delta) for delta in released]
        if self._paused and self._gate.held <= self._max_held:
            self._paused = False
            effects.append(Resume(self._call.name))
        if self._paused and not self._out_gates():
            return effects + self._close(Verdict(Decision.FAILED, fault=TOO_LONG))
        if self._fault is not None:
            effects += self._close(Verdict(Decision.FAILED, fault=self._fault))
        elif complete:
            masked = self._question_cuts.made or self._cuts.changed
            effects += self._close(
                Verdict(Decision.MASKED if masked else Decision.RELEASED, unknown=self._cuts.unknown)
            )
        return effects

    def _ask(self) -> list[Effect]:
        """The call and the checks beside it, at the same moment."""
        self._asked = True
        beside, silent = self._look(self._layout.beside), self._look(self._layout.silent)
        return [*beside, Ask(self._call), *silent]

    def _close(self, verdict: Verdict) -> list[Effect]:
        self.verdict, self.closed = verdict, True
        effects: list[Effect] = []
        if self._asked and not self._over:
            effects.append(Drop(self._call.name))
        left = verdict.decision is Decision.LEFT
        effects += [Drop(key) for key, watch in self._out.items() if watch.gates or left]
        return [*effects, Close(verdict)]
