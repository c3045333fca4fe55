"""A detector of the FMS guardrails orchestrator: anything that serves its contents contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from gateway.checks.base import Ask, CheckFault, ServiceCall
from gateway.checks.presidio import located
from gateway.checks.service import NO_VERDICT, Service, documents, score_of, stretch, told
from gateway.core.terms import Judgement, Passage, Span


class FmsDetector(Service):
    """A hit for each detection at or above the threshold; it can be cut out."""

    can_rewrite: ClassVar[bool] = True
    most: ClassVar[int | None] = 50_000

    use: Literal["fms_detector"] = "fms_detector"
    detector: str = Field(min_length=1, description="the detector's id")
    threshold: float = Field(0.5, ge=0, le=1, description="score from which it is a hit")
    parameters: dict[str, Any] = Field({}, description="passed to the detector as detector_params")

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        body = {"contents": [p.text for p in passages], "detector_params": self.parameters}
        headers = {"detector-id": self.detector, **self.bearer()}
        answer = await ask.post(ServiceCall(f"{self.url}/api/v1/text/contents", body, headers))
        if not isinstance(answer, list) or len(answer) != len(passages):
            raise CheckFault(NO_VERDICT)
        spans: list[Span] = []
        highest = 0.0
        for passage, listed in zip(passages, answer, strict=True):
            for found in documents(listed):
                score, place = score_of(found), stretch(found, passage.text)
                named = told(found, "detection", str)
                highest = max(highest, score)
                if score >= self.threshold:
                    spans.append(Span(passage.path, *place, named))
        return located(spans, highest)
