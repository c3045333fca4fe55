"""Lanes in an exchange, as transcripts: what is held while a check reads along or looks window by window."""

from dataclasses import replace

from gateway.core.exchange import Exchange
from gateway.core.holdback import Hit, Scan
from gateway.core.terms import Action, Arrived, Delta, Ended, Lane, Passage, Piece, Place
from tests.world import CALL, delta, found, say, watch

ASKED = (Passage("q", Place.USER, "hello"),)
HARM = watch("harm")
WORDS = watch("words", "output", lane=Lane.EXACT)
TONE = watch("tone", "output", lane=Lane.WINDOW)
LONG = "A sentence that is long enough. "


class Marks:
    """A scanner for tests: `!` is a hit, and from `?` on everything is held."""

    def __init__(self):
        self.text = ""

    def feed(self, text):
        self.text += text
        if "boom" in self.text:
            raise RuntimeError("broken")
        place = self.text.find("!")
        hits = [Hit(place, place + 1, "mark")] if place >= 0 else []
        held = self.text.find("?")
        return Scan(hits, held if held >= 0 else len(self.text))

    def end(self):
        return Scan([Hit(0, 1, "end")] if self.text.endswith("#") else [], len(self.text))


def exchange(*watches, max_held=10**6, passages=(), call=CALL):
    return Exchange(call, watches, passages, max_held, {"words": Marks})


def take(ex, *events):
    return [say(ex.take(event)) for event in events]


def arrives(*texts, size=0):
    return [Arrived("only", delta(text, size=size)) for text in texts]


def test_a_check_that_reads_along_lets_text_go_as_it_comes():
    ex = exchange(WORDS)
    assert say(ex.start()) == ["ask only"]
    assert take(ex, *arrives("one ", "two ", "wait?", "for it"), Ended("only")) == [
        ["send one"],
        ["send two"],
        [],
        [],
        ["note words: clear", "send wait?", "send for it", "close released"],
    ]


def test_a_hit_closes_and_its_frame_stays():
    ex = exchange(WORDS)
    ex.start()
    assert take(ex, *arrives("one ", "two! three")) == [
        ["send one"],
        ["note words: hit", "drop only", "close blocked words"],
    ]
    assert take(ex, *arrives("more")) == [[]]


def test_a_hit_that_only_the_end_shows():
    ex = exchange(WORDS)
    ex.start()
    assert take(ex, *arrives("#"), Ended("only"))[1] == ["note words: hit", "close blocked words"]


def test_a_hit_while_the_question_is_still_checked_sends_nothing():
    ex = exchange(HARM, WORDS, passages=ASKED)
    ex.start()
    assert take(ex, *arrives("one ", "two!")) == [
        [],
        ["note words: hit", "drop only", "drop harm/input", "close blocked words"],
    ]


def test_a_fault_of_a_check_that_reads_along_blocks_or_where_allowed_lets_go():
    ex = exchange(WORDS)
    ex.start()
    assert take(ex, *arrives("boom"))[0] == ["note words: failed", "drop only", "close blocked words"]
    ex = exchange(watch("words", "output", lane=Lane.EXACT, fails_open=True), watch("other", "output"))
    ex.start()
    assert take(ex, *arrives("boom", "more!"), Ended("only")) == [
        ["note words: failed"],
        [],
        ["examine other boommore!"],
    ]


def test_one_fault_does_not_keep_another_check_from_the_same_piece():
    opened = watch("words", "output", lane=Lane.EXACT, fails_open=True)
    second = watch("second", "output", lane=Lane.EXACT)
    ex = Exchange(CALL, [opened, second], (), 10**6, {"words": Marks, "second": Marks})
    ex.start()
    ex.take(arrives("boo")[0])
    effects = say(ex.take(arrives("m!")[0]))
    assert effects[0] == "note words: failed"
    assert "close blocked second" in effects or "note second: failed" in effects


def test_a_check_that_cannot_read_along_reads_the_whole():
    ex = exchange(watch("stranger", "output", lane=Lane.EXACT))
    ex.start()
    assert take(ex, *arrives("one"), Ended("only")) == [[], ["examine stranger one"]]


def test_a_plain_answer_is_read_whole():
    for lane in (Lane.EXACT, Lane.WINDOW):
        call = type(CALL)("only", "up", "model", {}, stream=False)
        ex = exchange(watch("words", "output", lane=lane), call=call)
        ex.start()
        assert take(ex, *arrives(LONG), Ended("only")) == [[], [f"examine words {LONG}".strip()]]


def test_windows_go_one_after_the_other():
    ex = exchange(TONE)
    ex.start()
    assert take(ex, *arrives(LONG, LONG, LONG), found(TONE)) == [
        [f"examine tone {LONG}".strip()],
        [],
        [],
        [f"examine tone {LONG * 3}".strip(), f"send {LONG}".strip()],
    ]
    assert take(ex, Ended("only"), found(TONE)) == [[], [f"send {LONG}".strip()] * 2 + ["close released"]]


def test_what_is_left_at_the_end_is_shown_before_it_goes():
    ex = exchange(TONE)
    ex.start()
    assert take(ex, *arrives(LONG, "short"), Ended("only"), found(TONE), found(TONE)) == [
        [f"examine tone {LONG}".strip()],
        [],
        [],
        [f"examine tone {LONG}short", f"send {LONG}".strip()],
        ["send short", "close released"],
    ]


