"""Whatever an upstream streams, as bytes on sockets: what a client is told was said, and nothing of what is forbidden.

Events in any order, form and framing, cut anywhere, several streams at once; the question's verdict comes at any moment.
The oracle knows what was written, and regular expressions of Python; it knows nothing of how a gateway reads.
"""

import asyncio
import contextlib
import itertools
import json
import re
import ssl
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import SHALLOW
from tests.end_to_end.process import Wire, new, plain_answer, send_json
from tests.end_to_end.stage import Stage
from tests.patience import until
from tests.server.test_clients import PEM

some = settings(
    max_examples=40 if SHALLOW else settings.default.max_examples, suppress_health_check=[HealthCheck.too_slow]
)
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)

# --- what is said --------------------------------------------------------------------------------

PARTS = ["secret", "sEcReT", "rets", "sec", "sec", "ret", "s", "r", "123-45", "123", "-45", "6", " ", " ", " ", "\n", "plan", "é", "🙂", "日本",
         "harmless", "the", ",", "_", '"', "\\", "\u200b", "\u2028", "\x7f", "data: ", "\r\n\r\n", "[DONE]", "eyJ", "{", "x" * 600]  # fmt: skip
NUMBER = re.compile(r"\b[0-9]{3}-[0-9]{2}\b", re.ASCII)
WORD = re.compile("secret|rets", re.IGNORECASE)
UNSEEN = re.compile("[\u200b\u2028\x7f]")  # a word with such characters in it is the same word
texts = st.lists(st.sampled_from(PARTS), max_size=5).map("".join)
FIELDS = ["content", "content", "content", "reasoning_content", "refusal", "x_new", "arguments"]


class Said(NamedTuple):
    """One event: its document, or the bytes that are none; what follows is not read where it is `last`."""

    document: dict | None = None
    data: bytes = b""
    name: str = ""
    last: bool = False

    def __repr__(self):
        return f"{self.document['choices'] if self.document and 'choices' in self.document else self.data}"


def frame(*choices, **more):
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [*choices], **more}


def choice(index, delta, finish=None, **more):
    return {"index": index, "delta": delta, "finish_reason": finish, **more}


def adds(name, text):
    return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]} if name == "arguments" else {name: text}


MORE = [
    {},
    {},
    {},
    {"usage": None},
    {"usage": None},
    {"obfuscation": "xYz"},
    {"service_tier": "default"},
    {"error": None},
    {"id": "c2"},
]
FORMS = [
    lambda one: json.dumps(one, ensure_ascii=False, separators=(",", ":")),
    json.dumps,
    lambda one: json.dumps(dict(reversed(one.items())), separators=(",", ":")),
    lambda one: json.dumps(one, ensure_ascii=False, indent=1),
]
form = st.sampled_from([0] * 8 + [1, 2, 3]).map(FORMS.__getitem__)
MALFORMED = [b'{"choices":[', b"{} {}", b'{"id":"a","id":"b","choices":[]}', b'{"a":"\xff"}', b'{"a":NaN}', b"[]", b'"a"',
             b'{"choices":{}}', b'{"choices":[7]}', b'{"a":"\\ud800"}', b"\xef\xbb\xbf{}", b'{"choices":[{"index":0,"delta":[]}]}']  # fmt: skip
ENDS = [
    Said(data=b"[DONE]", last=True),
    Said({"error": {"message": "a secret"}}, last=True),
    *[Said({"message": "a secret"}, name="error", last=True)] * 3,
    *(Said(data=one, last=True) for one in MALFORMED),
]


@st.composite
def runs(draw, indexes):
    """Chunks that differ in their text only."""
    index, more = draw(st.sampled_from(indexes)), draw(st.sampled_from(MORE))
    said = draw(texts) if draw(st.booleans()) else "harmless words " * draw(st.integers(1, 20)) + draw(texts)
    size = draw(st.integers(1, 9))
    return [Said(frame(choice(index, {"content": said[at : at + size]}), **more)) for at in range(0, len(said), size)]


