"""The language of a text, told by a model that the extra `language` brings along; nothing is downloaded."""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Any

from gateway.checks.hurry import takes

EXTRA = "telling languages needs the extra: pip install 'outrider[language]'"
NO_LANGUAGE = "zxx"  # numbers, code
NEAR = {"nn": "no", "yue": "zh", "wuu": "zh", "uzs": "uz", "arz": "ar", "ary": "ar"}  # told with the larger one
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_WORD = re.compile(r"\S+")


@cache
def model() -> Any:
    """The model, read once: half a second and 90 MB. Raises ValueError without the extra."""
    try:
        langid = importlib.import_module("py3langid.langid")
    except ImportError:
        raise ValueError(EXTRA) from None
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def known() -> frozenset[str]:
    """The ISO 639 codes that it tells apart. Raises ValueError without the extra."""
    return frozenset(model().labels) - {NO_LANGUAGE} - NEAR.keys()


def version() -> str:
    return str(importlib.import_module("py3langid").__version__)


def prose(text: str) -> str:
    """Without code, links and addresses; word by word, so that the time is in proportion to the text."""
    return _WORD.sub(lambda found: " " if _leads(found[0]) else found[0], _CODE.sub(" ", text))


def _leads(word: str) -> bool:
    """Whether it is a link or an address, with something before and after its marks."""
    if 0 <= word.find("://", 1) < len(word) - 3:
        return True
    at = word.find("@", 1)
    return at > 0 and word.find(".", at + 2, len(word) - 1) > 0


def language_of(text: str, certainty: float) -> str | None:
    """The ISO 639 code of a text's language; None where there is none, or it is not told with this certainty."""
    takes(1 + len(text) // 40)
    told: dict[str, float] = {}
    for code, probability in model().rank(prose(text)):
        name = NEAR.get(code, code)
        told[name] = told.get(name, 0.0) + probability
    best = max(told, key=told.__getitem__)
    return best if best != NO_LANGUAGE and told[best] >= certainty else None
