"""Transcripts of single exchanges: one for each rule at the head of `core/exchange.py` and `core/gate.py`."""

import pytest

from gateway.core.exchange import Exchange
from gateway.core.terms import (
    Action,
    Arrived,
    Broke,
    Call,
    Elapsed,
    Ended,
    Examine,
    History,
    Lane,
    Left,
    Overfull,
    Passage,
    Place,
    Stopped,
)
from tests.world import CALL, FAULT, before, delta, found, say, watch

ASKED = [Passage("messages[0].content", Place.USER, "question")]
harm = watch("harm")
words = before("words")
tone = watch("tone", "output")


def exchange(*watches, passages=ASKED, max_held=10**6, call=CALL):
    return Exchange(call, watches, passages, max_held)


def arrived(text="", **more):
    return Arrived("only", delta(text, **more))


def test_without_checks_text_flows():
    ex = exchange()
    assert say(ex.start()) == ["ask only"]
    assert say(ex.take(arrived("All "))) == ["send All"]
    assert say(ex.take(arrived())) == ["send"]
    assert say(ex.take(Ended("only"))) == ["close released"]


def test_local_before_remote_beside():
    ex = exchange(harm, words)
    assert say(ex.start()) == ["examine words question"]
    assert say(ex.take(found(words))) == ["examine harm question", "ask only"]


CONVERSATION = [
    Passage("messages[0].content", Place.USER, "old"),
    Passage("messages[1].content", Place.ASSISTANT, "answer"),
    Passage("messages[2].content", Place.USER, "new"),
]


def test_a_check_that_skips_the_history_is_shown_what_is_new():
    ex = exchange(watch("harm", history=History.SKIP), passages=CONVERSATION)
    assert [passage.text for passage in ex.start()[0].passages] == ["new"]
    ex = exchange(watch("harm", history=History.CACHED), passages=CONVERSATION)
    assert [passage.text for passage in ex.start()[0].passages] == ["old", "new"]  # the shell takes it apart


@pytest.mark.parametrize("lane", [Lane.WHOLE, Lane.WINDOW])
def test_a_check_of_the_answer_is_shown_the_question_where_it_wants_it(lane):
    for wants in (True, False):
        ex = exchange(watch("tone", "output", exchange=wants, lane=lane, local=False), passages=CONVERSATION)
        ex.start()
        effects = ex.take(arrived("All is well, and so on and on. ")) + ex.take(Ended("only"))
        shown = [effect.question for effect in effects if isinstance(effect, Examine)]
        assert shown == [tuple(CONVERSATION[2:]) if wants else ()]


def test_a_local_hit_costs_nothing_upstream():
    ex = exchange(harm, words)
    ex.start()
    assert say(ex.take(found(words, "hit"))) == ["close blocked words"]
    assert ex.take(found(words)) == []


def test_two_local_checks_both_speak_before_the_call():
    size = before("size")
    ex = exchange(words, size)
    assert say(ex.start()) == ["examine words question", "examine size question"]
    assert say(ex.take(found(words))) == []
    assert say(ex.take(found(size))) == ["ask only"]


def test_nothing_is_sent_before_the_question_is_cleared():
    ex = exchange(harm)
    assert say(ex.start()) == ["examine harm question", "ask only"]
    assert say(ex.take(arrived("All "))) == []
    assert say(ex.take(found(harm))) == ["send All"]
    assert say(ex.take(arrived("well"))) == ["send well"]
    assert say(ex.take(Ended("only"))) == ["close released"]


def test_a_block_drops_the_call_and_the_siblings():
    other = watch("other")
    ex = exchange(harm, other)
    ex.start()
    assert say(ex.take(found(harm, "hit"))) == ["drop only", "drop other/input", "close blocked harm"]
    assert ex.take(arrived("All")) == []
    assert ex.take(found(other, "hit")) == []


def test_a_block_after_the_end_delivers_nothing():
    ex = exchange(harm)
    ex.start()
    ex.take(arrived("All"))
    assert say(ex.take(Ended("only"))) == []
    assert say(ex.take(found(harm, "hit"))) == ["close blocked harm"]


