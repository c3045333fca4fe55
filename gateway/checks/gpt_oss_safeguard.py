"""gpt-oss-safeguard: reasons about a written policy of one's own and ends in one word."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from gateway.checks.base import CheckFault
from gateway.checks.beside import Beside
from gateway.checks.guard import Guard, Verdict, harmless
from gateway.checks.replies import replied
from gateway.core.terms import Document, Side

LABELS = {"VIOLATION": True, "SAFE": False}
ENDING = "Answer with exactly one word: VIOLATION if the text breaks this policy, SAFE if it does not."


class GptOssSafeguard(Guard):
    """A hit where the model finds that the policy is broken."""

    use: Literal["gpt_oss_safeguard"] = "gpt_oss_safeguard"
    rules: Beside = Field(description="a file with the policy to judge by, beside this one")
    effort: Literal["low", "medium", "high"] = Field("low", description="how much the model reasons")
    max_tokens: int = Field(2048, ge=16, le=32768, description="of its reasoning and its answer")

    _policy: str = PrivateAttr(default="")

    def model_post_init(self, _context: Any) -> None:
        self._policy = Path(self.rules).read_text(encoding="utf-8").strip()

    def read_from(self) -> str:
        return self._policy

    def body(self, text: str, side: Side) -> Document:
        turns = [
            {"role": "system", "content": f"{self._policy}\n\n{ENDING}"},
            {"role": "user", "content": harmless(text)},
        ]
        return {
            "messages": turns,
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "reasoning_effort": self.effort,
        }

    def read(self, answer: Document, side: Side) -> Verdict:
        label = replied(answer).strip("*`\"'. \n").upper()
        if label not in LABELS:
            raise CheckFault("the model's answer is not a verdict")
        return Verdict(LABELS[label], ("rules",))
