"""Calls of checks: made again within the deadline, stopped by the breaker, limited in number, and never a guess."""

import asyncio
import time
from typing import ClassVar

import pytest
from aiohttp import web

from gateway.checks.base import Check, CheckFault, ServiceCall
from gateway.config.model import House
from gateway.core.breaker import PAUSE
from gateway.core.terms import Examine, Fault, History, Judgement, Passage, Place, Span
from gateway.server.consult import Counsel, look_once
from gateway.server.targets import Targets
from gateway.server.upstream import UNREACHABLE, UpstreamError
from gateway.server.verdicts import Verdicts
from tests.end_to_end.process import free_port
from tests.patience import LONG
from tests.world import watch

HOUSE = House.model_validate({"upstreams": {"u": {"base_url": "http://u/v1"}}, "default_upstream": "u"})
REFUSED = Fault(400, "no", "invalid_value")


class Scripted:
    """Says what stands in the list, then "fine" for ever."""

    def __init__(self, *says):
        self.says = list(says)
        self.asked = 0
        self.at_once = self.most_at_once = 0

    async def ask(self, endpoint, model, body):
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            said = self.says.pop(0) if self.says else {"said": "fine"}
            if isinstance(said, float):
                await asyncio.sleep(said)
                return {"said": "late"}
            if isinstance(said, Exception):
                raise said
            return said
        finally:
            self.at_once -= 1


def lost():
    return UpstreamError(UNREACHABLE, retry=True)


def port(upstream, within=LONG, **more):
    targets = Targets(HOUSE, {"u": upstream}, **more)
    return targets.until(time.monotonic() + within)


class Asked(Check):
    """Says no to a text that holds "bad"; remembers what it was shown."""

    local = False
    takes_question = True
    use: str = "asked"
    shown: ClassVar[list] = []

    async def examine(self, passages, ask):
        self.shown.append((self._question, [passage.text for passage in passages]))
        return Judgement(any("bad" in passage.text for passage in passages))


async def test_old_turns_are_judged_each_by_itself_and_paid_for_once():
    check, counsel = Asked(), Counsel(lambda *_: None)
    check.shown.clear()
    turns = [("old question", Place.USER), ("old answer", Place.ASSISTANT), ("new question", Place.USER)]
    conversation = [Passage(f"messages[{n}].content", place, text) for n, (text, place) in enumerate(turns)]
    cached = watch("asked", history=History.CACHED, places={Place.USER, Place.ASSISTANT})
    assert (await look_once(check, Examine(cached, tuple(conversation)), counsel)).outcome == "clear"
    assert sorted(check.shown) == [("", ["new question"]), ("", ["old answer"]), ("", ["old question"])]
    conversation += [
        Passage("messages[3].content", Place.ASSISTANT, "new answer"),
        Passage("messages[4].content", Place.USER, "a bad one"),
    ]
    check.shown.clear()
    assert (await look_once(check, Examine(cached, tuple(conversation)), counsel)).outcome == "hit"
    assert sorted(check.shown) == [("", ["a bad one"]), ("", ["new answer"])]


async def test_the_question_is_shown_with_the_answer_and_is_part_of_the_verdict():
    check, counsel = Asked(), Counsel(lambda *_: None)
    check.shown.clear()
    asks = watch("asked", "output", exchange=True)
    answer = (Passage("choices[0].content", Place.CONTENT, "fine"),)
    for question in ("one", "one", "two"):
        await look_once(check, Examine(asks, answer, (Passage("messages[0].content", Place.USER, question),)), counsel)
    assert check.shown == [("one", ["fine"]), ("two", ["fine"])]


@pytest.mark.usefixtures("idle_time")
async def test_a_lost_connection_is_tried_again():
    upstream = Scripted(lost(), lost())
    assert await port(upstream)("chat", "m", {}) == {"said": "fine"}
    assert upstream.asked == 3


@pytest.mark.parametrize("error", [UpstreamError(REFUSED), UpstreamError(UNREACHABLE)])
async def test_what_was_answered_is_not_asked_again(error):
    upstream = Scripted(error)
    with pytest.raises(CheckFault, match="its model failed"):
        await port(upstream)("chat", "m", {})
    assert upstream.asked == 1


@pytest.mark.usefixtures("idle_time")
async def test_not_beyond_the_deadline():
    upstream = Scripted(lost(), lost())
    with pytest.raises(CheckFault):
        await port(upstream, within=0.001)("chat", "m", {})
    assert upstream.asked == 1


