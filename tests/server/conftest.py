"""Clocks for tests that are about time: what is to be late is late, however fast or slow the machine."""

import asyncio
import time

import pytest


class Moved:
    """The real time, and as much as it was moved on; the loop and whoever asks for the time go by it."""

    def __init__(self):
        self._ahead = 0.0
        self._real = time.monotonic

    def __call__(self):
        return self._real() + self._ahead

    def leap(self, seconds):
        self._ahead += seconds


@pytest.fixture
def leap(monkeypatch):
    """`leap(seconds)`: it is so much later. A deadline that no machine misses is over when all stands as it should."""
    clock = Moved()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock.leap


@pytest.fixture
async def idle_time(monkeypatch):
    """Time passes only where nobody has anything else to do, and then at once: for tests without sockets and threads."""
    now = time.monotonic()
    selector = asyncio.get_running_loop()._selector
    real = selector.select

    def select(timeout=None):
        nonlocal now
        found = real(timeout and 0)
        if not found and timeout:
            now += timeout
        return found

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(selector, "select", select)