def test_a_window_that_hits_blocks_and_what_it_showed_stays():
    ex = exchange(TONE)
    ex.start()
    take(ex, *arrives(LONG))
    assert take(ex, found(TONE, "hit")) == [["drop only", "close blocked tone"]]


def test_a_window_check_with_nothing_to_read_is_noted():
    ex = exchange(TONE)
    ex.start()
    assert take(ex, Arrived("only", delta("x", "reasoning")), Ended("only")) == [
        ["send x"],
        ["note tone: nothing to read", "close released"],
    ]


def test_a_full_hold_waits_for_the_question_although_a_check_reads_along():
    ex = exchange(HARM, WORDS, max_held=10, passages=ASKED)
    ex.start()
    assert take(ex, *arrives("one", "two", size=8), found(HARM)) == [
        [],
        ["pause"],
        ["send one", "send two", "resume"],
    ]


def test_a_full_hold_waits_for_the_window_that_is_out():
    ex = exchange(TONE, max_held=10)
    ex.start()
    assert take(ex, *arrives(LONG, "x", size=8), found(TONE)) == [
        [f"examine tone {LONG}".strip()],
        ["pause"],
        [f"send {LONG}".strip(), "resume"],
    ]


def test_a_full_hold_that_nothing_can_empty_fails():
    ex = exchange(WORDS, max_held=10)
    ex.start()
    assert take(ex, *arrives("?", "two", size=8))[1] == ["drop only", "close failed answer_too_long"]
    ex = exchange(HARM, WORDS, max_held=10, passages=ASKED)
    ex.start()
    assert take(ex, *arrives("?", "two", size=8), found(HARM))[1:] == [
        ["pause"],
        ["drop only", "close failed answer_too_long"],
    ]


def test_a_hold_that_needs_the_end_fails_at_once_although_the_question_is_out():
    ex = exchange(HARM, watch("whole", "output"), max_held=10, passages=ASKED)
    ex.start()
    assert take(ex, *arrives("one", "two", size=8))[1] == [
        "drop only",
        "drop harm/input",
        "close failed answer_too_long",
    ]


def grouped(text, group, **piece):
    return Arrived("only", Delta({}, (Piece(f"c{group}", Place.CONTENT, text, **piece),) if text else (), 0, group))


def test_choices_do_not_wait_for_each_other_but_for_what_concerns_all():
    ex = exchange(WORDS)
    ex.start()
    assert take(
        ex,
        grouped("held?", "0"),
        grouped("free ", "1"),
        grouped("too", "0"),
        grouped("", None),
        grouped("later", "1"),
        Ended("only"),
    ) == [
        [],
        ["send free"],
        [],
        [],
        [],
        ["note words: clear", "send held?", "send too", "send", "send later", "close released"],
    ]


def test_a_frame_that_speaks_and_names_something_counts_as_words():
    """Also when the words come first and the name last."""
    ex = exchange(WORDS)
    ex.start()
    pieces = (Piece("c", Place.CONTENT, "one "), Piece("id", Place.OTHER_OUTPUT, "x", closed=True))
    assert take(ex, Arrived("only", Delta({}, pieces))) == [["send one x"]]


def test_frames_without_words_go_when_many_of_them_wait():
    ex = exchange(WORDS)
    ex.start()
    sent = [say(ex.take(Arrived("only", Delta({})))) for _ in range(65)]
    assert sent[:64] == [[]] * 64
    assert sent[64] == ["send"] * 65


def test_wrapped_text_is_held_until_it_is_known_for_prose():
    ex = exchange(WORDS)
    ex.start()
    assert take(ex, grouped("abc", "0", wrapped=True), grouped(" d", "0")) == [[], ["send abc", "send  d"]]


def test_a_text_that_is_said_once_needs_no_end():
    ex = exchange(WORDS)
    ex.start()
    assert take(ex, grouped("abc#", "0", closed=True))[0] == ["note words: hit", "drop only", "close blocked words"]


def test_after_a_hit_nothing_goes_that_came_with_it():
    thought = delta("a thought that nobody reads", channel="reasoning")
    ex = exchange(WORDS)
    ex.start()
    assert take(ex, Arrived("only", thought, (delta("two!"),))) == [
        ["note words: hit", "drop only", "close blocked words"]
    ]


def test_who_holds_nothing_back_reads_the_whole_at_the_end():
    ex = exchange(watch("words", "output", lane=Lane.EXACT, action=Action.FLAG))
    ex.start()
    assert take(ex, *arrives("one", "two!")) == [["send one"], ["send two!"]]
    assert say(ex.take(Ended("only"))) == ["examine words onetwo!", "close released"]


def test_a_plain_answer_goes_before_who_reads_it_afterwards():
    after = watch("words", "output", lane=Lane.AFTER)
    ex = exchange(after, call=replace(CALL, stream=False))
    ex.start()
    assert take(ex, *arrives("one!"), Ended("only")) == [["send one!"], ["examine words one!"]]


def test_bytes_that_flow_are_read_no_further_while_too_many_are_held():
    ex = exchange(HARM, max_held=10, passages=ASKED, call=replace(CALL, stream=False, flows=True))
    ex.start()
    assert take(ex, *arrives("sound", size=11)) == [["pause"]]
    assert say(ex.take(found(HARM))) == ["send sound", "resume"]
