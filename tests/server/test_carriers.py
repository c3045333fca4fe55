"""An exchange comes to the same alone in its task and under a task group; ends of every sort, and in which order."""

import asyncio
import math
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.base import Check
from gateway.checks.hurry import PATIENCE, takes
from gateway.checks.keywords import Keywords
from gateway.checks.regex import Regex
from gateway.checks.sieve import CommonSieve
from gateway.core.exchange import Exchange
from gateway.core.holdback import Hit, Scan
from gateway.core.terms import Action, Call, Decision, Delta, Judgement, Lane, Outcome, Passage, Piece, Place, Side
from gateway.server import carrying as carrying_
from gateway.server import threads
from gateway.server.afterwards import Afterwards
from gateway.server.alone import Alone
from gateway.server.consult import Counsel
from gateway.server.race import Race
from gateway.server.record import Receipt
from gateway.server.release import ClientGone
from gateway.server.upstream import CUT, UpstreamError
from tests.patience import LONG, until
from tests.world import watch

WORDS = Keywords(words=["swordfish"])
CARRIERS = [Alone, Race]


class Upstream:
    """Says its batches; `end` is what it raises then, or how many seconds it says nothing more."""

    def __init__(self, batches, end=None):
        self.batches, self.end = batches, end
        self.closed = asyncio.Event()
        self.told = []

    async def answer(self, call, headers, record, pulse=math.inf):
        try:
            for batch in self.batches:
                yield batch
                await asyncio.sleep(0)
            if isinstance(self.end, Exception):
                raise self.end
            left = self.end or 0.0
            while left > pulse:
                await asyncio.sleep(pulse)
                left -= pulse
                yield ()
            await asyncio.sleep(left)
        finally:
            self.told.append("upstream closed")
            self.closed.set()


class Client:
    """Takes what is sent; gone after so many writes. It takes so many seconds until it has the last of it."""

    def __init__(self, told, stays=math.inf, slow=0.0):
        self.told, self.stays, self.slow = told, stays, slow
        self.sent, self.verdict, self.streaming = [], None, False

    def send(self, delta, changes=()):
        self.sent.append(delta)

    async def flush(self):
        if self.sent:
            self.streaming = True
            self._write()

    async def keep_alive(self):
        self.told.append("comment")
        self._write()

    async def close(self, verdict):
        await asyncio.sleep(self.slow)
        self.verdict = verdict
        self.told.append(f"told {verdict.decision}")
        if verdict.decision is not Decision.LEFT:
            self._write()

    def _write(self):
        self.stays -= 1
        if self.stays < 0:
            raise ClientGone


class Slow(Check):
    """A local check of texts that are too long for the event loop."""

    inline = 0
    use: str = "slow"
    hit: bool = False

    def judge(self, passages):
        return Judgement(self.hit)


class Crowd(Check):
    """A local check of a text that turns out to be more than others can wait for."""

    use: str = "crowd"

    def judge(self, passages):
        judged_on.append(threading.current_thread())
        takes(PATIENCE + 1)
        return Judgement(hit=True)


judged_on = []


class Along(Check):
    """Follows an answer; what it is told to be too much for the event loop it reads elsewhere, when it `may`."""

    use: str = "along"
    bears: int = 10**9  # characters that it reads where others wait
    hit: bool = False

    @property
    def follows(self):
        return True

    def scanner(self, *, settled=False):
        return self

    def feed(self, text):
        takes(PATIENCE + 1 if len(text) > self.bears else 0)
        judged_on.append(threading.current_thread())
        if len(text) > self.bears:
            may_go_on.wait(LONG)
        fed.append(text)
        return Scan([Hit(0, 1, "hm")] if self.hit else (), len("".join(fed)))

    def end(self):
        takes(PATIENCE + 1 if self.bears < 9 else 0)
        judged_on.append(threading.current_thread())
        return Scan((), len("".join(fed)))


may_go_on = threading.Event()
fed = []


@pytest.fixture
async def followed():
    """On which threads an answer is followed. What still waits on one goes on before the loop is closed."""
    judged_on.clear()
    fed.clear()
    may_go_on.set()
    yield judged_on
    may_go_on.set()


def delta(text, size=1):
    return Delta({}, (Piece("c", Place.CONTENT, text),) if text else (), size)


