"""What a model that was asked by a check answered: its one text, and what that cost."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.checks.base import CheckFault
from gateway.core.terms import Document

_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


def only_choice(answer: Document) -> Document:
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise CheckFault("the model's answer is not one choice")
    choice: Document = choices[0]
    if choice.get("finish_reason") not in ("stop", None):
        raise CheckFault("the model's answer is not a verdict")
    return choice


def replied(answer: Document) -> str:
    """The text of a chat's or a completion's only choice, without its thinking."""
    choice = only_choice(answer)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if not isinstance(text, str):
        raise CheckFault("the model's answer is not a verdict")
    return _THINKING.sub("", text, count=1).strip()


def usage_of(answer: Document) -> Mapping[str, int] | None:
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    return {name: count for name, count in usage.items() if type(count) is int}