@pytest.mark.usefixtures("idle_time")
async def test_the_budget_ends_retries():
    upstream = Scripted(*[lost() for _ in range(40)])
    ask = port(upstream)
    for model in range(4):
        with pytest.raises(CheckFault):
            await ask("chat", "same", {"n": model})
    assert upstream.asked <= 4 + 3


@pytest.mark.usefixtures("idle_time")
async def test_the_breaker_opens_and_closes():
    upstream = Scripted(*[UpstreamError(Fault(500, "", "oops")) for _ in range(5)])
    targets = Targets(HOUSE, {"u": upstream})
    ask = targets.until(time.monotonic() + LONG)
    for _ in range(5):
        with pytest.raises(CheckFault, match="oops"):
            await ask("chat", "m", {})
    with pytest.raises(CheckFault, match="breaker open"):
        await ask("chat", "m", {})
    assert upstream.asked == 5
    assert await ask("chat", "other", {}) == {"said": "fine"}  # a target of its own
    await asyncio.sleep(PAUSE)
    assert await ask("chat", "m", {}) == {"said": "fine"}
    assert await ask("chat", "m", {}) == {"said": "fine"}


async def test_a_refusal_does_not_open_the_breaker():
    upstream = Scripted(*[UpstreamError(REFUSED) for _ in range(9)])
    ask = port(upstream)
    for _ in range(9):
        with pytest.raises(CheckFault, match="invalid_value"):
            await ask("chat", "m", {})


@pytest.mark.usefixtures("idle_time")
@pytest.mark.parametrize(("deadline", "opens"), [(0.01, True), (9.0, False)])
async def test_who_is_too_late_is_ill_and_who_is_dropped_is_not(deadline, opens):
    upstream = Scripted(*[5.0] * 5)
    targets = Targets(HOUSE, {"u": upstream})
    for _ in range(5):
        ask = targets.until(time.monotonic() + deadline)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await ask("chat", "m", {})
    ask = targets.until(time.monotonic() + LONG)
    if opens:
        with pytest.raises(CheckFault, match="breaker open"):
            await ask("chat", "m", {})
    else:
        assert await ask("chat", "m", {}) == {"said": "fine"}


@pytest.mark.usefixtures("idle_time")
async def test_so_many_at_a_time():
    upstream = Scripted(*[0.01] * 12)
    ask = port(upstream, room=3)
    async with asyncio.TaskGroup() as group:
        for _ in range(12):
            group.create_task(ask("chat", "m", {}))
    assert upstream.most_at_once == 3


@pytest.fixture
async def service(aiohttp_server):
    """A service whose answers are set by the test; `seen` is what it was sent."""
    seen, says = [], []

    async def handle(request):
        seen.append((dict(request.headers), await request.json()))
        said = says.pop(0) if says else web.json_response({"ok": True})
        if said == "hang":
            await asyncio.sleep(30)
        if said == "cut":
            request.transport.abort()
            return web.Response()
        return said

    app = web.Application()
    app.router.add_post("/check", handle)
    server = await aiohttp_server(app)
    targets = Targets(HOUSE, {})
    yield str(server.make_url("/check")), seen, says, targets.until(time.monotonic() + LONG)
    await targets.close()


async def test_a_service(service):
    url, seen, says, ask = service
    says += [web.json_response([1]), web.Response(status=503), "cut", web.json_response({"ok": 1})]
    call = ServiceCall(url, {"text": "hi"}, {"x-key": "k"}, lambda at, body: {"x-signed": f"{at} {body.decode()}"})
    assert await ask.post(call) == [1]
    assert await ask.post(call) == {"ok": 1}
    assert len(seen) == 4
    (headers, body) = seen[0]
    assert (headers["x-key"], headers["x-signed"], body) == ("k", f'{url} {{"text":"hi"}}', {"text": "hi"})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.Response(status=400, text="SECRET"), "answered 400"),
        (web.Response(status=302, headers={"location": "/elsewhere"}), "answered 302"),
        (web.Response(text="SECRET", content_type="application/json"), "no JSON"),
        (web.Response(body=b"[" + b" " * 4_200_000 + b"]"), "too large"),
        (web.Response(body=b"x", headers={"content-encoding": "gzip"}), "no JSON|cannot be read"),
    ],
)
async def test_what_a_service_may_not_answer(service, answer, words):
    url, seen, says, ask = service
    says.append(answer)
    with pytest.raises(CheckFault, match=words) as caught:
        await ask.post(ServiceCall(url, {}))
    assert "SECRET" not in str(caught.value)
    assert len(seen) == 1


