"""A small world around the core: it answers looks, plays a call, and writes down what happened."""

import itertools
from dataclasses import dataclass, field

from gateway.checks.hurry import Hurry
from gateway.core.exchange import Exchange
from gateway.core.holdback import Crowded
from gateway.core.terms import (
    Arrived,
    Ask,
    Broke,
    Call,
    CaughtUp,
    Close,
    Delta,
    Drop,
    Ended,
    Examine,
    Fault,
    Finding,
    Found,
    Note,
    Outcome,
    Pause,
    Piece,
    Place,
    Resume,
    Send,
    Side,
    Watch,
    When,
)
from tests.patience import LONG

FAULT = Fault(502, "broken", "upstream_cut")
CALL = Call("only", "up", "model", {}, stream=True)
PLACE = {"content": Place.CONTENT, "reasoning": Place.REASONING, "tool": Place.TOOL_CALL}


def watch(name, side="input", **settings):
    places = settings.pop("places", None)
    if places is None:
        places = {Place.USER} if side == "input" else {Place.CONTENT}
    return Watch(name, Side(side), frozenset(places), **{"timeout": LONG, **settings})


def before(name, **settings):
    return watch(name, when=When.BEFORE, **settings)


def delta(text="", channel="content", size=0, frame=None):
    pieces = (Piece(channel, PLACE[channel], text),) if text else ()
    return Delta(frame if frame is not None else {"text": text}, pieces, size)


def found(one, outcome="clear"):
    return Found(Finding(one, Outcome(outcome)))


def say(effects):
    """Effects as the words of a transcript."""
    return [_word(effect) for effect in effects]


def _word(effect):
    match effect:
        case Ask(call=call):
            return f"ask {call.name}"
        case Examine(watch=one, passages=passages):
            return f"examine {one.name} {' '.join(p.text for p in passages)}".strip()
        case Drop(what=what):
            return f"drop {what}"
        case Send(delta=one):
            return f"send {''.join(p.text for p in one.pieces)}".strip()
        case Note(finding=finding):
            return f"note {finding.watch.name}: {finding.outcome}"
        case Pause():
            return "pause"
        case Resume():
            return "resume"
        case Close(verdict=verdict):
            by = verdict.by.watch.name if verdict.by else verdict.fault.code if verdict.fault else ""
            return f"close {verdict.decision} {by}".strip()


@dataclass
class Scenario:
    watches: list
    outcomes: dict  # by watch key
    passages: list
    deltas: list
    breaks: bool = False
    max_held: int = 10**9


@dataclass
class World:
    """Plays one scenario; `choose(n)` says which of n possible events happens next."""

    scenario: Scenario
    trace: list = field(default_factory=list)  # (event or None, effects)
    looks: dict = field(default_factory=dict)  # out: key -> watch
    calling: bool = False
    paused: bool = False
    played: int = 0

    def run(self, choose, interrupt=None):
        scenario = self.scenario
        self.exchange = Exchange(CALL, scenario.watches, scenario.passages, scenario.max_held)
        self._note(None, self.exchange.start())
        step = 0
        while events := self._possible():
            event = events[choose(len(events)) % len(events)]
            if interrupt is not None and step == interrupt[0]:
                event = interrupt[1]
            step += 1
            self._happened(event)
            self._note(event, self.exchange.take(event))
        return self

    def _possible(self):
        events = [found(one, self.scenario.outcomes.get(key, "clear")) for key, one in sorted(self.looks.items())]
        if self.calling and not self.paused:
            if self.played < len(self.scenario.deltas):
                events.append(Arrived("only", self.scenario.deltas[self.played]))
            else:
                events.append(Broke("only", FAULT) if self.scenario.breaks else Ended("only"))
        return events

    def _happened(self, event):
        match event:
            case Found(finding=finding):
                self.looks.pop(finding.watch.key)
            case Arrived():
                self.played += 1
            case Ended() | Broke():
                self.calling = False

    def _note(self, event, effects):
        self.trace.append((event, effects))
        for effect in effects:
            match effect:
                case Ask():
                    assert not self.calling
                    self.calling = True
                case Examine(watch=one):
                    assert one.key not in self.looks
                    self.looks[one.key] = one
                case Drop(what=what):
                    if what == "only":
                        assert self.calling
                        self.calling = False
                    else:
                        del self.looks[what]
                case Pause():
                    self.paused = True
                case Resume():
                    self.paused = False

    @property
    def effects(self):
        return [effect for _, effects in self.trace for effect in effects]

    @property
    def decision(self):
        closes = [e.verdict.decision for e in self.effects if isinstance(e, Close)]
        assert len(closes) == 1
        return str(closes[0])

    @property
    def sent(self):
        return [e.delta for e in self.effects if isinstance(e, Send)]


class Impatient(Hurry):
    """Gives up whenever it is told to, in turn."""

    def __init__(self, turns):
        super().__init__()
        self.turns = itertools.cycle(turns or [False])

    def take(self, units):
        if next(self.turns):
            raise Crowded

    def told(self, exchange, event):
        """What the exchange does with an event, as far as there is time."""
        with self:
            return exchange.take(event)

    def elsewhere(self, effect):
        """What comes of a catch-up, told later: read at once, or when it is told."""
        if next(self.turns):
            return lambda: CaughtUp(effect.watch, *effect.read())
        read = effect.read()
        return lambda: CaughtUp(effect.watch, *read)


def told(event):
    """An event, or what makes one when it is time."""
    return event() if callable(event) else event


def together(deltas, sizes):
    """The deltas as they arrive when so many of them come at once, in turn."""
    deltas, turn = list(deltas), itertools.cycle(sizes or [1])
    while deltas:
        some, deltas = deltas[: (size := next(turn))], deltas[size:]
        yield Arrived("only", some[0], tuple(some[1:]))
