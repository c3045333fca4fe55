"""A virtual model as an upstream: however it ends, whoever it asks ends with it."""

import asyncio

import pytest

from gateway.config.model import Fan, House, Model, UpstreamSettings
from gateway.core.ceiling import Account
from gateway.core.exchange import Exchange
from gateway.core.terms import Call, Decision, Delta, Passage, Place, Side, Verdict
from gateway.fanout.vote import Vote
from gateway.policy.plan import Plan
from gateway.server.afterwards import Afterwards
from gateway.server.alone import Alone
from gateway.server.consult import Counsel
from gateway.server.fan import FanOut, Pace
from gateway.server.race import Race
from gateway.server.record import Receipt
from gateway.server.upstream import CUT, CallRecord, UpstreamError
from tests.patience import LONG
from tests.server.test_carriers import Client
from tests.world import watch

CALL = Call(
    "only", "fan-out", "panel", {"model": "panel", "messages": [{"role": "user", "content": "?"}]}, stream=False
)
FRAME = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
}


class Members:
    """Two that answer at once, one that never does; the contest is decided by the two, and waits for nobody."""

    def __init__(self):
        self.ended = []

    async def race(self, exchange, upstream, part, candidate):
        try:
            if candidate.task.key == "m#3":
                await asyncio.sleep(60.0)
            candidate.send(Delta(FRAME, size=10))
            await candidate.close(Verdict(Decision.RELEASED))
        finally:
            self.ended.append(candidate.task.key)


class NoRoom(Account):
    """There is none for the answer that comes of the contest."""

    def set(self, part, size):
        return not size or not part.startswith("answer")


def fan(members, receipt, early_stop="exact", upstream=None, **more):
    strategy = Vote(members=[{"model": "m", "samples": 3}], early_stop=early_stop, strategy="vote", **more)
    house = House(
        upstreams={"up": UpstreamSettings(base_url="http://127.0.0.1:9/v1")},
        models={"m": Model(upstream="up", model="m")},
    )
    return FanOut(
        "panel",
        Fan(strategy=strategy),
        house,
        race=members.race,
        upstreams={"up": upstream},
        planned=Plan((), {}, ()),
        receipt=receipt,
        pace=Pace(),
        max_held=1000,
    )


async def test_one_that_is_closed_in_the_middle_of_its_answer_ends_quietly():
    members, receipt = Members(), Receipt(keep=lambda _: None)
    answer = fan(members, receipt).answer(CALL, {}, record := CallRecord("only", "fan-out", "panel"))
    (delta,) = await anext(answer)
    assert delta.frame["choices"][0]["message"]["content"] == "yes"
    await answer.aclose()
    assert sorted(members.ended) == ["m#1", "m#2", "m#3"]
    assert record.ended is not None
    assert receipt.fanout["decision"] == "decided"


@pytest.mark.usefixtures("idle_time")
@pytest.mark.parametrize("carrier", [Alone, Race])
@pytest.mark.parametrize("ended_by", ["deadline", "client", "room"])
async def test_whoever_a_contest_asks_ends_with_the_request(carrier, ended_by):
    members = Members()
    receipt = Receipt(keep=lambda _: None, held=NoRoom() if ended_by == "room" else Account())
    check = watch("out", side=Side.OUTPUT, places=frozenset({Place.CONTENT}))
    client = Client([])
    carrying = carrier(
        Exchange(CALL, [check], (Passage("q", Place.USER, "?"),), 1000),
        {},
        fan(members, receipt, early_stop="exact" if ended_by == "room" else "none"),
        headers={},
        counsel=Counsel(lambda *_: None),
        release=client,
        receipt=receipt,
        afterwards=Afterwards(),
        within=0.05 if ended_by == "deadline" else LONG,
    )
    if ended_by == "client":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await carrying.run()
    else:
        await carrying.run()
        assert client.verdict.decision is Decision.FAILED
    assert sorted(members.ended) == ["m#1", "m#2", "m#3"]
    assert receipt.decision == ("left" if ended_by == "client" else "failed")


class OneBreaks(Members):
    """Our own code fails with one of them."""

    def __init__(self, broken):
        super().__init__()
        self.broken = broken

    async def race(self, exchange, upstream, part, candidate):
        if candidate.task.key in self.broken:
            raise RuntimeError("ours")
        candidate.send(Delta(FRAME, size=10))
        await candidate.close(Verdict(Decision.RELEASED))


@pytest.mark.parametrize("carrier", [Alone, Race])
@pytest.mark.parametrize(("broken", "decision"), [({"m#2"}, "released"), ({"m#1", "m#2", "m#3"}, "failed")])
async def test_a_candidate_that_our_own_code_fails_with_is_one_less(carrier, broken, decision):
    receipt, client = Receipt(keep=lambda _: None), Client([])
    carrying = carrier(
        Exchange(CALL, [], (Passage("q", Place.USER, "?"),), 1000),
        {},
        fan(OneBreaks(broken), receipt, early_stop="none"),
        headers={},
        counsel=Counsel(lambda *_: None),
        release=client,
        receipt=receipt,
        afterwards=Afterwards(),
        within=LONG,
    )
    await carrying.run()
    assert client.verdict.decision == decision
    assert receipt.decision == decision


class TwoAgree(Members):
    async def race(self, exchange, upstream, part, candidate):
        said = "no" if candidate.task.key == "m#1" else "yes"
        frame = {"choices": [{"index": 0, "message": {"content": said}, "finish_reason": "stop"}]}
        candidate.send(Delta(frame, size=10))
        await candidate.close(Verdict(Decision.RELEASED))


class NoVectors:
    """An upstream whose vectors do not come, by its fault or by ours."""

    def __init__(self, error):
        self.error = error

    async def ask(self, endpoint, model, body):
        raise self.error


@pytest.mark.parametrize(("error", "why"), [(RuntimeError("ours"), "internal_error"), (UpstreamError(CUT), CUT.code)])
async def test_without_vectors_a_vote_goes_on_with_equal_texts(error, why):
    receipt = Receipt(keep=lambda _: None)
    ballot = {"type": "text", "cluster": {"model": "m", "threshold": 0.9}}
    panel = fan(TwoAgree(), receipt, "none", NoVectors(error), ballot=ballot, expose="full")
    answer = panel.answer(CALL, {}, CallRecord("only", "fan-out", "panel"))
    (delta,) = await anext(answer)
    await answer.aclose()
    assert delta.frame["choices"][0]["message"]["content"] == "yes"
    assert delta.frame["outrider"]["fanout"]["cluster_error"] == why
