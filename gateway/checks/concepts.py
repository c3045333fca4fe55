"""Texts as classes of words in an order: what the built-in classifiers look at.

A lexicon says which words and phrases are of which class. A window of a text is the set of its features: each
class that occurs, and each pair and triple of classes near each other, in their order. A model is a weight for
each feature; the score of a text is that of its worst window, less a little for each e-fold of windows: more of
them give more chances.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from gateway.checks.disguises import readings
from gateway.checks.memory import Kept, Memory
from gateway.checks.texts import FOLDED

BLOCK = 24  # tokens; a window is two blocks, and each block is in two windows
NEAR = 6  # tokens from one class of a pair or triple to the next
BEGIN, QUOTED = "^", "'"  # classes of a place: the first word of a sentence, a word right after a quote
AT_PLACE = 2  # tokens after such a place that count
SHORTEST = 3  # letters of a stem

_MARKS = re.compile("[\u0300-\u036f\u0483-\u0489\u064b-\u065f]")  # accents, as they stand apart
_FAKE = re.compile(
    r"<\|[\w ]{2,30}\|>|\[/?(?:inst|system|user|assistant|admin)\]|<</?sys>>"
    r"|</?(?:system|user|assistant|instructions?|prompt)>"
    r"|^\W{0,6}(?:system|assistant|human|user|developer|instructions?) ?:"
    r"|#{2,} ?(?:system|instruction|assistant|human|response|new|end)"
    r"|-{3,} ?(?:end|begin|start|system|new)|={3,} ?(?:end|begin|start|system|new)",
    re.MULTILINE,
)
_TOKEN = re.compile("\\w+(?:['\u2019](?:t|s|re|m|ve|ll|d)\\b)?|[.!?:;\\n\u3002\uff01\uff1f\"'\u2018\u201c\u00ab`]")
_STOPS = frozenset(".!?:;\n\u3002\uff01\uff1f")
_QUOTES = frozenset("\"'\u2018\u201c\u00ab`")
_NO_SPACES = re.compile("[\u0900-\u0dff\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

Feature = int  # classes as digits of one number
Hit = tuple[int, int]  # token, class


def fold(text: str) -> str:
    """Without case, accents, look-alikes and what is unseen."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", _MARKS.sub("", "".join(map(FOLDED.__getitem__, text))))


class _Word:
    """What a word is, by itself and as the first of a phrase."""

    __slots__ = ("classes", "phrases")

    def __init__(self, classes: Collection[int], phrases: Sequence[tuple[tuple[str, ...], int]]) -> None:
        self.classes = tuple(sorted(classes))
        self.phrases: dict[str, list[tuple[tuple[str, ...], int]]] = {}  # by their second word
        for phrase, number in phrases:
            self.phrases.setdefault(phrase[1], []).append((phrase, number))


def windows(blocks: list[set[Feature]]) -> list[set[Feature]]:
    """Two neighbours each; the only one by itself."""
    return [one | other for one, other in pairwise(blocks)] if len(blocks) > 1 else blocks