async def test_nobody_there():
    targets = Targets(HOUSE, {})
    with pytest.raises(CheckFault, match="cannot be reached"):
        await targets.until(time.monotonic() + LONG).post(ServiceCall(f"http://127.0.0.1:{free_port()}/none", {}))
    await targets.close()


class Reader(Check):
    """Asks once for each look; a hit where the text holds HIT."""

    local = False
    most = 10
    use: str = "reader_of_the_test"
    say: str = ""

    async def examine(self, passages, ask):
        text = "".join(p.text for p in passages)
        await ask("chat", "m", {"text": text})
        if "BAD" in text:
            raise CheckFault("bad")
        return Judgement("HIT" in text, score=len(text) / 10, usage={"total_tokens": 1})


def shown(*texts, of=None):
    return Examine(of or watch("one"), tuple(Passage(f"p{i}", Place.USER, text) for i, text in enumerate(texts)))


@pytest.mark.usefixtures("idle_time")
async def test_long_texts_are_read_side_by_side():
    upstream = Scripted(*[0.02] * 4)
    counsel = Counsel(Targets(HOUSE, {"u": upstream}).until)
    finding = await look_once(Reader(), shown("0123456789", "abcdefghij", "HIT", "AAAAAAAAA"), counsel)
    assert (finding.outcome, upstream.asked, upstream.most_at_once) == ("hit", 4, 4)
    clear = await look_once(Reader(say="x"), shown("0123456789", "abcdefghij"), counsel)
    assert (clear.outcome, clear.judgement.score, clear.judgement.usage) == ("clear", 1.0, {"total_tokens": 2})


@pytest.mark.parametrize(
    ("texts", "outcome"), [(("BAD0000000", "fine000000"), "failed"), (("BAD0000000", "HIT0000000"), "hit")]
)
async def test_a_piece_that_fails_fails_the_look_unless_another_hits(texts, outcome):
    counsel = Counsel(Targets(HOUSE, {"u": Scripted()}).until)
    finding = await look_once(Reader(), shown(*texts), counsel)
    assert finding.outcome == outcome


async def test_a_verdict_is_paid_once():
    upstream = Scripted()
    counsel = Counsel(Targets(HOUSE, {"u": upstream}).until)
    first = await look_once(Reader(), shown("HIT"), counsel)
    again = await look_once(Reader(), shown("HIT"), counsel)
    assert (first.judgement.usage, first.judgement.note) == ({"total_tokens": 1}, "")
    assert (again.outcome, again.judgement.usage, again.judgement.note) == ("hit", None, "cached")
    assert upstream.asked == 1
    await look_once(Reader(say="other"), shown("HIT"), counsel)  # another version of the check
    await look_once(Reader(), shown("HIT!"), counsel)
    for _ in range(2):  # failures are not kept
        assert (await look_once(Reader(), shown("BAD"), counsel)).outcome == "failed"
    assert upstream.asked == 5


def test_verdicts_are_bounded_and_age():
    now = [0.0]
    verdicts = Verdicts(most=2, lifetime=10, clock=lambda: now[0])
    keys = [verdicts.key(Reader(), [Passage("p", Place.USER, text)]) for text in ("ab", "c", "d")]
    assert len(set(keys)) == 3
    assert verdicts.key(Reader(), shown("ab", "c").passages) != verdicts.key(Reader(), shown("a", "bc").passages)
    for key in keys[:2]:
        verdicts.put(key, Judgement(False))
    assert verdicts.get(keys[0]) is not None
    verdicts.put(keys[2], Judgement(True))
    assert [verdicts.get(key) is None for key in keys] == [False, True, False]
    now[0] = 10
    assert [verdicts.get(key) for key in keys] == [None] * 3


def test_a_verdict_on_keys_as_long_as_a_body_is_not_kept():
    verdicts = Verdicts()
    path = "metadata." + "k" * 1_000_000
    verdicts.put(b"paths", Judgement(True, paths=(path,)))
    verdicts.put(b"spans", Judgement(True, spans=(Span(path, 0, 1, "email"),)))
    assert verdicts.get(b"paths") is verdicts.get(b"spans") is None
