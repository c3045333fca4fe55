"""The gate by itself: marks, order and the bytes it holds."""

from gateway.core.gate import Gate
from gateway.core.terms import Lane, Place
from tests.world import delta, watch

tone = watch("tone", "output")


def test_marks_are_by_channel_and_never_move_back():
    think = watch("think", "output", places={Place.CONTENT, Place.REASONING})
    gate = Gate([think])
    gate.open()
    gate.hold(delta("abc"))
    gate.hold(delta("de", channel="reasoning"))
    gate.clear(think, {"content": 3})
    gate.clear(think, {"content": 1, "reasoning": 1})
    assert [d.pieces[0].text for d in gate.release(complete=False)] == ["abc"]
    gate.clear(think, {"reasoning": 2})
    assert [d.pieces[0].text for d in gate.release(complete=False)] == ["de"]


def test_a_prefix_that_is_cleared_goes_and_the_rest_stays():
    gate = Gate([tone])
    gate.open()
    gate.hold(delta("abc", size=5))
    gate.hold(delta("def", size=6))
    gate.clear(tone, {"content": 4})
    assert gate.held == 11
    assert len(gate.release(complete=False)) == 1
    assert gate.held == 6


def test_a_closed_gate_lets_nothing_go():
    gate = Gate([])
    gate.hold(delta("abc"))
    assert gate.release(complete=True) == []
    gate.open()
    assert len(gate.release(complete=False)) == 1


def test_what_does_not_hold_does_not_count():
    gate = Gate([watch("after", "output", lane=Lane.AFTER), watch("quiet", "output", shadow=True)])
    assert not gate.holding
    assert Gate([tone]).holding
    gate.clear(watch("after", "output", lane=Lane.AFTER), {"content": 3})


def test_a_mark_at_nothing_clears_nothing():
    gate = Gate([tone])
    gate.open()
    gate.clear(tone, {"content": 0})
    gate.hold(delta("a"))
    assert gate.release(complete=False) == []