def made(
    carrier,
    upstream,
    client,
    *,
    watches,
    checks=None,
    stream=True,
    question="hello",
    system="",
    within=LONG,
    max_held=10**6,
    afterwards=None,
    **more,
):
    checks = {one.name: WORDS for one in watches} if checks is None else checks
    call = Call("only", "up", "m", {}, stream)
    follows = {name: check.scanner for name, check in checks.items() if check.follows}
    receipt = Receipt(keep=lambda _: None)
    asked = (Passage("q", Place.USER, question), Passage("s", Place.SYSTEM, system))
    return carrier(
        Exchange(call, watches, asked, max_held, follows),
        checks,
        upstream,
        headers={},
        counsel=Counsel(lambda *_: None),
        release=client,
        receipt=receipt,
        afterwards=afterwards or Afterwards(),
        within=within,
        **more,
    ), receipt


INPUT = watch("in", side=Side.INPUT, places=frozenset({Place.USER}))
EXACT = watch("out", side=Side.OUTPUT, places=frozenset({Place.CONTENT}), lane=Lane.EXACT)
WHOLE = watch("all", side=Side.OUTPUT, places=frozenset({Place.CONTENT}), lane=Lane.WHOLE)
pieces = st.sampled_from(["sword", "fish", "", "SWORD", " fish", "a", "word", "swordfis"])


@given(
    st.lists(st.lists(pieces, min_size=1, max_size=4), max_size=5),
    st.sampled_from([None, UpstreamError(CUT), RuntimeError("ours")]),
    st.sets(st.sampled_from(["in", "out", "all"])),
    st.booleans(),
    st.sampled_from(["hello", "a swordfish"]),
    st.sampled_from([math.inf, 0, 1, 2]),
)
def test_both_come_to_the_same(batches, end, names, stream, question, stays):
    watches = [one for one in (INPUT, EXACT, WHOLE) if one.name in names]

    async def outcome(carrier):
        upstream = Upstream([[delta(text) for text in batch] for batch in batches], end)
        client = Client(upstream.told, stays)
        carrying, receipt = made(carrier, upstream, client, watches=watches, stream=stream, question=question)
        await carrying.run()
        assert not receipt.calls or upstream.closed.is_set()
        texts = "".join(piece.text for one in client.sent for piece in one.pieces)
        assert "swordfish" not in texts.lower() or not {"out", "all"} & names
        return client.verdict.decision, client.verdict.fault, receipt.decision, len(receipt.calls)

    alone, together = (asyncio.run(outcome(carrier)) for carrier in CARRIERS)
    assert alone == together


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_block_closes_the_upstream_before_it_is_told(carrier):
    upstream = Upstream([[delta("a swordfish")]], end=60.0)
    client = Client(upstream.told)
    carrying, _ = made(carrier, upstream, client, watches=[EXACT])
    await carrying.run()
    assert upstream.told == ["upstream closed", "told blocked"]


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_blocked_question_is_asked_of_nobody(carrier):
    upstream = Upstream([[delta("x")]])
    carrying, receipt = made(carrier, upstream, Client(upstream.told), watches=[INPUT], question="a swordfish")
    await carrying.run()
    assert upstream.told == ["told blocked"]
    assert receipt.calls == []


@pytest.mark.usefixtures("idle_time")
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_the_whole_has_a_deadline(carrier):
    upstream = Upstream([[delta("x")]], end=60.0)
    client = Client(upstream.told)
    carrying, receipt = made(carrier, upstream, client, watches=[], within=0.05)
    await carrying.run()
    assert client.verdict.fault.code == "timeout"
    assert upstream.closed.is_set()
    assert receipt.decision == "failed"


@pytest.mark.usefixtures("idle_time")
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("end", [None, 60.0])
async def test_what_is_decided_before_the_deadline_is_told_after_it(carrier, end):
    upstream = Upstream([[delta("a swordfish")]] if end else [[delta("x")]], end)
    client = Client(upstream.told, slow=0.2)
    carrying, receipt = made(carrier, upstream, client, watches=[EXACT], within=0.05)
    await carrying.run()
    assert upstream.told == ["upstream closed", f"told {receipt.decision}"]
    assert client.verdict.decision is (Decision.BLOCKED if end else Decision.RELEASED)


@pytest.mark.usefixtures("idle_time")
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_silent_stream_under_way_gets_comments(carrier):
    upstream = Upstream([[delta("x")]], end=0.3)
    client = Client(upstream.told)
    carrying, _ = made(carrier, upstream, client, watches=[], keepalive=0.05)
    await carrying.run()
    assert 3 <= upstream.told.count("comment") <= 6
    assert client.verdict.decision is Decision.RELEASED


