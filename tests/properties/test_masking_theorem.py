"""The theorem of cutting: emitted = cut(full text), however the upstream cuts its bytes; and values come back.

The oracle cuts whole texts with Python's regular expressions and knows nothing of the gate, the scanners
or the readers.
"""

import itertools
import re

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.exchange import Exchange
from gateway.core.masking import Masks
from gateway.core.terms import (
    Action,
    Ask,
    Call,
    CatchUp,
    Close,
    Decision,
    Ended,
    Examine,
    Finding,
    Found,
    Lane,
    Outcome,
    Place,
    Rewrite,
    Rewritten,
    Send,
    Side,
    Watch,
    When,
)
from gateway.wire import rewrite
from gateway.wire.endpoints import CHAT
from tests.conftest import many
from tests.properties.test_stream_theorem import B64, CHECKS, EVERY, crowding, frames_of, scripts, texts_of
from tests.properties.test_stream_theorem import deltas_of as plain_deltas
from tests.world import Impatient, together, told

MAIL = "bob@x.org"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": f"I am {MAIL}."}]}
WORDS = [re.compile(word, re.IGNORECASE | re.ASCII) for word in (r"secret\s+plan", "secret", "rets")]
NUMBERS = {
    "N": re.compile(r"\b[0-9]{3}-[0-9]{2}(?:-[0-9]{4})?\b", re.ASCII),
    "MAIL": re.compile(r"[a-z.]+@[a-z]+\.(?:com|org)", re.ASCII | re.IGNORECASE),
}
COATED = {
    '{"a": "\\u0073ecret"}': '{"a": "[KEYWORDS]"}',
    '[" secret"]': '[" [KEYWORDS]"]',
    B64: "[KEYWORDS]",
}


def spans_of(text):
    for at in range(len(text)):
        for word in WORDS:
            if match := word.match(text, at):
                yield *match.span(), "[KEYWORDS]"
    for name, pattern in NUMBERS.items():
        for match in pattern.finditer(text):
            yield *match.span(), f"[{name}]"


def cut(text):
    """The text with every hit cut out; where hits overlap, the label of the first, and none of the rest."""
    if text in COATED:
        return COATED[text]
    said, reach = [], 0
    for start, end, name in sorted(spans_of(text), key=lambda s: (s[0], -s[1], s[2])):
        if end <= reach:
            continue
        if start >= reach:
            said += [text[reach:start], name]
        reach = end
    return "".join(said) + text[reach:]


def watches(lanes, action=Action.REDACT):
    return [Watch(name, Side.OUTPUT, EVERY, action, lane=lane) for name, lane in lanes.items()]


def deltas_of(script, cuts):
    reader = CHAT.reader

    def rewritable(asked, *, stream):
        made = reader(asked, stream=stream)
        made.rewritable = True
        return made

    CHAT.reader = rewritable
    try:
        yield from plain_deltas(script, cuts)
    finally:
        del CHAT.reader


def play(script, cuts, observers, masks=None, lag=1, sizes=(), crowded=()):
    """Every frame as it was sent, and the verdict; the question is masked first, if anything masks it."""
    follows = {
        w.name: (lambda name=w.name, settled=w.rewrites: CHECKS[name].scanner(settled=settled)) for w in observers
    }
    request = CHAT.read(b'{"model": "m", "messages": [{"role": "user", "content": "I am bob@x.org."}]}')
    call = Call("only", "u", "m", request.document, stream=True, rewritable=True)
    exchange = Exchange(call, observers, request.passages, 2**20, follows, masks=masks)
    sent, verdicts, waiting, impatient = [], [], [], Impatient(crowded)

    def take(effects):
        for effect in effects:
            match effect:
                case Send(delta=delta, changes=changes) if delta.frame is not None:
                    rewrite.write(delta.frame, changes)
                    sent.append(delta.frame)
                case Examine(watch=watch, passages=passages):
                    judged = (CHECKS[watch.name].find if watch.rewrites else CHECKS[watch.name].judge)(passages)
                    waiting.append(Found(Finding(watch, Outcome.HIT if judged.hit else Outcome.CLEAR, judged)))
                case CatchUp():
                    waiting.append(impatient.elsewhere(effect))
                case Rewrite(texts=texts):
                    asked = CHAT.rewritten(request, texts)
                    waiting.append(Rewritten(Call("only", "u", "m", asked.document, stream=True), asked.passages))
                case Close(verdict=verdict):
                    verdicts.append(verdict)
                case Ask(call=asked):
                    asks.append(asked)

    asks = []
    take(exchange.start())
    while waiting:
        take(exchange.take(told(waiting.pop(0))))
    deltas = deltas_of(script(asks[0]) if callable(script) else script, cuts)
    for number, arrived in enumerate(together(deltas, sizes)):
        if number % lag == 0 and waiting:
            take(exchange.take(told(waiting.pop(0))))
        take(impatient.told(exchange, arrived))
    take(impatient.told(exchange, Ended("only")))
    while waiting:
        take(exchange.take(told(waiting.pop(0))))
    assert len(verdicts) == 1
    return sent, verdicts[0], asks[0]


lanes = st.fixed_dictionaries({name: st.sampled_from([Lane.EXACT, Lane.EXACT, Lane.WHOLE]) for name in CHECKS})
cutting = st.lists(st.integers(0, 5000), max_size=10)
grouping = st.lists(st.integers(1, 7), max_size=4)


