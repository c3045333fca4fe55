"""What the kinds share that score a text by a built-in model, which ships as a small data file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.checks.base import Check
from gateway.checks.concepts import Model
from gateway.checks.texts import paths
from gateway.core.terms import Judgement, Passage

Rate = Annotated[float, Field(gt=0, le=0.05)]


class OperatingPoint(BaseModel):
    """Where on the curve a classifier works."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    fpr: Rate = Field(
        0.01, description="share of ordinary texts that may be hits, on texts like those it was tested on"
    )


class Classifier(Check):
    """A hit where the worst window of a text scores at or above the threshold."""

    model_name: ClassVar[str]
    inline: ClassVar[int] = (
        300  # characters: half a millisecond, also of nothing but attacks, of many disguises, by chance
    )

    threshold: float | None = Field(
        None, gt=0, lt=1, description="score from which it is a hit; absent: operating_point"
    )
    operating_point: OperatingPoint | None = Field(None, description="the false-positive rate to aim at; absent: 0.01")

    @model_validator(mode="after")
    def _one_of(self) -> Classifier:
        if self.threshold is not None and self.operating_point is not None:
            raise ValueError("give either 'threshold' or 'operating_point'")
        model_of(self.model_name)  # read at the start, not during the first request
        return self

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        model, least = model_of(self.model_name), self.least()
        scored = [(model.score(p.text), p) for p in passages if p.path != "model"]
        highest = max((score for score, _ in scored), default=0.0)
        hits = [p for score, p in scored if score >= least]
        return Judgement(bool(hits), (self.model_name,) if hits else (), round(highest, 4), paths(hits))

    def least(self) -> float:
        """The score from which it is a hit: of the points measured, the nearest that is as strict as what was asked for."""
        if self.threshold is not None:
            return self.threshold
        rate = (self.operating_point or OperatingPoint()).fpr
        points = model_of(self.model_name).thresholds
        return points[max((one for one in points if one <= rate), default=min(points))]


@cache
def model_of(name: str) -> Model:
    folder = Path(__file__).with_name("data")
    data = orjson.loads((folder / f"{name}.json").read_bytes())
    return Model(data, (folder / f"{name}.table").read_bytes() if "memory" in data else None)