@pytest.mark.usefixtures("idle_time")
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_one_that_has_not_begun_gets_none(carrier):
    upstream = Upstream([], end=0.3)
    client = Client(upstream.told)
    carrying, _ = made(carrier, upstream, client, watches=[EXACT], keepalive=0.05)
    await carrying.run()
    assert "comment" not in upstream.told


@pytest.mark.usefixtures("idle_time")
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_client_that_goes_with_a_comment_has_left(carrier):
    upstream = Upstream([[delta("x")]], end=60.0)
    client = Client(upstream.told, stays=1)
    carrying, receipt = made(carrier, upstream, client, watches=[], keepalive=0.05)
    await carrying.run()
    assert receipt.decision == "left"
    assert upstream.closed.is_set()


@pytest.mark.usefixtures("idle_time")
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("begun", [False, True])
async def test_who_is_cancelled_has_left(carrier, begun):
    upstream = Upstream([[delta("x")]] if begun else [], end=60.0)
    carrying, receipt = made(carrier, upstream, Client(upstream.told), watches=[])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await carrying.run()
    assert receipt.decision == "left"
    assert upstream.closed.is_set()
    assert receipt.held.held == 0


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("hit", [False, True])
async def test_a_check_may_read_elsewhere_than_on_the_loop(carrier, hit):
    upstream = Upstream([[delta("x")]])
    client = Client(upstream.told)
    checks = {"in": Slow(hit=hit), "all": Slow()}
    carrying, receipt = made(carrier, upstream, client, watches=[INPUT, WHOLE], checks=checks, stream=False)
    await carrying.run()
    assert client.verdict.decision is (Decision.BLOCKED if hit else Decision.RELEASED)
    assert len(receipt.looks) == (1 if hit else 2)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_what_others_cannot_wait_for_is_looked_at_on_a_thread(carrier):
    upstream = Upstream([[delta("x")]])
    client = Client(upstream.told)
    carrying, _ = made(carrier, upstream, client, watches=[INPUT], checks={"in": Crowd()})
    judged_on.clear()
    await carrying.run()
    assert client.verdict.decision == "blocked"
    assert client.sent == []
    first, second = judged_on
    assert first is threading.current_thread()
    assert second is not first


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(
    ("sizes", "bears", "elsewhere"),
    [
        ([9, 99, 9], 10**9, [False, False, False, False]),
        ([9, 99, 9], 9, [False, True, False, False]),
        ([9, 9, 9], 8, [True, True, True, True]),
    ],
)
async def test_where_an_answer_is_followed(carrier, sizes, bears, elsewhere, followed):
    upstream = Upstream([[delta("x" * size)] for size in sizes])
    client = Client(upstream.told)
    carrying, _ = made(carrier, upstream, client, watches=[EXACT], checks={"out": Along(bears=bears)})
    await carrying.run()
    assert client.verdict.decision is Decision.RELEASED
    assert "".join(piece.text for one in client.sent for piece in one.pieces) == "x" * sum(sizes)
    assert "".join(fed) == "x" * sum(sizes)
    where = [thread is not threading.main_thread() for thread in followed]
    if carrier is Alone:
        assert where == elsewhere
    else:  # which may take together what came together
        assert any(where) is any(elsewhere)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_what_is_found_elsewhere_blocks(carrier, followed):
    upstream = Upstream([[delta("x" * 9)]], end=60.0)
    client = Client(upstream.told)
    carrying, receipt = made(carrier, upstream, client, watches=[EXACT], checks={"out": Along(bears=8, hit=True)})
    await carrying.run()
    assert (client.verdict.decision, client.sent) == (Decision.BLOCKED, [])
    assert [look.finding.outcome for look in receipt.looks] == [Outcome.HIT]
    assert upstream.closed.is_set()


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("fails_open", [True, False])
async def test_who_reads_too_long_elsewhere_has_failed(carrier, fails_open, followed):
    may_go_on.clear()
    upstream = Upstream([[delta("x" * 9)]])
    client = Client(upstream.told)
    watches = [replace(EXACT, timeout=0.05, fails_open=fails_open)]
    carrying, receipt = made(carrier, upstream, client, watches=watches, checks={"out": Along(bears=8)})
    await carrying.run()
    assert client.verdict.decision is (Decision.RELEASED if fails_open else Decision.BLOCKED)
    assert len(client.sent) == fails_open
    (look,) = receipt.looks
    assert (look.finding.outcome, look.finding.note) == (Outcome.FAILED, "timed out")


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_who_is_cancelled_while_much_is_read_leaves_at_once(carrier, followed):
    may_go_on.clear()
    upstream = Upstream([[delta("x" * 9)]], end=60.0)
    client = Client(upstream.told)
    carrying, receipt = made(carrier, upstream, client, watches=[EXACT], checks={"out": Along(bears=8)})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(carrying.run())
        await until(lambda: followed)
        running.cancel()
    assert running.cancelled()
    assert receipt.decision == "left"
    assert client.sent == []
    assert upstream.closed.is_set()