@st.composite
def others(draw, indexes):
    """One chunk of another sort."""
    index, text = draw(st.sampled_from(indexes)), draw(texts)
    one = choice(index, adds(draw(st.sampled_from(FIELDS)), text), draw(st.sampled_from([None] * 5 + ["stop"])))
    more = [choice(other, {"content": draw(texts)}) for other in indexes if other != index]
    return draw(
        st.sampled_from(
            [
                [Said(frame(one, **draw(st.sampled_from(MORE))))],
                [Said(frame(one))],
                [Said(frame(one, *more))],
                [Said(frame(usage={"total_tokens": 3}))],
                [Said(frame())],
                [Said(data=b"")],
                [Said(frame(choice(index, {"role": "assistant", "content": text})))],
                [Said(frame({"index": index, "delta": {"content": text}}))],
            ]
        )
    )


@st.composite
def streams(draw):
    """Everything that an upstream means to say."""
    indexes = draw(st.sampled_from([[0], [0], [0], [0, 1], [0, 1, 2]]))
    parts = draw(st.lists(st.one_of(runs(indexes), runs(indexes), others(indexes)), min_size=1, max_size=6))
    said = [one for part in parts for one in part]
    if draw(st.integers(0, 7)) == 7:
        said.insert(draw(st.integers(0, len(said))), draw(st.sampled_from(ENDS)))
    seen = {one["index"]: None for event in said if event.document for one in event.document.get("choices", ())}
    if draw(st.integers(0, 7)) < 7:
        said += [Said(frame(choice(index, {}, "stop"))) for index in seen]
    return [*said, Said(data=b"[DONE]", last=True)] if draw(st.integers(0, 5)) < 5 else said


LINE_ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
FRAMES = st.sampled_from(
    [b"", b"", b"", b"", b": a secret\n", b"event: message\n", b"id: 7\nretry: 1\n", b"\n\n", b"x\n"]
)


@st.composite
def written(draw, said):
    """The events of a stream as bytes."""
    write, alike = draw(form), draw(st.sampled_from([True, True, False]))
    events = [b"\xef\xbb\xbf" if draw(st.integers(0, 9)) == 9 else b""]
    for one in said:
        end = b"\n" if alike else draw(LINE_ENDS)
        write = write if alike else draw(form)
        lines = (one.data if one.document is None else write(one.document).encode()).split(b"\n")
        event = (b"" if alike else draw(FRAMES)) + (f"event: {one.name}\n".encode() if one.name else b"")
        event += b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
        events.append(event.replace(b"\n", end))
    return events


# --- how it comes ----------------------------------------------------------------------------------


places = st.lists(st.integers(0, 10**5), max_size=8)


@dataclass
class Script:
    """One answer, and what becomes of its question."""

    said: list[Said]
    writes: list[bytes] = field(repr=False)  # of the answer, HTTP and all
    breaks: bool  # the connection, before the body has ended
    verdict: str  # of the question
    after: int  # writes of the answer, or all that there are
    usage: bool  # asked for
    key: str = field(default_factory=new)
    wrote: int = 0
    over: bool = False
    judged: float | None = None  # when


