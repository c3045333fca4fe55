"""What `injection` finds of attacks in a disguise, beside the same attacks without one, and of attacks in long documents.

    python benchmarks/injection.py FOLDER [--category direct]

FOLDER holds injection.jsonl.gz (text, positive, category), whose attacks of that category are disguised, and
injection_long.jsonl.gz (text, positive), whose texts are documents with an attack somewhere in them and clean ones.
A disguise counts for the texts that it changes. What is left to chance is drawn by the text itself, so that the same
folder gives the same figures.
"""

from __future__ import annotations

import argparse
import base64
import codecs
import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.checks.classifier import model_of
from gateway.checks.injection import Injection

RATES = (0.01, 0.001)  # of clean documents that are stopped
LEET = {"o": "0", "i": "1", "e": "3", "a": "4", "s": "5", "t": "7"}
MARKS = {"o": "0", "i": "!", "e": "3", "a": "@", "s": "$"}
ANY = {"o": "0", "i": "1!", "e": "3", "a": "4@", "s": "5$", "t": "7", "l": "1"}
LOOK_ALIKES = str.maketrans("aeopc", "\u0430\u0435\u043e\u0440\u0441")
UNSEEN = "\u200b\u200c\u2060"


def apart(text: str, mark: str, gap: str = " ") -> str:
    return gap.join(mark.join(word) for word in text.split(" "))


def leet(text: str, letters: Mapping[str, str], share: float = 1.0) -> str:
    """So many of the letters as one of their marks."""
    chance = random.Random(text)
    return "".join(
        chance.choice(letters[c.lower()]) if c.lower() in letters and chance.random() < share else c for c in text
    )


def mistyped(text: str) -> str:
    """Two letters inside every other longer word have changed places."""
    chance = random.Random(text)

    def typed(word: str) -> str:
        if len(word) < 4 or chance.random() < 0.5:
            return word
        at = chance.randrange(1, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return " ".join(map(typed, text.split(" ")))


def unseen(text: str) -> str:
    chance = random.Random(text)
    return "".join(c + chance.choice(UNSEEN) if chance.random() < 0.5 else c for c in text)


DISGUISES: dict[str, Callable[[str], str]] = {
    "dots between letters": lambda text: apart(text, "."),
    "dashes between letters": lambda text: apart(text, "-"),
    "underscores between letters": lambda text: apart(text, "_"),
    "spaces between letters": lambda text: apart(text, " ", "   "),
    "spaces, no gap between words": lambda text: " ".join(text.replace(" ", "")),
    "tag characters": lambda text: "Hello! " + "".join(chr(0xE0000 + ord(c)) if " " <= c <= "~" else c for c in text),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "look-alikes": lambda text: text.translate(LOOK_ALIKES),
    "unseen characters": unseen,
    "leet": lambda text: leet(text, LEET),
    "leet with @, $ and !": lambda text: leet(text, MARKS),
    "leet of half the letters, 1 for l": lambda text: leet(text, ANY, 0.5),
    "leet of all letters, 1 for l": lambda text: leet(text, ANY),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "percent escapes": quote,
    "unicode escapes": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "backwards": lambda text: text[::-1],
    "backwards, as it says": lambda text: f"Read this backwards: {text[::-1]}",
    "each word backwards": lambda text: " ".join(word[::-1] for word in text.split(" ")),
    "ROT13": lambda text: codecs.encode(text, "rot13"),
    "ROT13, as it says": lambda text: f"Decode this ROT13: {codecs.encode(text, 'rot13')}",
    "mistyped": mistyped,
}


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def share(scores: Sequence[float], least: float) -> float:
    return sum(score >= least for score in scores) / max(1, len(scores))


def disguised(texts: Sequence[str], score: Callable[[str], float], least: float) -> None:
    plain = {text: score(text) for text in texts}
    print("| disguise | texts | found plain | found disguised |\n|---|---:|---:|---:|")
    for name, wear in DISGUISES.items():
        worn = {text: wear(text) for text in texts}
        changed = [text for text in texts if worn[text] != text]
        found = share([score(worn[text]) for text in changed], least)
        print(f"| {name} | {len(changed)} | {share([plain[text] for text in changed], least):.3f} | {found:.3f} |")


def documents(texts: Sequence[dict[str, Any]], score: Callable[[str], float], least: float) -> None:
    attacks = [score(row["text"]) for row in texts if row["positive"]]
    clean = sorted((score(row["text"]) for row in texts if not row["positive"]), reverse=True)
    print("\n| documents | found | clean ones stopped |\n|---|---:|---:|")
    print(f"| at the operating point | {share(attacks, least):.3f} | {share(clean, least):.3f} |")
    for rate in RATES:
        bound = clean[int(rate * len(clean))]
        print(
            f"| where {rate:.1%} of the clean ones are stopped | {sum(s > bound for s in attacks) / max(1, len(attacks)):.3f} | |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--category", default="direct", help="of the attacks that are disguised")
    asked = parser.parse_args()
    score, least = model_of("injection").score, Injection().least()
    labelled = rows(asked.folder / "injection.jsonl.gz")
    attacks = [row["text"] for row in labelled if row["positive"] and row.get("category") == asked.category]
    disguised(attacks, score, least)
    documents([*rows(asked.folder / "injection_long.jsonl.gz")], score, least)


if __name__ == "__main__":
    main()