async def answers(size, check):
    """What becomes of an answer of so many characters that a check reads along."""
    upstream = Upstream([[delta("x" * size)]])
    client = Client(upstream.told)
    await made(Race, upstream, client, watches=[EXACT], checks={"out": check})[0].run()
    return client.verdict.decision


async def test_long_texts_keep_no_thread_that_short_ones_need(followed, monkeypatch):
    """Of a size one is read at a time; beside those of any size, shorter ones are."""
    monkeypatch.setattr(Check, "built_in", True)
    may_go_on.clear()
    check = Along(bears=8)
    async with asyncio.TaskGroup() as group:
        running = []
        for busy, size in enumerate((threads.SIZES[1] + 1, threads.SIZES[0] + 1, 9), 1):
            running += [group.create_task(answers(size, check)) for _ in range(4)]
            await until(lambda busy=busy: len(set(followed)) == busy)
            await asyncio.sleep(0.02)
            assert len(followed) == busy
        may_go_on.set()
    assert {one.result() for one in running} == {Decision.RELEASED}


async def test_checks_that_are_not_ours_keep_no_thread_that_ours_need(followed):
    """One that waits for whatever it likes is on its own."""
    may_go_on.clear()
    async with asyncio.TaskGroup() as group:
        stuck = [group.create_task(answers(9, Along(bears=8))) for _ in range(4)]
        await until(lambda: followed)
        assert await threads.aside(9, threading.current_thread) not in followed
        may_go_on.set()
    assert {one.result() for one in stuck} == {Decision.RELEASED}


async def test_what_nobody_waits_for_is_in_the_way_of_nobody(followed, monkeypatch):
    """However many late looks there are, what an answer waits for comes after one of them at most."""
    monkeypatch.setattr(Check, "built_in", True)
    may_go_on.clear()
    late, looks = Afterwards(), []

    class Looks(Slow):
        name: str

        def judge(self, passages):
            looks.append(self.name)
            may_go_on.wait(LONG)
            return Judgement(self.hit)

    async def asked(name, action):
        one = replace(INPUT, action=action)
        upstream = Upstream([[delta("fine")]])
        client = Client(upstream.told)
        carrying, _ = made(Race, upstream, client, watches=[one], checks={"in": Looks(name=name)}, afterwards=late)
        await carrying.run()
        return client.verdict.decision

    for _ in range(5):
        await asked("late", Action.FLAG)
    async with asyncio.TaskGroup() as group:
        await until(lambda: looks)
        waited_for = group.create_task(asked("gates", Action.BLOCK))
        await asyncio.sleep(0.02)
        may_go_on.set()
    await late.drain(LONG)
    assert waited_for.result() is Decision.RELEASED
    assert looks == ["late", "gates", *["late"] * 4]


async def test_waiting_for_a_thread_counts_as_time_of_the_look(followed, monkeypatch):
    """Whoever gives up meanwhile leaves nothing behind that is still done."""
    monkeypatch.setattr(Check, "built_in", True)
    may_go_on.clear()
    hurried = replace(EXACT, timeout=0.02)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(answers(9, Along(bears=8)))
        await until(lambda: followed)
        upstream = Upstream([[delta("x" * 9)]])
        client = Client(upstream.told)
        await made(Race, upstream, client, watches=[hurried], checks={"out": Along(bears=8)})[0].run()
        assert client.verdict.decision is Decision.BLOCKED
        may_go_on.set()
    assert first.result() is Decision.RELEASED
    assert await threads.aside(9, lambda: len(fed)) == 1


