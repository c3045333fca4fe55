"""What is counted by hand is told as the library would have told it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gateway.server.metrics import SECONDS, Registry, Seconds


def told(registry: CollectorRegistry) -> list[str]:
    return [
        line for line in generate_latest(registry).decode().splitlines() if not line.startswith("x_seconds_created")
    ]


@given(st.lists(st.one_of(st.sampled_from(SECONDS), st.floats(0, 100))))
def test_seconds_are_told_as_a_histogram_of_the_library_tells_them(took):
    ours, theirs = Registry(), CollectorRegistry()
    seconds = Seconds("x_seconds", "How long", ours)
    histogram = Histogram("x_seconds", "How long", buckets=SECONDS, registry=theirs)
    for one in took:
        seconds.observe(one)
        histogram.observe(one)
    assert told(ours) == told(theirs)
