"""The keeper loses nothing silently: what waits is written later, what has no room is counted and told in the chain."""

import asyncio
import json
import time

import pytest

from gateway.server.audit import keeper as module
from gateway.server.audit.keeper import Keeper
from gateway.server.audit.store import StoreError
from tests.patience import LONG, until


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", LONG)


class Memory:
    """A store that can be down, and be slow."""

    def __init__(self):
        self.kept = []
        self.down = False
        self.closed = False
        self.groups = []

    def append(self, entries):
        if self.down:
            raise StoreError("down")
        self.groups.append(len(entries))
        self.kept += [json.loads(one.body) for one in entries]

    def prune(self, before):
        return 0

    def close(self):
        self.closed = True

    @property
    def ids(self):
        return [one["id"] for one in self.kept if one["decision"] != "lost"]


def receipt(number):
    return {"time": "2026-01-01T00:00:00.000Z", "id": number, "decision": "released"}


class Running:
    def __init__(self, store, within=LONG, **settings):
        self.counted = {}
        settings = {"strict": False, "on_error": "answer"} | settings
        self.keeper = Keeper(store, counted=self._count, **settings)
        self._within = within

    def _count(self, what, many):
        self.counted[what] = self.counted.get(what, 0) + many

    async def __aenter__(self):
        self._task = asyncio.create_task(self.keeper.run())
        return self

    async def __aexit__(self, *_):
        self.keeper.close(self._within)
        await asyncio.wait_for(self._task, LONG)


async def test_more_than_a_group_is_written_without_waiting_for_more(monkeypatch):
    """Or no more than a group could be kept in each such time, and what comes faster would be lost in the end."""
    monkeypatch.setattr(module, "EVERY", LONG)
    store, many = Memory(), 3 * module.GROUP
    async with Running(store) as running:
        for number in range(many):
            running.keeper.keep(receipt(number))
        await until(lambda: len(store.ids) == many)
    assert store.groups == [module.GROUP] * 3


async def test_receipts_go_in_groups_and_the_rest_at_the_end():
    store = Memory()
    async with Running(store) as running:
        for number in range(20):
            running.keeper.keep(receipt(number))
        await until(lambda: store.ids == list(range(20)))
        assert len(store.groups) == 1
        running.keeper.keep(receipt(20))
    assert store.ids == list(range(21))
    assert store.closed
    assert running.counted == {"kept": 21}


async def test_strict_answers_wait_and_share_a_group():
    store = Memory()
    async with Running(store, strict=True) as running:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(running.keeper.kept(receipt(number))) for number in range(50)]
        assert all(task.result() for task in asked)
        assert sorted(store.ids) == list(range(50))
        assert len(store.groups) < 10


@pytest.mark.parametrize(("on_error", "answers"), [("answer", True), ("refuse", False)])
async def test_while_the_store_is_down_the_choice_is_the_operators(on_error, answers, monkeypatch):
    monkeypatch.setattr(module, "BACK_OFF", (0.02, 0.05))
    store = Memory()
    store.down = True
    async with Running(store, strict=True, on_error=on_error) as running:
        assert await running.keeper.kept(receipt(1)) is answers
        assert running.keeper.refuses is not answers
        store.down = False
        await until(lambda: not running.keeper.failing)
        assert await running.keeper.kept(receipt(2)) is True
        assert store.ids == [1, 2]  # what waited was not lost
        assert "lost" not in running.counted


async def test_a_store_that_hangs_is_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    store = Memory()
    import threading

    go = threading.Event()
    store.append, real = (lambda entries: (go.wait(LONG), real(entries))), store.append
    async with Running(store, strict=True, on_error="refuse") as running:
        assert await running.keeper.kept(receipt(1)) is False
        go.set()
        await until(lambda: store.ids == [1])


async def test_what_there_is_no_room_for_is_counted_and_the_chain_says_so(monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(module, "BACK_OFF", (0.02, 0.05))
    store = Memory()
    store.down = True
    async with Running(store) as running:
        for number in range(10):
            running.keeper.keep(receipt(number))
        assert running.counted["lost"] == 7
        store.down = False
        await until(lambda: store.kept)
    assert store.ids == [0, 1, 2]
    assert [one["lost"] for one in store.kept if one["decision"] == "lost"] == [7]


async def test_what_cannot_be_written_ever_is_lost_and_told_and_stops_nobody():
    store = Memory()
    real = store.append

    def append(entries):
        if any(one.id == "bad" for one in entries):
            raise ValueError("cannot be written")
        real(entries)

    store.append = append
    async with Running(store, strict=True, on_error="refuse") as running:
        assert await running.keeper.kept(receipt("bad")) is False
        assert await running.keeper.kept(receipt("good")) is True
    assert store.ids == ["good"]
    assert running.counted["lost"] == 1
    assert [one["lost"] for one in store.kept if one["decision"] == "lost"] == [1]


async def test_what_cannot_be_written_at_the_end_is_counted(monkeypatch):
    store = Memory()
    store.down = True
    async with Running(store, within=0.1) as running:
        running.keeper.keep(receipt(1))
    assert running.counted["lost"] == 1


async def test_a_process_that_stood_still_at_its_end_writes_what_is_left():
    store = Memory()
    async with Running(store, within=0.0) as running:
        running.keeper.keep(receipt(1))
    assert store.ids == [1]
    assert running.counted == {"kept": 1}


@pytest.mark.usefixtures("idle_time")
async def test_where_nobody_waits_for_it_a_receipt_is_in_the_store_within_a_second():
    store, written, loop = Memory(), asyncio.Event(), asyncio.get_running_loop()
    real = store.append
    store.append = lambda entries: (real(entries), loop.call_soon_threadsafe(written.set))
    keeper = Keeper(store, strict=False, on_error="answer")
    running = asyncio.create_task(keeper.run())
    began = time.monotonic()
    keeper.keep(receipt(1))
    await written.wait()
    assert time.monotonic() - began <= 1
    keeper.close(LONG)
    await running
    assert store.ids == [1]
