"""Several processes behind one port: they share the load, one's death is not the others', and metrics add up."""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.end_to_end.process import (
    Fake,
    Gateway,
    Wire,
    ask,
    begin_stream,
    chunk,
    end_stream,
    event,
    free_port,
    plain_answer,
    send_json,
    send_part,
)
from tests.end_to_end.test_admin import read, settled, told
from tests.end_to_end.test_process import SCRIPTED, outrider
from tests.patience import LONG, until

RELEASED = 'outrider_requests_total{decision="released",endpoint="chat"}'
POLICY = "policy: p\nchecks: {words: {use: keywords, words: [swordfish], at: input}}\n"


class Streams:
    """Streams begin at once and end when told to; plain answers come at once."""

    def __init__(self):
        self.go = asyncio.Event()

    async def __call__(self, seen, writer):
        if not seen.body.get("stream"):
            await send_json(writer, plain_answer())
            return
        await begin_stream(writer)
        await send_part(writer, event(chunk({"content": "All is "})))
        await self.go.wait()
        await send_part(writer, event(chunk({"content": "well."}, "stop")))
        await send_part(writer, event(b"[DONE]"))
        await end_stream(writer)


def events(gateway, name):
    return [line for line in map(json.loads, list(gateway.lines)) if line.get("event") == name]


async def happened(gateway, name, count=1):
    await until(lambda: len(events(gateway, name)) >= count, f"{name} did not happen so often")
    return events(gateway, name)


async def say(gateway, text="hello"):
    async with Wire(gateway.port) as wire:
        await wire.post(ask(text))
        await wire.read()
        return wire.status


async def streaming(gateway, stack, number):
    wires = [Wire(gateway.port) for _ in range(number)]
    for wire in wires:
        await stack.enter_async_context(wire)
        await wire.post(ask("one", stream=True))
        await wire.read(b"All is ")
    return wires


async def test_requests_are_shared_out_and_counted_together(tmp_path):
    admin = free_port()
    async with Fake(Streams()) as fake:
        with Gateway(tmp_path, fake.house, POLICY, workers=2, admin_port=admin) as gateway:
            await happened(gateway, "listening", 2)
            assert [await say(gateway) for _ in range(40)] == [200] * 40
            assert await say(gateway, "swordfish") == 400
            text = await settled(admin, "outrider_request_seconds_count", 41)
            assert told(text, RELEASED) == 40
            assert told(text, 'outrider_requests_total{decision="blocked",endpoint="chat"}') == 1
            assert told(text, 'outrider_upstream_calls_total{status="200",upstream="up"}') == 40
            await settled(admin, "outrider_workers", 2)
            status, body = await asyncio.to_thread(read, f"http://127.0.0.1:{admin}/readyz")
            assert status == 200
            assert json.loads(body)["workers"] == {"wanted": 2, "ready": 2}
            receipts = await asyncio.to_thread(gateway.receipts, 41)
    prefixes = {receipt["id"][:-8] for receipt in receipts}
    assert len({receipt["id"] for receipt in receipts}) == 41
    assert len(prefixes) == 2, "both have worked, and their ids cannot meet"
    assert gateway.process.returncode == 0


async def test_one_killed_while_streaming_is_replaced_and_the_others_go_on(tmp_path):
    admin = free_port()
    streams = Streams()
    async with Fake(streams) as fake, contextlib.AsyncExitStack() as stack:
        with Gateway(tmp_path, fake.house, POLICY, workers=2, admin_port=admin, drain="60s") as gateway:
            await happened(gateway, "listening", 2)
            pids = [line["pid"] for line in events(gateway, "worker_started")]
            wires = await streaming(gateway, stack, 16)
            assert [await say(gateway) for _ in range(10)] == [200] * 10
            await settled(admin, RELEASED, 10)  # what they have counted is told
            os.kill(pids[0], signal.SIGKILL)
            died = await happened(gateway, "worker_died")
            assert (died[0]["pid"], died[0]["status"]) == (pids[0], -signal.SIGKILL)
            await happened(gateway, "listening", 3)
            streams.go.set()
            await asyncio.gather(*(wire.read() for wire in wires), return_exceptions=True)
            whole = [wire for wire in wires if b"[DONE]" in wire.data]
            cut = [wire for wire in wires if b"[DONE]" not in wire.data]
            assert whole, "the other worker's streams came to their end"
            assert cut, "the dead one's were cut visibly"
            assert not any(b"well." in wire.data for wire in cut)
            assert [await say(gateway) for _ in range(20)] == [200] * 20
            text = await settled(admin, RELEASED, 30 + len(whole))  # what the dead one had counted stays counted
            assert told(text, "outrider_worker_restarts_total") == 1
            await settled(admin, "outrider_workers", 2)
    assert gateway.process.returncode == 0