def test_an_answer_that_ended_waits_for_the_question():
    ex = exchange(harm)
    ex.start()
    ex.take(Ended("only"))
    assert say(ex.take(found(harm))) == ["close released"]


@pytest.mark.parametrize("outcome", ["clear", "hit"])
def test_a_block_outranks_a_fault(outcome):
    ex = exchange(harm)
    ex.start()
    assert say(ex.take(Broke("only", FAULT))) == []
    told = "close blocked harm" if outcome == "hit" else "close failed upstream_cut"
    assert say(ex.take(found(harm, outcome))) == [told]


def test_a_fault_when_all_is_clear_is_told_at_once_and_held_text_is_lost():
    ex = exchange(tone)
    ex.start()
    ex.take(arrived("All"))
    assert say(ex.take(Broke("only", FAULT))) == ["close failed upstream_cut"]


def test_a_whole_lane_holds_until_the_end():
    ex = exchange(tone)
    ex.start()
    assert say(ex.take(arrived("All "))) == []
    assert say(ex.take(arrived("well"))) == []
    assert say(ex.take(Ended("only"))) == ["examine tone All well"]
    assert say(ex.take(found(tone))) == ["send All", "send well", "close released"]


def test_a_whole_lane_hit_sends_nothing():
    ex = exchange(tone)
    ex.start()
    ex.take(arrived("bomb"))
    ex.take(Ended("only"))
    assert say(ex.take(found(tone, "hit"))) == ["close blocked tone"]


def test_an_empty_first_frame_flows_where_nothing_holds():
    ex = exchange()
    ex.start()
    assert say(ex.take(arrived())) == ["send"]


@pytest.mark.parametrize("watches", [(), (tone,), (harm,), (watch("flag", "output", action=Action.FLAG), tone)])
def test_the_last_of_an_answer_ends_it_as_if_that_was_told_behind_it(watches):
    """A plain answer comes at once, so its end need not be an event of its own."""
    whole = Call("only", "u", "m", {}, stream=False)
    told = []
    for last in (True, False):
        ex = exchange(*watches, call=whole)
        effects = ex.start() + ex.take(Arrived("only", delta("All "), (delta("well"),), last=last))
        effects += [] if last else ex.take(Ended("only"))
        told.append(say(effects) + [say(ex.take(found(one))) for one in watches])
        assert ex.take(Ended("only")) == []  # told once more, it is no second end
    assert told[0] == told[1]
    assert ex.closed


def test_an_end_that_is_told_twice_is_one_end():
    ex = exchange(tone)
    ex.start()
    ex.take(arrived("All"))
    assert say(ex.take(Ended("only"))) == ["examine tone All"]
    assert ex.take(Ended("only")) == []


def test_what_no_check_holds_goes_while_the_answer_is_still_read():
    ex = exchange(harm, tone)
    ex.start()
    ex.take(arrived("hm", channel="reasoning"))
    ex.take(arrived("All"))
    ex.take(Ended("only"))
    assert say(ex.take(found(harm))) == ["send hm"]


def test_a_channel_that_nobody_reads_goes_with_its_turn():
    ex = exchange(tone)
    ex.start()
    assert say(ex.take(arrived("hm", channel="reasoning"))) == ["send hm"]
    assert say(ex.take(arrived("All"))) == []
    assert say(ex.take(arrived("more", channel="reasoning"))) == []
    ex.take(Ended("only"))
    assert say(ex.take(found(tone))) == ["send All", "send more", "close released"]


def test_frames_without_text_do_not_start_the_answer_while_a_check_holds():
    ex = exchange(tone)
    ex.start()
    assert say(ex.take(arrived())) == []
    assert say(ex.take(arrived("bomb"))) == []
    assert say(ex.take(Ended("only"))) == ["examine tone bomb"]
    assert say(ex.take(found(tone, "hit"))) == ["close blocked tone"]


def test_frames_without_text_go_at_the_end_of_an_empty_answer():
    ex = exchange(tone)
    ex.start()
    ex.take(arrived())
    assert say(ex.take(Ended("only"))) == ["note tone: nothing to read", "send", "close released"]


def test_frames_without_text_follow_what_has_begun():
    ex = exchange(tone)
    ex.start()
    ex.take(arrived("hm", channel="reasoning"))
    assert say(ex.take(arrived())) == ["send"]


