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
from itertools import chain
from typing import Any

from gateway.checks.disguises import readings
from gateway.checks.gibberish import gibberish
from gateway.checks.hurry import takes
from gateway.checks.memory import Kept, Lately, Memory, digest_of
from gateway.checks.texts import FOLDED
from gateway.checks.vocabulary import Vocabulary

BLOCK = 24  # tokens at most; a block ends with a line
FEWEST = 8  # tokens of a block that ends with a line before it is full
WINDOW = 48  # tokens; a window is as many blocks as fit, two at least
NEAR = 6  # tokens from one class of a pair or triple to the next
BEGIN, QUOTED = "^", "'"  # classes of a place: the first word of a sentence, a word right after a quote
AT_PLACE = 2  # tokens after such a place that count
SHORTEST = 3  # letters of a stem
SCORED = 4_096  # texts whose score is known

_MARKS = re.compile("[\u0300-\u036f\u0483-\u0489\u064b-\u065f]")  # accents, as they stand apart
_ROLE = re.compile(r"^\W{0,6}(?:system|assistant|human|user|developer|instructions?) ?:", re.MULTILINE)
_FAKE = re.compile(
    r"<\|[\w ]{2,30}\|>|\[/?(?:inst|system|user|assistant|admin)\]|<</?sys>>"
    r"|</?(?:system|user|assistant|instructions?|prompt)>"
    r"|#(?<!##)#+ ?(?:system|instruction|assistant|human|response|new|end)"
    r"|-(?<!--)--+ ?(?:end|begin|start|system|new)|=(?<!==)==+ ?(?:end|begin|start|system|new)"
)  # each part begins with a character, and a row of them is looked at once
_TOKEN = re.compile("\\w+(?:['\u2019](?:t|s|re|m|ve|ll|d)\\b)?|[.!?:;\\n\u3002\uff01\uff1f\"'\u2018\u201c\u00ab`]")
_STOPS = frozenset(".!?:;\n\u3002\uff01\uff1f")
_QUOTES = frozenset("\"'\u2018\u201c\u00ab`")
_NO_SPACES = re.compile("[\u0900-\u0dff\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

Feature = int  # classes as digits of one number
Hit = tuple[int, int]  # token, class
Span = tuple[int, int]  # the first block of a window, and the one past its last


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


def begins(tokens: Sequence[str]) -> list[int]:
    """The first token of each block. Whoever hides an attack in a document gives it a line of its own."""
    starts, start = [0], 0
    for end in [*[at for at, said in enumerate(tokens, 1) if said == "\n"], len(tokens)]:
        while end - start > BLOCK:
            start += BLOCK
            starts.append(start)
        if end - start >= FEWEST and end < len(tokens):
            start = end
            starts.append(start)
    return starts


def spans(starts: Sequence[int], count: int) -> list[Span]:
    """The windows of `count` tokens in blocks that begin at `starts`; none is part of another."""
    found, ends, end = list[Span](), [*starts[1:], count], 0
    for first, start in enumerate(starts):
        before, end = end, max(end, min(first + 2, len(ends)))
        while end < len(ends) and ends[end] - start <= WINDOW:
            end += 1
        if end > before:
            found.append((first, end))
    return found


def windows(blocks: Sequence[set[Feature]], runs: Sequence[Span]) -> list[set[Feature]]:
    """The features of each window."""
    return [blocks[first].union(*blocks[first + 1 : end]) for first, end in runs]


class Lexicon:
    """Classes by word, by phrase and, in scripts without spaces, by what a text holds."""

    def __init__(self, classes: Mapping[str, Sequence[str]], triples: Collection[str] = ()) -> None:
        """`triples`: the classes of which triples are features as well."""
        self.names = (BEGIN, QUOTED, *classes)
        self.vocabulary = Vocabulary(chain.from_iterable(classes.values()))
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
        self._mended = Kept[str, str](self.vocabulary.mended).__getitem__

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
        text = _FAKE.sub(" fakemark ", _ROLE.sub(" fakemark ", fold(text)))
        if self._unspaced is not None and not text.isascii() and _NO_SPACES.search(text):
            text = self._unspaced.sub(r" \g<0> ", text)
        tokens = list(map(self._mended, _TOKEN.findall(text)))
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
        starts = begins(tokens)
        return windows(self.blocks(found, starts), spans(starts, len(tokens)))

    def blocks(self, found: list[Hit], starts: Sequence[int]) -> list[set[Feature]]:
        """The features of each block; `starts`: the token that each begins with."""
        takes(sum([one in self._core for _, one in found]) // 2)  # where they stand close, each begins many triples
        blocks: list[set[Feature]] = [set() for _ in starts]
        place, ends = 0, [*starts[1:], math.inf]
        for number, (at, one) in enumerate(found):
            while at >= ends[place]:
                place += 1
            block = blocks[place]
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
        """`data`: classes, triples, weights by the feature's name, bias, length, thresholds by false-positive rate;
        `marks` that are written side by side, and `strange`, what each sign of gibberish says, if it looks for it.

        `table`, with `memory` in `data`, is what it remembers; without one it remembers nothing.
        """
        self.lexicon = Lexicon(data["classes"], data["triples"])
        self._weights = {self.lexicon.feature(name): float(weight) for name, weight in data["weights"].items()}
        self._weighty = frozenset(self._weights)
        self._bias, self._length = float(data["bias"]), float(data["length"])
        self._marks, self._strange = frozenset(data.get("marks", ())), float(data.get("strange", 0))
        self._memory = None if table is None else Memory(table, **data["memory"])
        self._scored = Lately[bytes, float](SCORED)  # by digest: no text is kept
        self.thresholds: Mapping[float, float] = {float(rate): t for rate, t in data["thresholds"].items()}

    def score(self, text: str) -> float:
        """From 0 to 1. Of texts that were scored lately it is known: each turn of a conversation brings all before it."""
        key = digest_of(text)
        score = self._scored.get(key)
        if score is None:
            self._scored[key] = score = self._score(text)
        return score

    def _score(self, text: str) -> float:
        worst = self._bias + max(map(self._worst, readings(text, self.lexicon.vocabulary)))
        if self._strange:
            worst = max(worst, self._strange * (gibberish(text, self._marks) or -math.inf))
        return 1 / (1 + math.exp(-min(max(worst, -50.0), 50.0)))

    def _worst(self, text: str) -> float:
        """What is said of its worst window, less what so many windows are worth."""
        found, tokens = self.lexicon.read(text)
        starts = begins(tokens)
        weights, blocks, runs = self._weights, self.lexicon.blocks(found, starts), spans(starts, len(tokens))
        takes(0)
        weighty = [block & self._weighty for block in blocks]
        said = [sum(map(weights.__getitem__, window)) for window in windows(weighty, runs)]
        if self._memory is not None:
            recalled = self._memory.recall(self._memory.blocks(tokens, blocks, starts), runs)
            said = [one + other for one, other in zip(said, recalled, strict=True)]
        return max(said) - self._length * math.log(len(said))
