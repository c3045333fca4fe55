"""The metrics of several processes as one: what is counted adds up, states take the worst.

Counts of a process that died stay in the sum: a counter never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Families = dict[str, dict[str, Any]]  # by name: help, type, and the samples as [name, labels, value]

WORST = {"outrider_breaker_state", "outrider_policies_refused"}
KEPT = {"counter", "histogram"}  # what stays of a process that died


def families(registry: Collector) -> Families:
    """What a registry says, as plain values."""
    return {
        metric.name: {
            "help": metric.documentation,
            "type": metric.type,
            "samples": [[sample.name, sample.labels, sample.value] for sample in metric.samples],
        }
        for metric in registry.collect()
    }


def merged(many: Iterable[Families]) -> Families:
    """One from many."""
    whole: Families = {}
    for one in many:
        for name, family in one.items():
            into = whole.setdefault(name, {**family, "samples": []})
            into["samples"] = _added(name, into["samples"], family["samples"])
    return whole


def lasting(one: Families) -> Families:
    """What still counts when its process is gone."""
    return {name: family for name, family in one.items() if family["type"] in KEPT}


def text(whole: Families) -> bytes:
    """As Prometheus reads it."""
    return generate_latest(_Fixed(whole))


def _added(family: str, so_far: list[Any], more: list[Any]) -> list[Any]:
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], list[Any]] = {}
    for name, labels, value in (*so_far, *more):
        key = (name, tuple(labels.items()))
        before = sums.get(key)
        sums[key] = [name, labels, value if before is None else _one(family, name, before[2], value)]
    return list(sums.values())


def _one(family: str, sample: str, one: float, other: float) -> float:
    if sample.endswith("_created"):
        return min(one, other)
    return max(one, other) if family in WORST else one + other


class _Fixed(Collector):
    """A registry that says what it was told."""

    def __init__(self, whole: Mapping[str, Mapping[str, Any]]) -> None:
        self._whole = whole

    def collect(self) -> Iterable[Metric]:
        for name, family in self._whole.items():
            metric = Metric(name, family["help"], family["type"])
            for sample, labels, value in family["samples"]:
                metric.add_sample(sample, labels, value)
            yield metric
