"""The gate by itself: marks, order and the bytes it holds."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

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


class Frames:
    """Several frames of one running text, as one."""

    def __init__(self, texts):
        self.texts = texts

    @property
    def ends(self):
        return list(itertools.accumulate(map(len, self.texts)))

    def parted(self, number):
        return Frames(self.texts[:number]).delta, Frames(self.texts[number:]).delta

    @property
    def delta(self):
        several = self if len(self.texts) > 1 else None
        return replace(delta("".join(self.texts), size=10 * len(self.texts)), frame=self.texts, several=several)


words = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5)
shown = [watch("one", "output"), watch("two", "output", local=False)]
steps = st.lists(st.one_of(words, st.tuples(st.sampled_from(shown), st.integers(0, 40))), max_size=12)


@given(steps, st.sampled_from([None, 2, 3]))
def test_frames_that_came_as_one_go_as_each_would_by_itself(happens, shrinks):
    """`shrinks`: placeholders became values, so that what a client reads is that much shorter."""
    together, apart = Gate(shown), Gate(shown)
    for gate in (together, apart):
        gate.open()
        if shrinks is not None:
            gate.restore(watch("restorer", "output"), lambda _, end: end // shrinks)
            gate.excuse(watch("restorer", "output"))
    went = [[], []]
    for one in happens:
        if isinstance(one, list):
            together.hold(Frames(one).delta)
            for text in one:
                apart.hold(Frames([text]).delta)
        else:
            for gate in (together, apart):
                gate.clear(one[0], {"content": one[1]})
        for gone, gate in zip(went, (together, apart), strict=True):
            gone += [text for released in gate.release(complete=False) for text in released.frame]
        assert went[0] == went[1]
        assert together.held == apart.held


def test_a_mark_at_nothing_clears_nothing():
    gate = Gate([tone])
    gate.open()
    gate.clear(tone, {"content": 0})
    gate.hold(delta("a"))
    assert gate.release(complete=False) == []


def texts(gate):
    return [one.pieces[0].text for one in gate.release(complete=False)]


def test_frames_that_came_as_one_part_where_one_check_has_cleared_them():
    gate = Gate([tone])
    gate.open()
    gate.hold(delta("before "))
    gate.hold(Frames(["ab", "c", "def"]).delta)
    gate.clear(tone, {"content": 9})
    assert texts(gate) == ["before ", "ab"]
    gate.clear(tone, {"content": 12})
    assert texts(gate) == ["c"]
    gate.clear(tone, {"content": 13})
    assert texts(gate) == ["def"]
    assert gate.held == 0


def test_where_values_stand_again_local_checks_count_by_what_a_client_reads():
    """A client reads ten characters more from the third on."""
    local = watch("local", "output")
    remote, restorer = (watch(name, "output", local=False) for name in ("remote", "back"))
    gate = Gate([local, remote])
    gate.restore(restorer, lambda _, end: end if end < 3 else end + 10)
    gate.open()
    gate.hold(delta("abc"))
    gate.clear(restorer, {"content": 3})
    gate.clear(remote, {"content": 3})
    gate.clear(local, {"content": 12})
    assert texts(gate) == []
    gate.clear(local, {"content": 13})
    assert texts(gate) == ["abc"]


def test_nothing_goes_that_may_still_become_a_placeholder():
    gate, restorer = Gate([]), watch("back", "output", local=False)
    gate.restore(restorer, lambda _, end: end)
    gate.open()
    gate.hold(delta("I am <MA"))
    gate.clear(restorer, {"content": 5})
    assert texts(gate) == []
    gate.clear(restorer, {"content": 8})
    assert texts(gate) == ["I am <MA"]


def test_once_begun_a_frame_without_words_does_not_wait_however_often_nothing_went():
    gate = Gate([tone])
    gate.open()
    gate.hold(delta("abc"))
    gate.clear(tone, {"content": 3})
    assert texts(gate) == ["abc"]
    gate.hold(replace(delta("held"), group="0"))
    assert texts(gate) == []
    gate.hold(replace(delta(), group="1"))
    assert len(gate.release(complete=False)) == 1


def test_frames_of_several_choices_go_in_the_order_in_which_they_came():
    gate = Gate([tone])
    gate.open()
    for text, group in (("a", "0"), ("b", "1"), ("c", "0"), ("d", "1"), ("e", "2")):
        gate.hold(replace(delta(text), group=group))
    gate.clear(tone, {"content": 5})
    assert texts(gate) == ["a", "b", "c", "d", "e"]
