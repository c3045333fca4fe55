"""The receipt: what overlapped, what is told to the client, when it is written, what of it is kept."""

import tracemalloc

from gateway.core.terms import Examine, Finding, Judgement, Outcome, Passage, Place
from gateway.server.record import Receipt, new_id
from gateway.server.upstream import CallRecord
from tests.world import watch


def receipt_with(looks, calls):
    receipt = Receipt(started=100.0)
    for name, start, end in looks:
        look = receipt.look(Examine(watch(name), (Passage("p", Place.USER, "SECRETTEXT"),)))
        look.started, look.ended = start, end
        look.finding = Finding(look.watch, Outcome.CLEAR, Judgement(False))
    receipt.calls = [CallRecord("only", "up", "m", started=a, ended=b) for a, b in calls]
    return receipt


def test_hidden_is_the_time_in_which_checks_and_completion_ran_at_once():
    assert receipt_with([("a", 100, 101)], [(100, 103)]).hidden() == 1
    assert receipt_with([("a", 100, 101), ("b", 100.5, 102)], [(100, 103)]).hidden() == 2
    assert receipt_with([("a", 100, 104)], [(101, 103)]).hidden() == 2
    assert receipt_with([("a", 100, 101)], [(102, 103)]).hidden() == 0
    assert receipt_with([], [(102, 103)]).hidden() == 0


def test_headers_hold_no_text():
    receipt = receipt_with([("pol.a", 100, 101)], [(100, 103)])
    receipt.policies = ("pol@1",)
    headers = receipt.headers()
    assert headers["x-outrider-checks"] == "pol.a=clear"
    assert headers["server-timing"] == "checks;dur=1000.0, upstream;dur=3000.0, hidden;dur=1000.0"
    assert "SECRETTEXT" not in repr(headers) + repr(receipt.lines())


def test_it_is_written_once_when_the_last_late_look_is_over():
    kept = []
    receipt = Receipt(keep=kept.append)
    receipt.late = 2
    receipt.late_ended()
    receipt.settle()
    assert kept == []
    receipt.late_ended()
    assert kept == [receipt]


def test_ids_are_unique():
    assert len({new_id() for _ in range(1000)}) == 1000


def test_nothing_is_kept_of_keys_that_a_client_made_up():
    """Each may be as long as a body."""
    tracemalloc.start()
    try:
        for number in range(20):
            receipt = Receipt()
            key = str(number) + "k" * 1_000_000
            receipt.look(Examine(watch("a"), (Passage(f"metadata.{key}.x", Place.OTHER_INPUT, "x"),)))
            assert receipt.lines()["checks"][0]["read"] == ["metadata.*.x"]
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
    finally:
        tracemalloc.stop()
