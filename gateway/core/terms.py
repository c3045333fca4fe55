"""The nouns: everything that crosses a floor of Outrider is one of these types.

A `Request` holds `Passage`s (every text of the body). A `Plan` turns a request into one
`Call` and some `Watch`es. During the exchange the shell reports *events* (past participles:
what happened) and the core answers with *effects* (imperatives: what is to be done).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A frozen dataclass that is frozen to the type checker only: it costs a third to make, and many are made."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


Document = dict[str, Any]  # a parsed JSON object
Headers = Mapping[str, str]


class Word(StrEnum):
    """An enumeration of words, hashed like them: sets and dicts are asked for places for every text."""

    __hash__ = str.__hash__


class Side(Word):
    INPUT = "input"
    OUTPUT = "output"


class Place(Word):
    """Where a text stands; what `at` of a check names."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL_RESULT = "tool_result"
    TOOL_DEFINITION = "tool_definition"
    ATTACHMENT = "attachment"
    OTHER_INPUT = "other_input"
    CONTENT = "content"
    REASONING = "reasoning"
    REFUSAL = "refusal"
    TOOL_CALL = "tool_call"
    TRANSCRIPT = "transcript"
    OTHER_OUTPUT = "other_output"
    UNREAD_INPUT = "unread_input"  # what cannot be read; the text says what it is
    UNREAD_OUTPUT = "unread_output"

    @property
    def side(self) -> Side:
        return Side.INPUT if self in INPUT_PLACES or self is Place.UNREAD_INPUT else Side.OUTPUT


INPUT_PLACES = frozenset(
    {
        Place.SYSTEM,
        Place.USER,
        Place.ASSISTANT,
        Place.TOOL_RESULT,
        Place.TOOL_DEFINITION,
        Place.ATTACHMENT,
        Place.OTHER_INPUT,
    }
)
UNREAD_PLACES = frozenset({Place.UNREAD_INPUT, Place.UNREAD_OUTPUT})
OUTPUT_PLACES = frozenset(Place) - INPUT_PLACES - UNREAD_PLACES


class Origin(Protocol):
    """Where the characters of a text that was read in another coat stand in what it was read from."""

    def spans(self, start: int, end: int) -> list[tuple[str, int, int]]:
        """(path or channel, first, last + 1) of the characters behind these; where they are apart, several."""
        ...


@value
class Passage:
    """One text of a document: where it is, what kind of place that is, what it says."""

    path: str  # for example messages[0].content
    place: Place
    text: str
    origin: Origin | None = field(default=None, compare=False)  # for texts that stand elsewhere, decoded or joined


@value
class Request:
    """A request, read once. `document` is what was parsed and what is forwarded."""

    endpoint: str  # as policies name it: "chat", "responses", ...
    model: str
    stream: bool
    document: Document
    passages: tuple[Passage, ...]


class Action(IntEnum):
    """What a hit does. The order is the lattice: a stronger action wins, whatever came first."""

    PASS = 0
    FLAG = 1
    MASK = 2  # a placeholder instead, which becomes the value again on its way back
    REDACT = 3  # a label instead, for good
    BLOCK = 4


class Lane(Word):
    """How an output check holds the answer back while it has not spoken."""

    EXACT = "exact"  # hold only the longest suffix that may still become a hit
    WINDOW = "window"  # show it sentence by sentence, hold what has not been cleared
    WHOLE = "whole"  # hold everything until the check has read the end
    AFTER = "after"  # release at once, cut when it hits


class History(Word):
    """What an input check is shown of the turns before the model's last answer."""

    FULL = "full"  # everything at once, each time
    CACHED = "cached"  # each old turn by itself, so that its verdict is known from the time it was new
    SKIP = "skip"  # nothing


class When(Word):
    """When an input check runs, seen from the upstream call."""

    BEFORE = "before"
    BESIDE = "beside"


