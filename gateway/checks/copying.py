"""Words in a row that two texts share."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.checks.texts import plain

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return _WORD.findall(plain(text).casefold())


def shingles(text: str, size: int) -> set[int]:
    """Every run of `size` words, as numbers."""
    said = words(text)
    return {hash(tuple(said[n : n + size])) for n in range(len(said) - size + 1)}


def share(text: str, known: set[int], size: int) -> tuple[int, float]:
    """(how many runs of a text are known, what part of the known ones that is)."""
    found = len(shingles(text, size) & known)
    return found, found / len(known) if known else 0.0


def known_of(texts: Iterable[str], size: int) -> set[int]:
    return {one for text in texts for one in shingles(text, size)}
