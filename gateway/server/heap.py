"""What the process keeps of the memory that it does not need: the collector looks at less, the system gets the rest."""

from __future__ import annotations

import ctypes
import gc

GARBAGE = 10_000  # objects that a collection waits for: the small share of them that a request leaves behind
# What glibc's malloc is told, by the numbers of its <malloc.h>: to keep so many bytes of what was freed for what comes
# next, and to take smaller blocks from there. Else it learns both from the blocks that it sees, and with bodies of
# 200 KB it gives back and asks for the same pages with each request.
MALLOC = {-1: 16 * 1024**2, -3: 4 * 1024**2}  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_c = ctypes.CDLL(None)
_trim = getattr(_c, "malloc_trim", None)  # glibc's


def settle() -> None:
    """What start-up made is never looked at by the collector again, and what it needed for a moment is given back.

    Little that a request makes refers to itself, so the collector need not look after every second of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    give_back()  # 3 MiB that compiling patterns took
    if _trim is not None:
        for what, size in MALLOC.items():
            _c.mallopt(what, size)


def give_back() -> None:
    """Free memory goes back to the system. It takes a millisecond or less, and who asks next takes it anew."""
    if _trim is not None:
        _trim(0)