@value
class Watch:
    """One check bound to one side of one exchange: whom to ask, what of, what follows."""

    name: str  # policy.check, unique within a plan together with its side
    side: Side
    places: frozenset[Place]
    action: Action = Action.BLOCK
    fails_open: bool = False  # on_error: allow
    when: When = When.BESIDE
    lane: Lane = Lane.WHOLE
    shadow: bool = False
    timeout: float = 2.0  # seconds
    always_asked: bool = False  # decides on more than text: asked also when nothing is to be read
    local: bool = True  # reads what the client will read: placeholders are values again
    history: History = History.FULL  # of the question: which turns it is shown
    exchange: bool = False  # of the answer: it is shown the user's turn as well
    restore: frozenset[Place] = frozenset()  # of a mask: where its placeholders become values again
    # What follows from the above, worked out once.
    key: str = field(init=False, compare=False, default="")  # unique within a plan
    rewrites: bool = field(init=False, compare=False, default=False)  # a hit is cut out, and the rest goes on
    gates: bool = field(init=False, compare=False, default=False)  # the answer waits: it can stop or change it
    holds: bool = field(
        init=False, compare=False, default=False
    )  # text of the answer stays back until it has cleared it

    def __post_init__(self) -> None:
        gates = not self.shadow and self.action >= Action.MASK
        derived = {
            "key": f"{self.name}/{self.side}",
            "rewrites": gates and self.action is not Action.BLOCK,
            "gates": gates,
            "holds": gates and self.side is Side.OUTPUT and self.lane is not Lane.AFTER,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


class Outcome(Word):
    CLEAR = "clear"
    HIT = "hit"
    FAILED = "failed"  # raised, timed out, or answered nonsense
    NOTHING = "nothing to read"


class Span(NamedTuple):
    """Where a hit stands in a passage: characters from its beginning, and what was hit."""

    path: str
    start: int
    end: int
    category: str


@value
class Judgement:
    """What a check says of the passages it was shown."""

    hit: bool
    categories: tuple[str, ...] = ()  # what was hit: list names, pattern names; never the text itself
    score: float | None = None
    paths: tuple[str, ...] = ()  # of the passages that hit
    note: str = ""
    usage: Mapping[str, int] | None = None  # tokens that a model-calling check spent
    spans: tuple[Span, ...] = ()  # every hit, from a check that is to cut them out


@value
class Finding:
    """What came of one look of one watch."""

    watch: Watch
    outcome: Outcome
    judgement: Judgement | None = None
    note: str = ""  # why it failed; never text of the exchange
    stuck: bool = False  # a hit that could not be cut out where it stands

    @property
    def action(self) -> Action:
        """What this finding asks for. A failure is a hit unless the check may fail open; what cannot be cut blocks."""
        if self.watch.shadow:
            return Action.PASS
        if self.outcome is Outcome.HIT:
            return Action.BLOCK if self.stuck else self.watch.action
        if self.outcome is Outcome.FAILED and not self.watch.fails_open:
            return Action.BLOCK if self.watch.rewrites else self.watch.action
        return Action.PASS


@value
class Call:
    """One upstream completion to be asked for."""

    name: str  # unique within an exchange, "only" for the single call
    upstream: str
    model: str  # as the upstream knows it
    document: Document
    stream: bool  # the answer comes as an event stream
    path: str = "/chat/completions"  # the endpoint, below the upstream's base URL
    flows: bool = False  # an answer that is no event stream comes in pieces all the same
    rewritable: bool = False  # its frames may have to be changed, so where their texts stand is kept


@value
class Piece:
    """Text that a delta adds to one channel of the answer.

    A channel is one running text: choice 0's content, its second tool call's arguments, ...
    """

    channel: str
    place: Place
    text: str
    closed: bool = False  # said once: nothing continues this text
    wrapped: bool = False  # so far the channel may be JSON or base64: it may say more once it is complete
    fixed: bool = False  # it stands nowhere in a frame where it could be changed
    origin: Origin | None = field(default=None, compare=False)  # where it stands, if it was read in another coat


class Spot(NamedTuple):
    """A string of a frame: which characters of its channel it shows, and where it stands in the frame."""

    channel: str
    start: int
    text: str
    steps: tuple[str, ...]
    holder: Any  # the object or list that holds it; the core never looks inside
    key: Any


class Several(Protocol):
    """Frames that came one behind the other and go on with one running text, taken as one: they can be parted."""

    @property
    def ends(self) -> Sequence[int]:
        """Where each ends: characters from the beginning of the first."""
        ...

    def parted(self, number: int) -> tuple[Delta, Delta]:
        """The first so many, and the others."""
        ...


@value
class Delta:
    """One frame of an answer (an SSE chunk, a whole document, some bytes) and the text in it; or several as one."""

    frame: Any  # as parsed; the core never looks inside
    pieces: tuple[Piece, ...] = ()
    size: int = 0  # bytes held while this frame is held
    group: str | None = None  # frames of one group keep their order; None keeps it with all
    spots: Iterable[Spot] = field(default=(), compare=False)  # of a rewritable call: every string of the frame
    several: Several | None = field(default=None, compare=False)  # what it can be parted into; it has one piece then


class Blame(Word):
    """Whose fault a failed call is; decides status and wording towards the client."""

    UPSTREAM = "upstream"
    TIMEOUT = "timeout"
    OVERFLOW = "overflow"


@value
class Fault:
    """Why a call was lost, in words that are safe to show: nothing here is model-made."""

    status: int  # towards the client
    message: str
    code: str
    kind: str = "upstream_error"  # the error object's type
    param: str | None = None
    headers: Headers = field(default_factory=dict)  # retry-after and the like, rendered anew
    blame: Blame = Blame.UPSTREAM


# --- events: what happened -------------------------------------------------------------------


@value
class Arrived:
    """What came of an answer: one frame, or several that came together and are looked at together."""

    call: str
    delta: Delta
    then: tuple[Delta, ...] = ()
    last: bool = False  # nothing comes behind it, as if it had ended already

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return self.delta.size + sum(delta.size for delta in self.then)


@value
class Ended:
    """The answer is complete: the upstream said so itself."""

    call: str


@value
class Broke:
    call: str
    fault: Fault


@value
class Found:
    """What came of a look, or of several that were over at the same moment."""

    finding: Finding
    then: tuple[Finding, ...] = ()


@value
class CaughtUp:
    """What a watch that reads along came to when it had read on elsewhere."""

    watch: Watch
    finding: Finding | None = None
    cleared: Mapping[str, int] = field(default_factory=dict)  # how far each channel is clear


@value
class Elapsed:
    """The deadline of the whole exchange has passed."""


@value
class Overfull:
    """What is held of the answer does not fit into the memory that all requests share."""


@value
class Left:
    """The client hung up."""


@value
class Rewritten:
    """The question as it is asked now, and everything it says."""

    call: Call
    passages: tuple[Passage, ...]


@value
class Stopped:
    """A call that checks its own answers has none left: this finding stopped it."""

    call: str
    finding: Finding


Event = Arrived | Ended | Broke | Stopped | Found | CaughtUp | Elapsed | Overfull | Left | Rewritten


# --- effects: what is to be done --------------------------------------------------------------


@value
class Ask:
    call: Call


@value
class Examine:
    """Show these passages to this watch's check and report what it found."""

    watch: Watch
    passages: tuple[Passage, ...]
    question: tuple[Passage, ...] = ()  # the user's turn that the answer is to; not judged itself


@value
class CatchUp:
    """What this watch has to read of the answer is more than others can wait for: let it `read` where nobody does.

    Whatever else is told meanwhile does not touch what is read. Report what it says as `CaughtUp`.
    """

    watch: Watch
    read: Callable[[], tuple[Finding | None, Mapping[str, int]]]
    size: int = 0  # characters that wait to be read


@value
class Drop:
    """Stop a call (by its name), a look or what is read elsewhere (by the watch's key): nobody waits for it any more."""

    what: str


@value
class Pause:
    """Read no further from this call for now: the held text has reached its bound."""

    call: str


@value
class Resume:
    call: str


@value
class Rewrite:
    """Say these texts of the question otherwise and report it as `Rewritten`: (path, text) -> new text."""

    texts: Mapping[tuple[str, str], str]


@value
class Send:
    delta: Delta
    changes: tuple[tuple[Spot, str], ...] = ()  # strings of the frame that say something else now


class Decision(Word):
    RELEASED = "released"
    MASKED = "masked"  # released, and something was cut out of the question or the answer
    BLOCKED = "blocked"
    FAILED = "failed"
    LEFT = "left"


@value
class Verdict:
    decision: Decision
    by: Finding | None = None  # the finding that blocked
    fault: Fault | None = None  # why it failed
    unknown: int = 0  # placeholders that a model made up: left as they are


@value
class Note:
    """Put a finding on record that took no look: there was nothing to read, or it was read as it came."""

    finding: Finding
    paths: tuple[str, ...] = ()


@value
class Close:
    verdict: Verdict


Effect = Ask | Examine | CatchUp | Drop | Pause | Resume | Rewrite | Send | Note | Close
