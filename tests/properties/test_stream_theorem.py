"""The theorem of the stream gate, from bytes to bytes: what is emitted is what was said, or ends before the first hit.

The upstream's bytes are cut anywhere, characters and events included; texts run in several channels of
several choices; the question's verdict comes at any moment. The oracle knows regular expressions of
Python and nothing of the gate, the scanners or the readers.
"""

import itertools
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.keywords import Keywords
from gateway.checks.regex import Regex
from gateway.core.exchange import Exchange
from gateway.core.terms import (
    Arrived,
    Ask,
    Call,
    CatchUp,
    Close,
    Decision,
    Delta,
    Ended,
    Examine,
    Finding,
    Found,
    Judgement,
    Lane,
    Note,
    Outcome,
    Passage,
    Place,
    Send,
    Side,
    Watch,
    When,
)
from gateway.wire import canonical, sse
from gateway.wire.endpoints import CHAT
from tests.conftest import many
from tests.world import Impatient, together, told

EVERY = frozenset(p for p in Place if p.side is Side.OUTPUT)
CHECKS = {
    "words": Keywords(words=["secret", "secret plan", "rets"]),
    "numbers": Regex(patterns={"n": r"\b\d{3}-\d{2}(?:-\d{4})?\b", "mail": r"[a-z.]+@[a-z]+\.(?:com|org)"}),
}
FORBIDDEN = re.compile(
    r"(?i:secret|rets)|\b[0-9]{3}-[0-9]{2}(?:-[0-9]{4})?\b|(?i:[a-z.]+@[a-z]+\.(?:com|org))", re.ASCII
)
B64 = "c2VjcmV0IHBsYW4gaGVyZQ=="  # "secret plan here"
QUESTION = Watch("question", Side.INPUT, frozenset({Place.USER}), when=When.BESIDE)


def watches(lanes):
    return [QUESTION, *(Watch(name, Side.OUTPUT, EVERY, lane=lane) for name, lane in lanes.items())]


def first_hit(text):
    """Where the first forbidden thing begins; 0 where the text says it in another coat; None: nowhere."""
    match = FORBIDDEN.search(text)
    if text.lstrip()[:1] in {"{", "["}:
        try:
            inside = json.dumps(json.loads(text), ensure_ascii=False)
        except ValueError:
            inside = ""
        if FORBIDDEN.search(inside):
            return 0  # the text is JSON as a whole, so nothing of it goes before its end
    if text == B64:
        return 0
    return match.start() if match else None


PARTS = ["secret", "sEcReT", "rets", "sec", "ret", "123-45", "123-45-6789", "123", "-45", "a.b@x.com", "a.b", "@x", ".com",
         " ", " ", " ", "\n", "plan", "é", "🙂", "harmless", "the", ",", "_", "secre", "123-4", "x@y.co "]  # fmt: skip
texts = (
    st.lists(st.sampled_from(PARTS), max_size=6).map("".join)
    | st.text("sertc 1-@.ab", max_size=12)
    | st.sampled_from(['{"a": "\\u0073ecret"}', '{"a": "fine", "b": [1]}', '[" secret"]', '{"a": "sec', B64])
)
CHANNELS = [(0, "content"), (0, "reasoning_content"), (1, "content"), (0, "refusal"), (0, "tool")]


@st.composite
def scripts(draw):
    """Some channels, each with a text that is cut anywhere; their pieces interleaved."""
    queues = []
    for channel in draw(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True)):
        text = draw(texts)
        cuts = draw(st.lists(st.integers(0, len(text)), max_size=5))
        pieces = [text[a:b] for a, b in itertools.pairwise([0, *sorted(cuts), len(text)])]
        queues.append([(channel, piece) for piece in pieces])
    script = []
    while queues:
        queue = draw(st.sampled_from(queues))
        script.append(queue.pop(0))
        queues = [q for q in queues if q]
    return script


def frame(index, delta, finish=None):
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def frames_of(script):
    for (index, name), text in script:
        if name == "tool":
            yield frame(index, {"tool_calls": [{"index": 0, "function": {"arguments": text}}]})
        else:
            yield frame(index, {name: text})
    for index in sorted({index for (index, _), _ in script}):
        yield frame(index, {}, "stop")


def texts_of(frames):
    """Channel -> text, read from frames by hand."""
    told = {}
    for one in frames:
        for choice in one["choices"]:
            delta = choice["delta"]
            for name in ("content", "reasoning_content", "refusal"):
                if delta.get(name):
                    told[choice["index"], name] = told.get((choice["index"], name), "") + delta[name]
            for call in delta.get("tool_calls", ()):
                arguments = call["function"].get("arguments", "")
                told[choice["index"], "tool"] = told.get((choice["index"], "tool"), "") + arguments
    return told


