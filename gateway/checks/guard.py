"""What the kinds share that ask a guard model: how it is asked, and the one text that it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from pydantic import Field

from gateway.checks.base import Ask, Check, CheckFault
from gateway.checks.replies import usage_of
from gateway.checks.texts import spoken
from gateway.core.terms import Document, Judgement, Lane, Passage, Side
from gateway.yamlfile import did_you_mean

UNSEEN = "(not shown)"  # in the place of the question, for a check that reads the answer alone
_TURNS = re.compile(r"<(?=/?(?:\||start_of_turn|end_of_turn|s>|guardian|eos|bos|pad))|\[(?=/?INST\])", re.IGNORECASE)


class Verdict(NamedTuple):
    hit: bool
    categories: tuple[str, ...] = ()
    score: float | None = None


class Guard(Check):
    """A model that was trained to say whether a text is safe, behind any OpenAI-compatible server."""

    local: ClassVar[bool] = False
    lane: ClassVar[Lane] = Lane.WINDOW
    most: ClassVar[int | None] = 12_000  # some 3,000 tokens: guards have been trained on short texts
    endpoint: ClassVar[str] = "chat"
    takes_question: ClassVar[bool] = True

    model: str = Field(min_length=1, description="a model of the house")

    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def body(self, text: str, side: Side) -> Document:
        """The request that puts `text`, which people wrote (input) or a model (output)."""
        raise NotImplementedError

    def read(self, answer: Document, side: Side) -> Verdict:
        """Its verdict. Raises CheckFault for an answer that is none."""
        raise NotImplementedError

    def turns(self, text: str, side: Side) -> list[Document]:
        """The turns of a chat template that judges its last one."""
        text = harmless(text)
        if side is Side.INPUT:
            return [{"role": "user", "content": text}]
        return [{"role": "user", "content": self.asked()}, {"role": "assistant", "content": text}]

    def asked(self) -> str:
        """The question before an answer."""
        return harmless(self._question) or UNSEEN

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        told = [p for p in (spoken(passages) or passages) if p.path != "model"]
        side = told[0].place.side if told else Side.INPUT
        answer = await ask(self.endpoint, self.model, self.body("\n\n".join(p.text for p in told), side))
        hit, categories, score = self.read(answer, side)
        return Judgement(hit, categories if hit else (), score=score, usage=usage_of(answer))


def harmless(text: str) -> str:
    """What would end the turn that the text stands in does not: servers read the marks of a turn in texts too."""
    return _TURNS.sub(lambda found: found[0] + " ", text)


def fields(text: str) -> dict[str, str]:
    """`Name: value` lines; a name in lower case. A line that is none, or a name said twice: CheckFault."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or name in found:
            raise CheckFault("the model's answer is not a verdict")
        found[name] = value.strip()
    return found


def yes(word: str | None) -> bool:
    match (word or "").lower():
        case "yes":
            return True
        case "no":
            return False
    raise CheckFault("the model's answer is not a verdict")


def known(categories: list[str] | None, of: Sequence[str]) -> list[str] | None:
    for name in categories or ():
        if name not in of:
            raise ValueError(f"there is no category '{name}'{did_you_mean(name, of)}")
    return categories
