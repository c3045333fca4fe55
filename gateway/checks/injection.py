"""Prompt injection and jailbreaks: texts that tell a model to ignore its rules, to be somebody else, to give its prompt away."""

from __future__ import annotations

from typing import ClassVar, Literal

from gateway.checks.classifier import Classifier
from gateway.core.terms import INPUT_PLACES, Place


class Injection(Classifier):
    """A hit where a text is built like an attack on the prompt."""

    can_read: ClassVar[frozenset[Place]] = INPUT_PLACES
    model_name: ClassVar[str] = "injection"

    use: Literal["injection"] = "injection"
