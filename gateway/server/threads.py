"""Where looks are made that the event loop cannot wait for: a long text keeps no thread that a short one needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

LONG = 16_384  # characters; of fewer, even if they are made to take long, a thread is rid in some 50 ms
MOST = 2  # threads for long texts

_T = TypeVar("_T")
_long = ThreadPoolExecutor(MOST, thread_name_prefix="long")


async def aside(size: int, work: Callable[..., _T], *given: object) -> _T:
    """Have work done on a thread that reads so many characters. Whoever is cancelled leaves it to itself."""
    return await asyncio.get_running_loop().run_in_executor(_long if size > LONG else None, work, *given)
