"""Synthesize: candidates, then an aggregator that writes one answer from them, streamed while it writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from gateway.core.terms import Document
from gateway.fanout import prompts
from gateway.fanout.base import Facts, Model, Panel
from gateway.fanout.best_of import Collecting
from gateway.fanout.contest import Effect, Follow, Run, Task


class Aggregator(Model):
    model: str = Field(min_length=1)
    prompt: str = Field("", description="its system message; default: one that lets it overrule the majority")


class Synthesize(Panel):
    """The aggregator's answer to the client's own request, with the candidates as material."""

    strategy: Literal["synthesize"] = "synthesize"
    aggregator: Aggregator

    def models(self) -> Mapping[str, str]:
        return {**super().models(), "aggregator.model": self.aggregator.model}

    def contest(self, asked: Document, facts: Facts) -> SynthesizeContest:
        return SynthesizeContest(self, asked, facts)


class SynthesizeContest(Collecting):
    def __init__(self, settings: Synthesize, asked: Document, facts: Facts) -> None:
        super().__init__(settings, asked, facts)
        self._settings = settings

    def chosen(self, candidates: list[Run]) -> list[Effect]:
        texts = [run.answer.text for run in candidates if run.answer]
        aggregator = self._settings.aggregator
        document = prompts.aggregate(self._asked, texts, seed=self._facts.seed, prompt=aggregator.prompt)
        opened = self.open(Task("aggregator", aggregator.model, document, role="aggregator", live=True))
        if not opened:
            return self.fail("no_budget", "Nothing is left of the budget for the aggregator")
        self.report.decision, self.report.winner = self.report.decision or "decided", "aggregator"
        return [*self.end(keep="aggregator"), *opened, Follow("aggregator")]

    def second(self, run: Run) -> list[Effect]:
        return []