def test_empty_frames_wait_for_every_whole_check():
    always = watch("always", "output", always_asked=True)
    ex = exchange(always)
    ex.start()
    ex.take(arrived())
    assert say(ex.take(Ended("only"))) == ["examine always"]
    assert say(ex.take(found(always, "hit"))) == ["close blocked always"]


def test_two_output_checks_both_hold():
    leak = watch("leak", "output")
    ex = exchange(tone, leak)
    ex.start()
    ex.take(arrived("All"))
    assert say(ex.take(Ended("only"))) == ["examine tone All", "examine leak All"]
    assert say(ex.take(found(leak))) == []
    assert say(ex.take(found(tone))) == ["send All", "close released"]


def test_an_after_lane_lets_flow_and_cuts_at_the_end():
    after = watch("after", "output", lane=Lane.AFTER)
    ex = exchange(after)
    ex.start()
    assert say(ex.take(arrived("bomb"))) == ["send bomb"]
    assert say(ex.take(Ended("only"))) == ["examine after bomb"]
    assert say(ex.take(found(after, "hit"))) == ["close blocked after"]


def test_output_checks_read_while_the_question_is_still_checked():
    ex = exchange(harm, tone)
    ex.start()
    ex.take(arrived("All"))
    assert say(ex.take(Ended("only"))) == ["examine tone All"]
    assert say(ex.take(found(tone))) == []
    assert say(ex.take(found(harm))) == ["send All", "close released"]


def test_a_failure_is_a_hit_unless_it_may_fail_open():
    ex = exchange(harm)
    ex.start()
    assert say(ex.take(found(harm, "failed"))) == ["drop only", "close blocked harm"]
    lenient = watch("lenient", fails_open=True)
    ex = exchange(lenient)
    ex.start()
    ex.take(arrived("All"))
    assert say(ex.take(found(lenient, "failed"))) == ["send All"]


def test_an_open_failure_does_not_open_a_hit():
    lenient = watch("lenient", fails_open=True)
    ex = exchange(lenient)
    ex.start()
    assert say(ex.take(found(lenient, "hit"))) == ["drop only", "close blocked lenient"]


@pytest.mark.parametrize("silent", [watch("quiet", shadow=True), watch("quiet", action=Action.FLAG)])
def test_shadow_and_flag_checks_hold_nothing_and_may_outlive_the_answer(silent):
    ex = exchange(silent)
    assert say(ex.start()) == ["ask only", "examine quiet question"]
    assert say(ex.take(arrived("All"))) == ["send All"]
    assert say(ex.take(Ended("only"))) == ["close released"]
    assert ex.take(found(silent, "hit")) == []


def test_a_shadow_hit_blocks_nothing():
    ex = exchange(watch("quiet", shadow=True))
    ex.start()
    assert say(ex.take(found(watch("quiet", shadow=True), "hit"))) == []
    assert say(ex.take(arrived("All"))) == ["send All"]


def test_a_local_shadow_check_does_not_run_before_the_call():
    quiet = before("quiet", shadow=True)
    assert say(exchange(quiet).start()) == ["ask only", "examine quiet question"]


def test_a_block_leaves_shadow_looks_running():
    quiet = watch("quiet", shadow=True)
    ex = exchange(harm, quiet)
    ex.start()
    assert say(ex.take(found(harm, "hit"))) == ["drop only", "close blocked harm"]


def test_nothing_to_read_is_noted_and_never_a_pass():
    ex = exchange(harm, passages=[Passage("x", Place.SYSTEM, "be kind")])
    assert say(ex.start()) == ["note harm: nothing to read", "ask only"]


def test_what_decides_on_more_than_text_is_asked_anyway():
    counting = before("counting", always_asked=True)
    ex = exchange(counting, passages=[])
    assert say(ex.start()) == ["examine counting"]


def test_a_full_hold_pauses_the_call_until_the_question_is_cleared():
    ex = exchange(harm, max_held=10)
    ex.start()
    assert say(ex.take(arrived("a", size=10))) == []
    assert say(ex.take(arrived("b", size=1))) == ["pause"]
    assert say(ex.take(arrived("c", size=1))) == []
    assert say(ex.take(found(harm))) == ["send a", "send b", "send c", "resume"]
    assert say(ex.take(arrived("d", size=1))) == ["send d"]