async def test_sigterm_drains_all(tmp_path):
    streams = Streams()
    async with Fake(streams) as fake, contextlib.AsyncExitStack() as stack:
        with Gateway(tmp_path, fake.house, POLICY, workers=2, drain="60s") as gateway:
            await happened(gateway, "listening", 2)
            pids = [line["pid"] for line in events(gateway, "worker_started")]
            wires = await streaming(gateway, stack, 8)
            gateway.process.send_signal(signal.SIGTERM)
            await happened(gateway, "draining", 2)
            streams.go.set()
            for wire in wires:
                await wire.read()
                assert wire.events[-1] == b"[DONE]"
            await asyncio.to_thread(gateway.process.wait, LONG)
    assert gateway.process.returncode == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_when_the_parent_is_killed_its_workers_end(tmp_path):
    async with Fake(Streams()) as fake:
        with Gateway(tmp_path, fake.house, POLICY, workers=2) as gateway:
            await happened(gateway, "listening", 2)
            pids = [line["pid"] for line in events(gateway, "worker_started")]
            gateway.process.kill()
            await until(lambda: not any(map(alive, pids)), "a worker has outlived its parent")


async def test_a_broken_policy_never_takes_effect_also_not_in_a_new_worker(tmp_path):
    admin = free_port()
    async with Fake(Streams()) as fake:
        with Gateway(tmp_path, fake.house, POLICY, workers=2, admin_port=admin) as gateway:
            await happened(gateway, "listening", 2)
            file = tmp_path / "policies" / "policy.yaml"
            file.write_text(POLICY.replace("swordfish", "marlin"))
            gateway.process.send_signal(signal.SIGHUP)
            await happened(gateway, "policies_loaded", 2)
            await happened(gateway, "policies_for_new_workers")  # the parent has heard of it
            file.write_text("policy: p\nchecks: {words: {use: nothing}}\n")
            gateway.process.send_signal(signal.SIGHUP)
            await happened(gateway, "policies_refused", 2)
            for line in events(gateway, "worker_started"):
                os.kill(line["pid"], signal.SIGKILL)
            await happened(gateway, "listening", 4)
            await happened(gateway, "policies_refused", 4)
            assert [await say(gateway, text) for text in ("marlin", "swordfish") * 4] == [400, 200] * 4
            body = (await asyncio.to_thread(read, f"http://127.0.0.1:{admin}/readyz"))[1]
            assert "policy.yaml" in json.loads(body)["refused"][0]


async def test_each_has_its_share_of_the_limits(tmp_path):
    admin = free_port()
    streams = Streams()
    settings = {"workers": 2, "max_concurrent": 4, "max_queued": 0, "admin_port": admin}
    async with Fake(streams) as fake, contextlib.AsyncExitStack() as stack:
        with Gateway(tmp_path, fake.house, POLICY, **settings) as gateway:
            await happened(gateway, "listening", 2)
            wires = [Wire(gateway.port) for _ in range(32)]
            for wire in wires:
                await stack.enter_async_context(wire)
                await wire.post(ask("one", stream=True))
                await wire.read(b"\r\n\r\n")
            assert sorted(wire.status for wire in wires) == [200] * 4 + [503] * 28
            await settled(admin, "outrider_admitted", 4)
            await settled(admin, 'outrider_shed_total{reason="full"}', 28)
            streams.go.set()
            for wire in wires:
                await wire.read()


def test_what_one_cannot_start_with_none_can(tmp_path):
    (tmp_path / "outrider.yaml").write_text(SCRIPTED)
    port = free_port()
    with Gateway(tmp_path, SCRIPTED, workers=2) as gateway:
        done = outrider("serve", "--workers", "2", cwd=tmp_path, port=gateway.port, admin_port=0)
        assert done.returncode == 2
        assert "OUTRIDER_PORT" in done.stderr
    none = outrider("serve", "--workers", "0", cwd=tmp_path, port=port)
    assert none.returncode == 2
    assert "OUTRIDER_WORKERS" in none.stderr
    store = outrider("serve", "--workers", "2", cwd=tmp_path, port=port, admin_port=0, audit_url="sqlite:////proc/x.db")
    assert store.returncode == 2
    assert "receipts cannot be kept" in store.stderr


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"  # a zombie of a parent that is gone waits for init