class Lexicon:
    """Classes by word, by phrase and, in scripts without spaces, by what a text holds."""

    def __init__(self, classes: Mapping[str, Sequence[str]], triples: Collection[str] = ()) -> None:
        """`triples`: the classes of which triples are features as well."""
        self.names = (BEGIN, QUOTED, *classes)
        self._base = len(self.names) + 1
        number = {name: at for at, name in enumerate(self.names, 1)}
        self._begin, self._quoted = number[BEGIN], number[QUOTED]
        self._core = frozenset(number[name] for name in triples)
        self._words: dict[str, set[int]] = {}
        self._stems: dict[str, set[int]] = {}
        self._phrases: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        unspaced: dict[str, set[int]] = {}
        for name, entries in classes.items():
            for entry in entries:
                self._add(fold(entry).split(), number[name], unspaced)
        self._lengths = sorted({len(stem) for stem in self._stems})
        self._words |= unspaced
        listed = sorted(unspaced, key=len, reverse=True)
        self._unspaced = re.compile("|".join(map(re.escape, listed))) if listed else None
        self._known = Kept[str, _Word | None](self._look_up).__getitem__

    def _add(self, words: list[str], number: int, unspaced: dict[str, set[int]]) -> None:
        if len(words) == 1 and _NO_SPACES.search(words[0]):
            unspaced.setdefault(words[0], set()).add(number)
        elif len(words) == 1 and words[0].endswith("*") and len(words[0]) > SHORTEST:
            self._stems.setdefault(words[0][:-1], set()).add(number)
        elif len(words) == 1:
            self._words.setdefault(words[0], set()).add(number)
        elif words:
            self._phrases.setdefault(words[0], []).append((tuple(words), number))

    def feature(self, name: str) -> Feature:
        """The number of a feature as `override>prior>rules`."""
        told = 0
        for part in name.split(">"):
            told = told * self._base + self.names.index(part) + 1
        return told

    def name(self, feature: Feature) -> str:
        parts: list[str] = []
        while feature:
            feature, digit = divmod(feature, self._base)
            parts.append(self.names[digit - 1])
        return ">".join(reversed(parts))

    def _look_up(self, token: str) -> _Word | None:
        classes = set(self._words.get(token, ()))
        for length in self._lengths:
            if length > len(token):
                break
            classes |= self._stems.get(token[:length], set())
        phrases = self._phrases.get(token, ())
        return _Word(classes, phrases) if classes or phrases else None

    def read(self, text: str) -> tuple[list[Hit], list[str]]:
        """The classes in order, and the tokens."""
        text = _FAKE.sub(" fakemark ", fold(text))
        if self._unspaced is not None and not text.isascii() and _NO_SPACES.search(text):
            text = self._unspaced.sub(r" \g<0> ", text)
        tokens = _TOKEN.findall(text)
        found, last = list[Hit](), len(tokens) - 1
        for at, word in [(at, word) for at, word in enumerate(map(self._known, tokens)) if word is not None]:
            classes = word.classes
            follows = word.phrases.get(tokens[at + 1], ()) if word.phrases and at < last else ()
            for phrase, number in follows:
                if tuple(tokens[at : at + len(phrase)]) == phrase:
                    classes += (number,)
            if classes:
                before = tokens[at - 1] if at else "\n"
                if before in _STOPS:
                    found.append((at, self._begin))
                elif before in _QUOTES:
                    found.append((at, self._quoted))
                found += [(at, number) for number in classes]
        return found, tokens

    def windows(self, text: str) -> list[set[Feature]]:
        """The features of each window of a text."""
        found, tokens = self.read(text)
        return windows(self.blocks(found, len(tokens)))

    def blocks(self, found: list[Hit], count: int) -> list[set[Feature]]:
        """The features of each block of `count` tokens."""
        blocks: list[set[Feature]] = [set() for _ in range(count // BLOCK + 1)]
        for number, (at, one) in enumerate(found):
            block = blocks[at // BLOCK]
            block.add(one)
            self._near(found, number, block)
        return blocks

    def _near(self, found: list[Hit], number: int, block: set[Feature]) -> None:
        """The pairs and triples that begin with a hit."""
        base, core, places = self._base, self._core, (self._begin, self._quoted)
        at, one = found[number]
        reach = at + (AT_PLACE if one in places else NEAR)
        count = len(found)
        for second in range(number + 1, count):
            then, other = found[second]
            if then > reach:
                return
            if other in places or other == one:
                continue
            pair = one * base + other
            block.add(pair)
            if one in core and other in core and then > at:
                for third in range(second + 1, count):
                    last, next_one = found[third]
                    if last > then + NEAR:
                        break
                    if next_one in core and last > then and next_one not in {one, other}:
                        block.add(pair * base + next_one)


class Model:
    """A weight for each feature, and a memory of what was seen. Scores are from 0 to 1."""

    def __init__(self, data: Mapping[str, Any], table: bytes | None = None) -> None:
        """`data`: classes, triples, weights by the feature's name, bias, length, thresholds by false-positive rate.

        `table`, with `memory` in `data`, is what it remembers; without one it remembers nothing.
        """
        self.lexicon = Lexicon(data["classes"], data["triples"])
        self._weights = {self.lexicon.feature(name): float(weight) for name, weight in data["weights"].items()}
        self._bias, self._length = float(data["bias"]), float(data["length"])
        self._memory = None if table is None else Memory(table, **data["memory"])
        self.thresholds: Mapping[float, float] = {float(rate): t for rate, t in data["thresholds"].items()}

    def score(self, text: str) -> float:
        scores = [score for reading in readings(text) for score in self._each(reading)]
        worst = self._bias + max(scores) - self._length * math.log(len(scores))
        return 1 / (1 + math.exp(-min(max(worst, -50.0), 50.0)))

    def _each(self, text: str) -> list[float]:
        found, tokens = self.lexicon.read(text)
        weights, blocks = self._weights, self.lexicon.blocks(found, len(tokens))
        known = [sum([weights.get(feature, 0.0) for feature in window]) for window in windows(blocks)]
        if self._memory is None:
            return known
        recalled = self._memory.recall(self._memory.blocks(tokens, blocks, BLOCK))
        return [one + other for one, other in zip(known, recalled, strict=True)]