def test_an_answer_too_long_to_hold_fails_and_is_never_flushed():
    ex = exchange(tone, max_held=10)
    ex.start()
    assert say(ex.take(arrived("a", size=10))) == []
    assert say(ex.take(arrived("b", size=1))) == ["drop only", "close failed answer_too_long"]
    assert ex.verdict.fault.status == 502


def test_a_plain_answer_is_bounded_where_it_is_read():
    call = Call("only", "up", "model", {}, stream=False)
    ex = exchange(tone, max_held=10, call=call)
    ex.start()
    assert say(ex.take(arrived("a", size=99))) == []
    ex.take(Ended("only"))
    assert say(ex.take(found(tone))) == ["send a", "close released"]


def test_the_client_leaves():
    quiet = watch("quiet", shadow=True)
    ex = exchange(harm, quiet)
    ex.start()
    assert say(ex.take(Left())) == ["drop only", "drop harm/input", "drop quiet/input", "close left"]


def test_the_client_leaves_before_the_call():
    ex = exchange(words)
    ex.start()
    assert say(ex.take(Left())) == ["drop words/input", "close left"]


def test_time_is_up():
    ex = exchange(harm)
    ex.start()
    assert say(ex.take(Elapsed())) == ["drop only", "drop harm/input", "close failed timeout"]


def test_there_is_no_room_for_what_is_held():
    ex = exchange(harm)
    ex.start()
    ex.take(arrived("All", size=7))
    ex.take(arrived(" is", size=5))
    assert ex.held == 12
    assert say(ex.take(Overfull())) == ["drop only", "drop harm/input", "close failed overloaded"]
    assert ex.verdict.fault.status == 503
    assert "retry-after" in ex.verdict.fault.headers


def test_what_is_released_is_no_longer_held_unless_a_check_will_read_it():
    flowing, late = exchange(), exchange(watch("late", "output", lane=Lane.AFTER, shadow=True))
    for ex in (flowing, late):
        ex.start()
        ex.take(arrived("All is well.", size=40))
    assert (flowing.held, late.held) == (0, len("All is well."))


def test_time_is_up_after_the_call_has_ended():
    ex = exchange(harm)
    ex.start()
    ex.take(Ended("only"))
    assert say(ex.take(Elapsed())) == ["drop harm/input", "close failed timeout"]
    assert ex.verdict.fault.status == 504


def test_what_comes_after_the_end_of_a_call_is_not_heard():
    ex = exchange(harm)
    ex.start()
    ex.take(Ended("only"))
    assert ex.take(arrived("late")) == []
    assert ex.take(Ended("only")) == []
    assert say(ex.take(found(harm))) == ["close released"]


def test_text_after_a_fault_is_not_heard():
    ex = exchange(harm)
    ex.start()
    ex.take(Broke("only", FAULT))
    assert ex.take(arrived("late")) == []
    assert ex.take(Ended("only")) == []
    assert say(ex.take(found(harm))) == ["close failed upstream_cut"]


def test_a_finding_that_nobody_asked_for_decides_nothing():
    ex = exchange(harm)
    ex.start()
    assert ex.take(found(watch("stranger"), "hit")) == []
    assert not ex.closed


def test_the_same_check_on_both_sides_is_two_looks():
    both = watch("harm", "output")
    ex = exchange(harm, both)
    ex.start()
    ex.take(arrived("All"))
    ex.take(Ended("only"))
    assert say(ex.take(found(both))) == []
    assert say(ex.take(found(harm))) == ["send All", "close released"]


def test_an_answer_that_its_own_checks_stopped_is_over():
    ex = exchange()
    ex.start()
    assert say(ex.take(Stopped("only", found(tone, "hit").finding))) == ["close blocked tone"]


def test_an_answer_may_begin_when_the_question_is_cleared_and_said_as_it_is_asked():
    ex = exchange(words, harm)
    assert not ex.cleared
    ex.start()
    assert not ex.cleared
    ex.take(found(words))
    assert not ex.cleared
    ex.take(found(harm))
    assert ex.cleared