def cut(data, cuts):
    at = sorted({0, len(data), *(one % (len(data) + 1) for one in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


def within_hits(said):
    """Behind which events something forbidden has begun."""
    texts = []
    for one in said:
        choices = one.document.get("choices", ()) if one.document else ()
        texts.append("".join(found["delta"].get("content") or "" for found in choices))
    ends = list(itertools.accumulate(map(len, texts)))
    hits = [match.span() for form in (WORD, NUMBER) for match in form.finditer("".join(texts))]
    return [number for number, end in enumerate(ends) if any(first < end < last for first, last in hits)]


@st.composite
def scripts(draw):
    said = draw(streams())
    events = draw(written(said))
    at = draw(st.lists(st.sampled_from([*within_hits(said), len(said)]), max_size=4))
    parts = cut(b"".join(events), [len(b"".join(events[: number + 2])) for number in at] + draw(places))
    framed = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    breaks = draw(st.integers(0, 9)) == 9
    writes = [STREAM, *framed] if draw(st.booleans()) else cut(STREAM + b"".join(framed), draw(places))
    writes = writes[: draw(st.integers(1, len(writes)))] if breaks else [*writes, b"0\r\n\r\n"]
    verdict = draw(st.sampled_from(["NO"] * 5 + ["YES"]))
    return Script(said, writes, breaks, verdict, draw(st.integers(0, 3)), draw(st.booleans()))


class Upstream:
    """Plays each script to whom it is for, and judges its question when it is time."""

    def __init__(self, crowd):
        self.crowd = crowd

    async def __call__(self, seen, writer):
        asked = json.dumps(seen.body)
        if seen.body["model"] == "tone":
            await asyncio.sleep(0.002)
            await send_json(writer, plain_answer("YES" if "secret" in asked.lower() else "NO"))
            return
        (script,) = (one for one in self.crowd if one.key in asked)
        if seen.body["model"] == "judge":
            await until(lambda: script.wrote >= script.after or script.over)
            script.judged = time.monotonic()
            await send_json(writer, plain_answer(script.verdict))
        else:
            await self._answer(script, writer)

    async def _answer(self, script, writer):
        try:
            for one in script.writes:
                writer.write(one)
                await writer.drain()
                script.wrote += 1
                if script.wrote == script.after:
                    await until(lambda: script.judged)
                await asyncio.sleep(0.003)
            if script.breaks:
                writer.transport.abort()
        finally:
            script.over = True


class Told(NamedTuple):
    wire: Wire
    receipt: dict

    @property
    def frames(self):
        return [json.loads(one) for one in self.wire.events if one != b"[DONE]"] if self.wire.status == 200 else []


def played(stage, crowd):
    """Each script and what came of it; all at once."""
    for script in crowd:
        script.key, script.wrote, script.over, script.judged = new(), 0, False, None
    return zip(crowd, asyncio.run(play(stage, crowd)), strict=True)


async def play(stage, crowd):
    stage.plays(Upstream(crowd))
    wires = [Wire(stage.port) for _ in crowd]

    async def one(script, wire):
        options = {"stream_options": {"include_usage": True}} if script.usage else {}
        await wire.post(
            {"model": "m", "stream": True, "messages": [{"role": "user", "content": script.key}], **options}
        )
        await wire.read()

    with stage.gateway.visited() as gateway:
        async with contextlib.AsyncExitStack() as stack:
            for wire in wires:
                await stack.enter_async_context(wire)
            async with asyncio.TaskGroup() as tasks:
                for script, wire in zip(crowd, wires, strict=True):
                    tasks.create_task(one(script, wire))
        receipts = await asyncio.to_thread(gateway.receipts, len(crowd))
    by_id = {receipt["id"]: receipt for receipt in receipts}
    return [Told(wire, by_id[wire.headers["x-outrider-id"]]) for wire in wires]


# --- the oracle --------------------------------------------------------------------------------------


def channels(frames):
    """Channel -> text."""
    told = {}
    for one in frames:
        for found in one.get("choices", ()):
            delta = dict(found.get("delta") or {})
            for call in delta.pop("tool_calls", ()):
                delta["arguments"] = call["function"]["arguments"]
            for name in set(FIELDS) & set(delta):
                channel = found["index"], name
                told[channel] = told.get(channel, "") + (delta[name] or "")
    return {channel: text for channel, text in told.items() if text}


class Meant(NamedTuple):
    """What a script amounts to."""

    frames: list[dict]
    whole: bool  # it comes to its end


def meant(script):
    read = list(itertools.takewhile(lambda one: not one.last, script.said))
    frames = [one.document for one in read if one.document is not None]
    ended = len(read) == len(script.said) or script.said[len(read)].data == b"[DONE]"
    finish = {}
    for one in (found for frame in frames for found in frame["choices"]):
        finish[one["index"]] = finish.get(one["index"]) or one.get("finish_reason")
    return Meant(frames, ended and not script.breaks and bool(finish) and all(finish.values()))


def of_choice(frames, index):
    """What a client reads of one choice, frame by frame."""
    found = [one for frame in frames for one in frame.get("choices", ()) if one["index"] == index]
    return [(one["delta"], one.get("finish_reason")) for one in found]


def code_at_the_end(told):
    """It says that it went wrong, and looks complete to nobody."""
    last = told.frames[-1] if told.wire.status == 200 else json.loads(told.wire.body)
    assert set(last["error"]) >= {"message", "type", "param", "code"}
    return last["error"]["code"]


def decided(script, told, forbidden):
    """The decision, which is the right one; what is said in the end says so as well."""
    decision, whole = told.receipt["decision"], meant(script).whole
    if script.verdict == "YES" or (whole and forbidden):
        assert decision == "blocked"
    elif not script.breaks and not forbidden:
        assert (decision in {"released", "masked"}) is whole
    if decision == "blocked":
        assert code_at_the_end(told) == "content_filter"
        assert script.verdict == "YES" or forbidden
    elif decision == "failed":
        assert code_at_the_end(told).startswith("upstream_")
    else:
        assert told.wire.events[-1] == b"[DONE]"
    return decision


def in_order(script, told):
    """Nothing before the question has its verdict; nothing of what is not read or was not asked for."""
    if told.wire.status == 200:
        assert script.verdict == "NO"
        assert told.wire.first_byte >= script.judged
    assert b"a secret" not in told.wire.data
    assert script.usage or b"total_tokens" not in told.wire.data


# --- the tests -----------------------------------------------------------------------------------------

ASKED = "policy: p\nchecks:\n  harm: {use: judge, model: judge, at: input}\n"
EXACT = f"""{ASKED}
  words: {{use: keywords, words: [secret, rets], at: output}}
  numbers: {{use: regex, patterns: {{n: '\\b[0-9]{{3}}-[0-9]{{2}}\\b'}}, at: output}}
"""
CUT = f"{ASKED}  numbers: {{use: regex, patterns: {{n: '\\b[0-9]{{3}}-[0-9]{{2}}\\b'}}, at: output, do: redact}}\n"
WINDOW = f"{ASKED}  tone: {{use: judge, model: tone, at: output, stream: window}}\n"


def first_hit(text):
    """Where something forbidden begins, or may; None: nowhere."""
    hits = [match.start() for match in (WORD.search(text), NUMBER.search(text)) if match]
    if not hits and WORD.search(UNSEEN.sub("", text)):
        hits = [0]
    return min(hits, default=None)


def speaks_tls():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    return context


@pytest.fixture(scope="module", params=["plain", "TLS", "two workers"])
def stage(request, tmp_path_factory):
    tls = speaks_tls() if request.param == "TLS" else None
    more = {"workers": 2} if request.param == "two workers" else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(PEM))
        with Stage(tmp_path_factory.mktemp("stage"), EXACT, tls=tls, **more) as made:
            yield made


@pytest.fixture(scope="module")
def cutting(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("cutting"), CUT) as made:
        yield made


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("windows"), WINDOW) as made:
        yield made


crowds = st.lists(scripts(), min_size=1, max_size=4)


def heard(stage, crowd):
    """Each script with what was told of it, and by channel what was said and what went out."""
    for script, told in played(stage, crowd):
        in_order(script, told)
        yield script, told, channels(meant(script).frames), channels(told.frames)


@some
@given(crowds)
def test_what_is_told_was_said_or_ends_before_the_first_hit(stage, crowd):
    for script, told, said, emitted in heard(stage, crowd):
        hits = {channel: at for channel, text in said.items() if (at := first_hit(text)) is not None}
        for channel, text in emitted.items():
            assert said[channel].startswith(text), "a client is told what was said, from its beginning"
            assert len(text) <= hits.get(channel, len(text)), "a character of something forbidden went out"
        if decided(script, told, hits) == "released":
            for index in range(4):
                assert of_choice(told.frames, index) == of_choice(meant(script).frames, index)


@some
@given(crowds)
def test_what_is_told_is_what_was_said_with_every_hit_cut_out(cutting, crowd):
    for script, told, said, emitted in heard(cutting, crowd):
        wanted = {channel: NUMBER.sub("[N]", text) for channel, text in said.items()}
        for channel, text in emitted.items():
            assert wanted[channel].startswith(text)
        if decided(script, told, ()) in {"released", "masked"}:
            assert emitted == wanted
            assert told.receipt["decision"] == ("released" if wanted == said else "masked")


@some
@given(crowds)
def test_windows_say_everything_or_end_before_a_forbidden_word(windows, crowd):
    for script, told, said, emitted in heard(windows, crowd):
        for channel, text in emitted.items():
            assert said[channel].startswith(text)
            assert "secret" not in text.lower()
        if decided(script, told, [text for text in said.values() if "secret" in text.lower()]) == "released":
            assert emitted == said
