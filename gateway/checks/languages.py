"""The language of a text, told by a model that the extra `language` brings along; nothing is downloaded."""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Any

EXTRA = "telling languages needs the extra: pip install 'outrider[language]'"
NO_LANGUAGE = "zxx"  # numbers, code
NEAR = {"nn": "no", "yue": "zh", "wuu": "zh", "uzs": "uz", "arz": "ar", "ary": "ar"}  # told with the larger one
_NO_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\S+://\S+|\S+@\S+\.\S+", re.DOTALL)  # code, links, addresses


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


def language_of(text: str, certainty: float) -> str | None:
    """The ISO 639 code of a text's language; None where there is none, or it is not told with this certainty."""
    told: dict[str, float] = {}
    for code, probability in model().rank(_NO_PROSE.sub(" ", text)):
        name = NEAR.get(code, code)
        told[name] = told.get(name, 0.0) + probability
    best = max(told, key=told.__getitem__)
    return best if best != NO_LANGUAGE and told[best] >= certainty else None
