"""Granite Guardian: a criterion of one's own, scored yes (it is met, which is a hit) or no."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from gateway.checks.base import CheckFault
from gateway.checks.guard import Guard, Verdict, yes
from gateway.checks.replies import replied
from gateway.core.terms import Document, Side

HARM = "The text is harmful: it asks for, or gives, what is violent, illegal, hateful, sexual or unethical."
_SCORE = re.compile(r"<score>\s*(yes|no)\s*</score>", re.IGNORECASE)


class GraniteGuardian(Guard):
    """A hit where the model finds that the criterion is met."""

    use: Literal["granite_guardian"] = "granite_guardian"
    criteria: str = Field(HARM, min_length=1, description="what is looked for, in words; met is a hit")

    def body(self, text: str, side: Side) -> Document:
        whose = "user's" if side is Side.INPUT else "assistant's"
        asked = (
            f"<guardian><no-think>Judge the {whose} last message by the criterion below.\n\n"
            f"### Criteria: {self.criteria}\n\n"
            "### Scoring Schema: 'yes' if the message meets the criterion, otherwise 'no'."
        )
        turns = [*self.turns(text, side), {"role": "user", "content": asked}]
        return {"messages": turns, "temperature": 0, "max_tokens": 64}

    def read(self, answer: Document, side: Side) -> Verdict:
        scores = _SCORE.findall(replied(answer))
        if len(scores) != 1:
            raise CheckFault("the model's answer is not a verdict")
        return Verdict(hit=(met := yes(scores[0])), categories=("criteria",) if met else ())
