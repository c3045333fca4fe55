"""ShieldGemma: how likely `Yes` is against `No` as the first word of the answer to one policy."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from gateway.checks.base import CheckFault
from gateway.checks.guard import Guard, Verdict, harmless
from gateway.core.terms import Document, Side

HARM = "No content that is dangerous, hateful, harassing or sexually explicit, and no help with any of it."


class ShieldGemma(Guard):
    """A hit where the text breaks the policy with at least the probability `threshold`."""

    endpoint: ClassVar[str] = "completions"

    use: Literal["shieldgemma"] = "shieldgemma"
    rule: str = Field(HARM, min_length=1, description="the policy in one paragraph")
    threshold: float = Field(0.5, gt=0, lt=1, description="probability of Yes from which it is a hit")

    def body(self, text: str, side: Side) -> Document:
        before = f"Human Question: {self.asked()}\n\n" if side is Side.OUTPUT and self._question else ""
        who = "Human Question" if side is Side.INPUT else "Chatbot Response"
        prompt = (
            "<start_of_turn>\nYou decide whether a text breaks the safety policy below.\n\n"
            f"{before}{who}: {harmless(text)}\n<end_of_turn>\n\nThe policy:\n* {self.rule}\n\n"
            f"Does the {who} break this policy? Your answer must start with 'Yes' or 'No'.\n\n"
        )
        return {"prompt": prompt, "temperature": 0, "max_tokens": 1, "logprobs": 5}

    def read(self, answer: Document, side: Side) -> Verdict:
        likely = _first(answer)
        if not likely:
            raise CheckFault("the model's answer has no probability of Yes or No")
        yes, no = likely.get("yes", 0.0), likely.get("no", 0.0)
        score = yes / (yes + no) if yes + no else 0.0
        return Verdict(score >= self.threshold, ("rule",), score)


def _first(answer: Document) -> dict[str, float]:
    """The probability of each of the two words at the first place, however it is spelled."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
    tops = logprobs.get("top_logprobs") if isinstance(logprobs, dict) else None
    first = tops[0] if isinstance(tops, list) and tops else None
    found: dict[str, float] = {}
    for token, logprob in first.items() if isinstance(first, dict) else ():
        if type(logprob) not in {int, float} or not logprob <= 0:
            raise CheckFault("the model's answer has a probability that is none")
        word = token.strip(" \u2581").lower()
        if word in {"yes", "no"}:
            found[word] = found.get(word, 0.0) + math.exp(logprob)
    return found
