"""What the process keeps of the memory that it does not need: the collector looks at less, the system gets the rest."""

from __future__ import annotations

import ctypes
import gc

GARBAGE = 10_000  # objects that a collection waits for: the small share of them that a request leaves behind
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's


def settle() -> None:
    """What start-up made is never looked at by the collector again, and what it needed for a moment is given back.

    Little that a request makes refers to itself, so the collector need not look after every second of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    give_back()  # 3 MiB that compiling patterns took


def give_back() -> None:
    """Free memory goes back to the system. It takes a millisecond or less, and who asks next takes it anew."""
    if _trim is not None:
        _trim(0)
