"""The breaker: opens after failures in a row, probes with one call, and closes only by that probe."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import Breaker, State


def opened():
    breaker = Breaker(failures=2, pause=5)
    for _ in range(2):
        assert breaker.admits(0.0)
        breaker.failed(0.0)
    return breaker


def test_it_opens_after_failures_in_a_row():
    breaker = Breaker(failures=2, pause=5)
    breaker.failed(0)
    breaker.succeeded()
    breaker.failed(1)
    assert breaker.admits(1)
    breaker.failed(2)
    assert not breaker.admits(2)
    assert not breaker.admits(6.9)


def test_one_probe_goes_and_decides():
    breaker = opened()
    assert breaker.admits(5)
    assert not breaker.admits(5)
    breaker.failed(6)
    assert not breaker.admits(10.9)
    assert breaker.admits(11)
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    breaker.failed(12)
    assert breaker.admits(12)


def test_a_probe_that_nobody_waited_for_gives_its_place_back():
    breaker = opened()
    assert breaker.admits(5)
    breaker.dropped()
    assert breaker.admits(5.1)


def test_a_straggler_does_not_close_it():
    breaker = opened()
    breaker.succeeded()
    assert not breaker.admits(1)


@given(st.lists(st.tuples(st.sampled_from(["ok", "bad", "gone"]), st.floats(0, 4)), max_size=60))
def test_while_it_is_open_nothing_goes_and_it_never_stays_open(steps):
    breaker, now, last_failure = Breaker(failures=3, pause=5), 0.0, -10.0
    for what, later in steps:
        now += later
        if not breaker.admits(now):
            assert now < last_failure + 5
            continue
        match what:
            case "ok":
                breaker.succeeded()
            case "bad":
                breaker.failed(now)
                last_failure = now
            case "gone":
                breaker.dropped()
    assert breaker.admits(now + 5) or breaker.state is not State.OPEN