@many
@given(scripts(), cutting, lanes, grouping, crowding, st.integers(1, 9))
@example(
    [((0, "content"), "a.b@x.co"), ((0, "content"), "m")], [], {"words": Lane.EXACT, "numbers": Lane.EXACT}, [], [], 1
)
def test_what_is_emitted_is_what_was_said_with_every_hit_cut_out(script, cuts, lanes, sizes, crowded, lag):
    said = texts_of(frames_of(script))
    sent, verdict, _ = play(script, cuts, watches(lanes), lag=lag, sizes=sizes, crowded=crowded)
    expected = {channel: cut(text) for channel, text in said.items()}
    assert {channel: text for channel, text in texts_of(sent).items() if text} == {
        k: v for k, v in expected.items() if v
    }
    assert verdict.decision is (Decision.RELEASED if expected == said else Decision.MASKED)


# --- values come back -------------------------------------------------------------------------------

PLACES = frozenset({Place.CONTENT, Place.TOOL_CALL})
MASK = Watch("numbers", Side.INPUT, frozenset({Place.USER}), Action.MASK, when=When.BEFORE, restore=PLACES)
MASKED_OUT = Watch("numbers", Side.OUTPUT, EVERY, Action.MASK, lane=Lane.EXACT, restore=PLACES)
SPELLINGS = ["<{}>", "< {} >", "<{}>", "&lt;{}&gt;", "\\u003c{}\\u003e"]


@st.composite
def replies(draw):
    """Texts with the placeholder in them, spelled in many ways, cut anywhere; in places that restore and others."""
    parts = draw(
        st.lists(
            st.sampled_from([" ", "x", "<", "<b>", "&lt;", "Hello ", "<MAIL", "_", ">", "\\ ", "<MAIL_zzzz>", "secre"])
            | st.tuples(st.sampled_from(SPELLINGS), st.booleans()),
            max_size=8,
        )
    )
    channels = draw(
        st.lists(st.sampled_from([(0, "content"), (1, "content"), (0, "reasoning_content")]), min_size=1, unique=True)
    )
    pieces = draw(st.lists(st.integers(0, 200), max_size=6))
    return parts, channels, pieces


def said_with(parts, name):
    return "".join(p if isinstance(p, str) else p[0].format(name.lower() if p[1] else name) for p in parts)


def pieces_of(text, cuts):
    bounds = sorted({0, len(text), *(c % (len(text) + 1) for c in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


def restored(text, name):
    return re.sub(rf"(?i)(?:<|&lt;|\\u003c)\s*{name}\s*(?:>|&gt;|\\u003e)", MAIL, text)


@many
@given(replies(), cutting, grouping, crowding)
def test_values_stand_again_where_they_may(reply, cuts, sizes, crowded):
    parts, channels, bounds = reply
    masks = Masks(b"key", "scope")

    def script(asked):
        content = asked.document["messages"][0]["content"]
        name = re.search(r"<(MAIL_[0-9a-f]{4})>", content)[1]
        script.text = said_with(parts, name)
        script.name = name
        return [(channel, piece) for piece in pieces_of(script.text, bounds) for channel in channels]

    sent, verdict, asked = play(script, cuts, [MASK, MASKED_OUT], masks, sizes=sizes, crowded=crowded)
    assert MAIL not in str(asked.document)
    assert verdict.decision is Decision.MASKED
    for channel in channels:
        whole = restored(script.text, script.name) if channel[1] == "content" else script.text
        assert texts_of(sent).get(channel, "") == whole


@many
@given(replies(), cutting, st.sampled_from([Lane.EXACT, Lane.WHOLE]), grouping, crowding)
def test_a_value_that_stands_again_is_read_by_the_checks(reply, cuts, lane, sizes, crowded):
    """A check that blocks what the value makes of the text, which the model's own words did not show."""
    parts, channels, bounds = reply
    blocked = Watch("numbers", Side.OUTPUT, EVERY, Action.BLOCK, lane=lane)
    masks = Masks(b"key", "scope")

    def script(asked):
        name = re.search(r"<(MAIL_[0-9a-f]{4})>", asked.document["messages"][0]["content"])[1]
        script.text = said_with(parts, name)
        script.back = [restored(script.text, name) if c[1] == "content" else script.text for c in channels]
        return [(channel, piece) for piece in pieces_of(script.text, bounds) for channel in channels]

    sent, verdict, _ = play(script, cuts, [MASK, blocked], masks, sizes=sizes, crowded=crowded)
    hit = any(NUMBERS["MAIL"].search(text) for text in script.back)
    assert verdict.decision is (Decision.BLOCKED if hit else Decision.MASKED)
    assert MAIL not in str(sent)


def test_two_requests_never_share_a_table():
    one, two = Masks(b"key", "one"), Masks(b"key", "two")
    first = one.hide("mail", MAIL, PLACES)
    assert one.value(first[1:-1], Place.CONTENT) == MAIL
    assert two.value(first[1:-1], Place.CONTENT) is None
    assert two.hide("mail", MAIL, PLACES) != first
    assert Masks(b"other", "one").hide("mail", MAIL, PLACES) != first
    assert Masks(b"key", "one").hide("mail", MAIL, PLACES) == first


def test_values_that_would_share_a_placeholder_do_not():
    masks = Masks(b"k", "s")
    names = {masks.hide("n", str(number), PLACES) for number in range(3000)}
    assert len(names) == 3000