async def test_the_answer_goes_on_while_a_check_reads_elsewhere(followed):
    """What others say of it is heard meanwhile: a hit of theirs does not wait."""
    may_go_on.clear()
    upstream = Upstream([[delta("x" * 9)], [delta("swordfish")]], end=60.0)
    client = Client(upstream.told)
    also = replace(EXACT, name="too")
    checks = {"out": Along(bears=8), "too": WORDS}
    carrying, _ = made(Race, upstream, client, watches=[EXACT, also], checks=checks)
    await carrying.run()
    assert (client.verdict.decision, client.verdict.by.watch.name, client.sent) == (Decision.BLOCKED, "too", [])
    assert upstream.closed.is_set()


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_what_does_not_fit_is_broken_off(carrier):
    upstream = Upstream([[delta("x", 100)], [delta("y", 100)]], end=60.0)
    client = Client(upstream.told)
    carrying, _ = made(carrier, upstream, client, watches=[WHOLE], max_held=150)
    await carrying.run()
    assert client.verdict.fault.code == "answer_too_long"
    assert client.sent == []
    assert upstream.closed.is_set()


class Busy(Check):
    """Tells when it is asked."""

    use: str = "busy"

    def judge(self, passages):
        happened.append("looked")
        return Judgement(hit=False)


happened = []


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(("takes_each", "between"), [(carrying_.HELD * 2, True), (0.0, False)])
async def test_others_have_the_event_loop_between_two_looks_that_take_long(carrier, takes_each, between, monkeypatch):
    happened.clear()

    def thread_time():
        return takes_each * happened.count("looked")

    monkeypatch.setattr("time.thread_time", thread_time)
    names = ["one", "two", "three"]
    watches = [watch(name, side=Side.INPUT, places=frozenset({Place.USER})) for name in names]
    upstream = Upstream([[delta("x")]])
    checks = {name: Busy() for name in names}
    carrying, _ = made(carrier, upstream, Client(upstream.told), watches=watches, checks=checks)

    async def other():
        while happened.count("looked") < len(names):
            happened.append("other")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(carrying.run())
        group.create_task(other())
    first, last = happened.index("looked"), len(happened) - happened[::-1].index("looked")
    assert ("other" in happened[first:last]) is between


BOTH = {"in": WORDS, "too": Regex(patterns={"fish": "f[i1]sh"})}
TOO = watch("too", side=Side.INPUT, places=frozenset({Place.USER}))
SEEN = [watch(name, side=Side.OUTPUT, places=frozenset({Place.CONTENT}), lane=Lane.WHOLE) for name in BOTH]


@given(
    st.sampled_from(CARRIERS),
    st.sampled_from(["hello", "a swordfish", "a f1sh", "é", "é swordfish"]),
    st.lists(pieces, max_size=4),
    st.sampled_from([1, 3000]),
)
def test_asked_in_one_pass_checks_find_the_same(carrier, question, answer, times):
    async def outcome(sieve):
        upstream = Upstream([[delta(text) for text in answer]] if answer else [])
        carrying, receipt = made(
            carrier,
            upstream,
            client := Client(upstream.told),
            watches=[INPUT, TOO, *SEEN],
            checks=BOTH,
            stream=False,
            question=question * times,
            sieve=sieve,
        )
        await carrying.run()
        found = {look.watch.key: look.finding.outcome for look in receipt.looks if look.finding is not None}
        return client.verdict.decision, found

    sieve = CommonSieve({name: check.sieve for name, check in BOTH.items()})
    (decision, found), (expected, known) = asyncio.run(outcome(sieve)), asyncio.run(outcome(None))
    assert decision is expected
    assert all(found[key] is known[key] for key in found.keys() & known.keys())  # the first block ends the other look


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_who_was_shown_something_else_is_asked_by_itself(carrier):
    flag = watch("flag", side=Side.INPUT, places=frozenset({Place.SYSTEM}), action=Action.FLAG)
    checks = {**BOTH, "flag": WORDS}
    upstream = Upstream([[delta("x")]])
    carrying, receipt = made(
        carrier,
        upstream,
        Client(upstream.told),
        watches=[INPUT, TOO, flag],
        checks=checks,
        system="a swordfish",
        sieve=CommonSieve({name: check.sieve for name, check in checks.items()}),
    )
    await carrying.run()
    found = {look.watch.name: look.finding.outcome for look in receipt.looks}
    assert found == {"in": Outcome.CLEAR, "too": Outcome.CLEAR, "flag": Outcome.HIT}
