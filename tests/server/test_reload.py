"""What changes in the policies' files is seen, whenever it changes."""

import asyncio
import os
import threading

from gateway.config.model import House
from gateway.policy.model import PolicySet
from gateway.server import reload
from gateway.server.app import Gateway
from gateway.server.reload import Reloader, Watched
from gateway.settings import Settings
from tests.patience import until

HOUSE = House.model_validate({"upstreams": {"up": {"scripted": []}}, "default_upstream": "up"})


async def test_a_change_between_the_first_reading_and_the_first_look_is_not_missed(tmp_path):
    """As at a start on a busy machine."""
    file, loaded = tmp_path / "p.yaml", []
    file.write_text("one")
    files = Watched((tmp_path,))
    file.write_text("another")
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {}, keep=lambda _: None)
    reloader = Reloader(lambda: loaded.append(file.read_text()) or PolicySet(()), files)
    running = asyncio.create_task(reloader.run(gateway))
    await until(lambda: loaded == ["another"])
    running.cancel()
    await asyncio.wait({running})


def test_what_counts_as_a_change(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("one")
    files = Watched((tmp_path,))
    assert not files.changed()
    os.utime(file, (1, 1))
    assert [files.changed(), files.changed()] == [True, False]
    (tmp_path / "q.yaml").write_text("")
    assert files.changed()
    file.unlink()
    assert [files.changed(), files.changed()] == [True, False]


async def test_who_asks_is_not_kept_waiting_and_the_thread_that_looks_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(reload, "EVERY", 3600.0)
    loaded = []
    gateway = Gateway(Settings(), HOUSE, PolicySet(()), {}, keep=lambda _: None)
    reloader = Reloader(lambda: loaded.append(1) or PolicySet(()), Watched((tmp_path,)))
    running = asyncio.create_task(reloader.run(gateway))
    for times in (1, 2):
        reloader.ask()
        await until(lambda times=times: len(loaded) == times)
    running.cancel()
    await asyncio.wait({running})
    await until(lambda: not any(thread.name.startswith("reload") for thread in threading.enumerate()))
