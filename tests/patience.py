"""Waiting for what is to happen: as long as a machine that stands still may need, and never for ever."""

import asyncio
from time import monotonic  # the real one, also where a test moves the clock

LONG = 60.0  # seconds; what takes as long does not happen


async def until(condition, why=""):
    """Returns what is true of it in the end."""
    end = monotonic() + LONG
    while not (found := condition()):
        assert monotonic() < end, why or "it did not happen"
        await asyncio.sleep(0.005)
    return found
