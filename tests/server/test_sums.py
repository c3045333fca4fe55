"""Metrics of several processes: counts add up and never go back, states take the worst; messages come out whole."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.server.line import Unpacking, packed
from gateway.server.sums import families, lasting, merged, text


def registry(requests, seconds, in_flight, breaker):
    made = CollectorRegistry()
    counter = Counter("outrider_requests", "Requests", ["decision"], registry=made)
    for decision, number in requests.items():
        counter.labels(decision).inc(number)
    histogram = Histogram("outrider_seconds", "Seconds", buckets=(1, 2), registry=made)
    for one in seconds:
        histogram.observe(one)
    Gauge("outrider_in_flight", "Under way", registry=made).set(in_flight)
    Gauge("outrider_breaker_state", "Breakers", ["target"], registry=made).labels("up").set(breaker)
    return made


def lines(made):
    return {line for line in made.decode().splitlines() if "_created" not in line}


def test_two_processes_say_what_one_would():
    one = registry({"released": 3, "blocked": 1}, [0.5, 1.5], 2, 0)
    other = registry({"released": 4}, [5.0], 1, 2)
    both = registry({"released": 7, "blocked": 1}, [0.5, 1.5, 5.0], 3, 2)
    assert lines(text(merged([families(one), families(other)]))) == lines(generate_latest(both))


def test_of_a_dead_process_the_counts_stay_and_the_states_go():
    dead = lasting(families(registry({"released": 3}, [0.5], 2, 2)))
    told = lines(text(merged([dead, families(registry({"released": 1}, [], 0, 0))])))
    assert 'outrider_requests_total{decision="released"} 4.0' in told
    assert "outrider_seconds_count 1.0" in told
    assert "outrider_in_flight 0.0" in told
    assert 'outrider_breaker_state{target="up"} 0.0' in told


@given(
    messages=st.lists(st.dictionaries(st.text(max_size=5), st.integers(0, 10**6)), max_size=5), cut=st.integers(1, 9)
)
def test_messages_come_out_whole_however_they_are_cut(messages, cut):
    data = b"".join(map(packed, messages))
    unpacking = Unpacking()
    found = []
    for start in range(0, len(data), cut):
        found += unpacking.feed(data[start : start + cut])
    assert found == messages
