"""A look and its faults: a check is a guest, and nothing that it does is a crash or a pass."""

import asyncio

import pytest

from gateway.checks.base import Check, CheckFault
from gateway.core.terms import Examine, Judgement, Passage, Place
from gateway.server.consult import Counsel, look_now, look_once
from tests.world import watch

NOBODY = Counsel(lambda *_: None)
SHOWN = (Passage("p", Place.USER, "SECRETTEXT"),)


class Guest(Check):
    local = False
    use: str = "guest"  # no word of its own, so no kind that a policy could name
    does: str

    async def examine(self, passages, ask):
        if self.does == "hang":
            await asyncio.sleep(60)
        return self.judge(passages)

    def judge(self, passages):
        if self.does == "fault":
            raise CheckFault("no verdict")
        if self.does == "raise":
            raise RuntimeError(passages[0].text)
        if self.does == "nonsense":
            return None
        return Judgement(self.does == "hit")


@pytest.mark.parametrize(
    ("does", "outcome", "note"),
    [
        ("hit", "hit", ""),
        ("clear", "clear", ""),
        ("fault", "failed", "no verdict"),
        ("raise", "failed", "raised RuntimeError"),
        ("nonsense", "failed", "gave no judgement"),
    ],
)
async def test_a_look(does, outcome, note):
    examine = Examine(watch("one"), SHOWN)
    for finding in (look_now(Guest(does=does), examine), await look_once(Guest(does=does), examine, NOBODY)):
        assert (finding.outcome, finding.note) == (outcome, note)
        assert "SECRETTEXT" not in repr(finding)


async def test_a_look_has_a_deadline():
    finding = await look_once(Guest(does="hang"), Examine(watch("one", timeout=0.02), SHOWN), NOBODY)
    assert (finding.outcome, finding.note) == ("failed", "timed out")
