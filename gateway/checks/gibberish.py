"""Gibberish that a search by machine has found to turn a model: marks that nobody sets side by side, brackets that
nothing closes, and words between them. Code has the marks without the words, prose the words without the marks.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from gateway.checks.hurry import takes

LEAST = 2  # different strange marks, and brackets that are not closed, in one stretch; fewer are no sign
WORDS = 9  # that stand by themselves in such a stretch
STRETCH, STEP = 260, 100  # characters of a stretch, and from one to the next; none goes past the end of its line

_MARKS = re.compile(r"[!-/:-@\[-^`{-~][!-/:-@\[-^`{-~]+")
_AGAIN = re.compile(r"(.)\1+")
_BRACKET = re.compile(r"[()\[\]{}]")
_OPENS = {")": "(", "]": "[", "}": "{"}
_WORD = re.compile(r"(?<!\S)[A-Za-z]{2,}(?=[\s.,;:!?])")


def marks(text: str) -> set[str]:
    """What stands in it of two or more marks side by side."""
    return set(_MARKS.findall(text))


def gibberish(text: str, known: frozenset[str]) -> int:
    """How strange its strangest stretch is: 0, or from `LEAST` on as many as both signs have. `known`: marks that are written."""
    if len(_strange(text, known)) < LEAST:
        return 0
    return max(_of_line(line, known) for line in text.split("\n"))


def _strange(text: str, known: frozenset[str]) -> set[str]:
    """The marks that nobody sets side by side, not counting how often one is said again."""
    once = {mark: _AGAIN.sub(r"\1", mark) for mark in marks(text) - known}
    return {mark for mark, one in once.items() if len(one) > 1 and one not in known}


def _of_line(line: str, known: frozenset[str]) -> int:
    strange = _strange(line, known)
    if len(strange) < LEAST:
        return 0
    loose = _unmatched(line)
    if len(loose) < LEAST:
        return 0
    stand = [(found.start(), found[0]) for found in _MARKS.finditer(line) if found[0] in strange]
    most, places = 0, [at for at, _ in stand]
    for begin in range(max(0, places[0] - STRETCH + STEP), places[-1] + 1, STEP):
        takes(1)
        end = begin + STRETCH
        different = {mark for _, mark in stand[bisect_left(places, begin) : bisect_left(places, end)]}
        signs = min(len(different), bisect_left(loose, end) - bisect_left(loose, begin))
        if signs >= max(LEAST, most + 1) and len(_WORD.findall(line, begin, end)) >= WORDS:
            most = signs
    return most


def _unmatched(line: str) -> list[int]:
    """Where brackets stand that have no partner."""
    opened, loose = list[tuple[str, int]](), list[int]()
    for found in _BRACKET.finditer(line):
        bracket, at = found[0], found.start()
        if bracket not in _OPENS:
            opened.append((bracket, at))
        elif opened and opened[-1][0] == _OPENS[bracket]:
            opened.pop()
        else:
            loose.append(at)
    return sorted(loose + [at for _, at in opened])
