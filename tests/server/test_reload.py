"""What changes in the policies' files is seen, whenever it changes."""

import asyncio
import os

from gateway.config.model import House
from gateway.policy.model import PolicySet
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