def deltas_of(script, cuts):
    """The upstream's bytes, cut anywhere, as the gateway reads them."""
    data = b"".join(sse.frame(canonical.dump(f)) for f in frames_of(script))
    bounds = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    parser, reader = sse.Parser(), CHAT.reader({}, stream=True)
    events = [e for a, b in itertools.pairwise(bounds) for e in parser.feed(data[a:b])]
    for event in [*events, *parser.eof()]:
        yield reader.delta(canonical.parse_answer(event.data), len(event.data))
    if closing := reader.closing():
        yield Delta(None, closing)


def play(script, cuts, lanes, when, lag=1, sizes=(), crowded=()):
    """Everything that was sent before each event, and the verdict. `crowded`: when a check has no time to read on."""
    impatient = Impatient(crowded)
    question = (Passage("q", Place.USER, "?"),)
    follows = {name: check.scanner for name, check in CHECKS.items()}
    exchange = Exchange(Call("only", "u", "m", {}, stream=True), watches(lanes), question, 2**20, follows)
    sent, verdicts, waiting, question_waits = [], [], [], []

    def take(effects):
        for effect in effects:
            match effect:
                case Send(delta=delta) if delta.frame is not None:
                    sent.append(delta.frame)
                case Examine(watch=watch, passages=passages):
                    if watch is QUESTION:
                        question_waits.append(Found(Finding(watch, Outcome.CLEAR, Judgement(hit=False))))
                    else:
                        judged = CHECKS[watch.name].judge(passages)
                        waiting.append(Found(Finding(watch, Outcome.HIT if judged.hit else Outcome.CLEAR, judged)))
                case CatchUp():
                    waiting.append(impatient.elsewhere(effect))
                case Close(verdict=verdict):
                    verdicts.append(verdict)
                case Ask() | Note():
                    pass

    take(exchange.start())
    for number, arrived in enumerate(together(deltas_of(script, cuts), sizes)):
        if number == when:
            take(exchange.take(question_waits.pop()))
        if number % lag == 0 and waiting:
            take(exchange.take(told(waiting.pop(0))))
        if number < when:
            assert not sent, "nothing is sent before the question has its verdict"
        take(impatient.told(exchange, arrived))
    take(impatient.told(exchange, Ended("only")))
    for late in question_waits:
        take(exchange.take(late))
    while waiting:
        take(exchange.take(told(waiting.pop(0))))
    assert len(verdicts) == 1
    return sent, verdicts[0]


lanes = st.fixed_dictionaries(
    {name: st.sampled_from([Lane.EXACT, Lane.EXACT, Lane.WINDOW, Lane.WHOLE]) for name in CHECKS}
)
crowding = st.lists(st.booleans(), max_size=7)


@many
@given(
    scripts(),
    st.lists(st.integers(0, 5000), max_size=10),
    lanes,
    st.integers(0, 6),
    st.integers(1, 9),
    st.lists(st.integers(1, 7), max_size=4),
    crowding,
)
def test_what_is_emitted_is_what_was_said_or_ends_before_the_first_hit(script, cuts, lanes, when, lag, sizes, crowded):
    said = texts_of(frames_of(script))
    hits = {channel: at for channel, text in said.items() if (at := first_hit(text)) is not None}
    sent, verdict = play(script, cuts, lanes, when, lag, sizes, crowded)
    emitted = texts_of(sent)
    if not hits:
        assert verdict.decision is Decision.RELEASED
        assert emitted == said
        return
    assert verdict.decision is Decision.BLOCKED
    for channel, text in emitted.items():
        assert said[channel].startswith(text), "what came before a block is a prefix"
        assert len(text) <= hits.get(channel, len(text)), "a character of something forbidden was emitted"


@given(scripts(), lanes, crowding)
def test_frames_of_a_choice_keep_their_order(script, lanes, crowded):
    sent, _ = play(script, [], lanes, 0, crowded=crowded)
    expected = list(frames_of(script))
    for index in (0, 1):
        mine = [json.dumps(f) for f in sent if f["choices"][0]["index"] == index]
        all_of_it = [json.dumps(f) for f in expected if f["choices"][0]["index"] == index]
        assert mine == all_of_it[: len(mine)]


def test_harmless_prose_flows_while_it_comes():
    script = [((0, "content"), word) for word in "All is well, nothing is hidden here at all. ".split(" ")]
    script = [(channel, f"{text} ") for channel, text in script]
    exchange = Exchange(
        Call("only", "u", "m", {}, stream=True),
        watches({"words": Lane.EXACT, "numbers": Lane.EXACT})[1:],
        (),
        2**20,
        {name: check.scanner for name, check in CHECKS.items()},
    )
    exchange.start()
    held = []
    for number, delta in enumerate(deltas_of(script, []), 1):
        sent = sum(isinstance(e, Send) for e in exchange.take(Arrived("only", delta)))
        held.append((held[-1] if held else 0) + 1 - sent)
        assert held[-1] <= 3, number
