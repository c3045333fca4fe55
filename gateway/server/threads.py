"""Where texts are read and judged that the event loop cannot wait for.

All threads have one interpreter between them, and the event loop waits for each that has its turn at it before. So
texts of a size have one thread, and none waits there for a longer one.
"""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Characters. Texts that are made to take long are rid in some 50 ms and 1 s; of more, one may take as long as it likes.
SIZES = (16_384, 262_144)
GIVES_WAY = 0.0005  # seconds after which a thread lets the event loop go on, if that waits

_T = TypeVar("_T")
_threads = [ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("short", "long", "longest")]


async def aside(size: int, work: Callable[..., _T], *given: object, apart: bool = False) -> _T:
    """Have work done on a thread that reads so many characters. Whoever is cancelled leaves it to itself.

    `apart`: it may take its time whatever it reads, and so has a thread that no other text waits for.
    """
    thread = None if apart else _threads[bisect_left(SIZES, size)]
    return await asyncio.get_running_loop().run_in_executor(thread, work, *given)


def give_way() -> None:
    """Have threads let the event loop go on soon, which waits for each up to ten times as long by Python's default."""
    sys.setswitchinterval(GIVES_WAY)
