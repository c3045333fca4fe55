"""Late work has one owner: bounded, drained, and its failures stay its own."""

import asyncio

from structlog.testing import capture_logs

from gateway.server.afterwards import Afterwards
from tests.patience import LONG


async def test_it_is_bounded_and_says_what_it_could_not_take():
    after, lost, done = Afterwards(limit=1), [], []
    gate = asyncio.Event()

    async def work(name):
        await gate.wait()
        done.append(name)

    after.start(work("one"), lambda: lost.append("one"))
    after.start(work("two"), lambda: lost.append("two"))
    assert lost == ["two"]
    gate.set()
    await after.drain(LONG)
    assert done == ["one"]


async def test_that_it_is_full_is_said_once_until_there_is_room_again():
    gate = asyncio.Event()
    after, lost = Afterwards(limit=4), []
    with capture_logs() as logs:
        for _ in range(2):
            gate.clear()
            for name in range(7):
                after.start(gate.wait(), lambda name=name: lost.append(name))
            gate.set()
            await after.drain(LONG)
    assert lost == [4, 5, 6] * 2
    assert [one["event"] for one in logs] == ["afterwards_full"] * 2


async def test_a_failure_is_logged_and_raised_to_nobody():
    after = Afterwards()

    async def fails():
        raise ValueError("x")

    after.start(fails(), lambda: None)
    await after.drain(LONG)


async def test_what_does_not_end_is_cancelled():
    after, cancelled = Afterwards(), []

    async def hangs():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    after.start(hangs(), lambda: None)
    await after.drain(0.01)
    assert cancelled == [True]
