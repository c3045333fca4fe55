"""Toxic and harmful texts: hatred, threats, sexual content, and requests for harm, as far as words in a row show it."""

from __future__ import annotations

from typing import ClassVar, Literal

from gateway.checks.classifier import Classifier


class Toxicity(Classifier):
    """A hit where a text is built like hatred, a threat or a request for harm."""

    model_name: ClassVar[str] = "toxicity"

    use: Literal["toxicity"] = "toxicity"
