"""One watch that follows an answer: what it clears, what it cuts out and what it comes to."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.holdback import AT_ONCE, STEP, Crowded, Following, Hit, Scan
from gateway.core.terms import Action, Judgement, Lane, Outcome, Piece, Place
from tests.world import watch

BLOCKS = watch("brackets", "output", lane=Lane.EXACT)
CUTS = watch("brackets", "output", lane=Lane.EXACT, action=Action.REDACT)


class Brackets:
    """A hit is a word in brackets, known when they close; one that never closes is a hit at the end."""

    def __init__(self):
        self.text, self.told = "", 0

    @property
    def safe(self):
        opened = self.text.rfind("<")
        return opened if opened > self.text.rfind(">") else len(self.text)

    def feed(self, text):
        self.text += text
        found = [Hit(*match.span(), "word") for match in re.finditer(r"<\w+>", self.text) if match.end() > self.told]
        self.told = len(self.text)
        return Scan(found, self.safe)

    def end(self):
        return Scan([Hit(self.safe, len(self.text), "open")] if self.safe < len(self.text) else [], len(self.text))


def read(following, *pieces):
    following.add(pieces)
    return following.read()


def ended(following):
    following.end()
    return following.read().finding


def words(text, channel="c", place=Place.CONTENT, **more):
    return Piece(channel, place, text, **more)


def test_what_may_still_become_a_hit_is_not_cleared():
    following = Following(BLOCKS, Brackets)
    assert read(following, words("abc"), words("de", "d")) == (None, {"c": 3, "d": 2})
    assert read(following, words("f <g"), words("x", place=Place.REASONING), words("{", "w", wrapped=True)) == (
        None,
        {"c": 5},
    )
    finding, cleared = read(following, words("h>"))
    assert (finding.outcome, finding.judgement.categories, finding.judgement.paths) == (Outcome.HIT, ("word",), ("c",))
    assert finding.judgement.hit
    assert cleared == {}
    assert following.paths == ("c", "d", "w")


@pytest.mark.parametrize(
    ("said", "outcome", "paths"),
    [
        ([words("x", place=Place.REASONING)], Outcome.NOTHING, None),
        ([words("abc")], Outcome.CLEAR, ()),
        ([words("abc"), words("<d", "d")], Outcome.HIT, ("d",)),
    ],
)
def test_what_it_comes_to(said, outcome, paths):
    following = Following(BLOCKS, Brackets)
    assert read(following, *said).finding is None
    assert not following.behind
    finding = ended(following)
    assert finding.outcome is outcome
    assert (finding.judgement and finding.judgement.paths) == paths


def test_who_cuts_says_where_and_what_each_once_and_goes_on():
    following = Following(CUTS, Brackets)
    assert read(following, words("a <b> c <d")) == (None, {"c": 8})
    assert following.cuts() == [("c", Hit(2, 5, "word"), "<b>")]
    assert read(following, words("e"), words("<f>", "d")) == (None, {"c": 8, "d": 3})
    assert following.cuts() == [("d", Hit(0, 3, "word"), "<f>")]
    assert read(following, words("f> g <h>")) == (None, {"c": 19})
    assert following.cuts() == [("c", Hit(8, 13, "word"), "<def>"), ("c", Hit(16, 19, "word"), "<h>")]
    assert following.cuts() == []
    read(following, words(" <i"))
    finding = ended(following)
    assert following.cuts() == [("c", Hit(20, 22, "open"), "<i")]
    assert (finding.outcome, finding.judgement) == (
        Outcome.HIT,
        Judgement(hit=True, categories=("open", "word"), paths=("c", "d")),
    )


def test_who_cuts_and_finds_nothing_lets_pass():
    following = Following(CUTS, Brackets)
    read(following, words("abc"))
    assert (ended(following).outcome, following.cuts()) == (Outcome.CLEAR, [])


def test_texts_that_are_said_once_stand_one_behind_the_other_and_do_not_go_on():
    following = Following(CUTS, Brackets)
    assert read(following, words("\n<a>", closed=True), words("\nb<", closed=True)) == (None, {"c": 7})
    assert following.cuts() == [("c", Hit(1, 4, "word"), "<a>"), ("c", Hit(6, 7, "open"), "<")]
    assert read(following, words("c> <d>", closed=True)) == (None, {"c": 13})
    assert following.cuts() == [("c", Hit(10, 13, "word"), "<d>")]
    assert ended(following).judgement.categories == ("open", "word")


class Sometimes(Brackets):
    """Has no time for it, whenever it is said so, in turn."""

    turns = iter(())

    def feed(self, text):
        if next(self.turns):
            raise Crowded
        return super().feed(text)

    def end(self):
        if next(self.turns):
            raise Crowded
        return super().end()


said = st.builds(
    words,
    st.text("<a> ", max_size=9),
    st.sampled_from("cd"),
    st.sampled_from([Place.CONTENT, Place.CONTENT, Place.REASONING]),
    wrapped=st.booleans(),
    closed=st.booleans(),
)


@given(
    st.sampled_from([BLOCKS, CUTS]),
    st.lists(st.lists(said, max_size=4), max_size=5),
    st.lists(st.booleans(), max_size=7),
    st.integers(1, 4),
)
def test_who_has_no_time_goes_on_where_he_was(watch, answer, turns, most):
    """Given up and taken up again anywhere, it clears, cuts out and comes to the same."""

    def followed(follow, most):
        following, cuts, cleared, finding = Following(watch, follow), [], {}, None
        for pieces in [*answer, None]:
            following.end() if pieces is None else following.add(pieces)
            while finding is None:
                finding, clear = following.read(most)
                cuts += following.cuts()
                assert all(clear[channel] >= upto for channel, upto in cleared.items() if channel in clear)
                cleared |= clear
                if not following.behind:
                    break
            if finding is not None:
                return finding, cuts, cleared if watch is CUTS else None, following.paths
        return None

    Sometimes.turns = itertools.cycle([*turns, False])
    assert followed(Sometimes, most) == followed(Brackets, 100)


def test_much_is_read_in_steps_where_others_wait():
    steps = []

    class Counted(Brackets):
        def feed(self, text):
            steps.append(len(text))
            return super().feed(text)

    following = Following(BLOCKS, Counted)
    assert read(following, words("x" * (2 * STEP + 1))) == (None, {"c": 2 * STEP + 1})
    assert steps == [STEP, STEP, 1]
    following.add([words("x" * (AT_ONCE + 1))])
    assert following.read(AT_ONCE) == (None, {"c": 2 * STEP + 2 + AT_ONCE})
    assert steps[3:] == [AT_ONCE, 1]


def test_what_comes_while_it_reads_elsewhere_is_read_before_the_end():
    """The answer goes on and ends just when the last of what was there has been read."""

    class Overtaken(Brackets):
        def feed(self, text):
            scan = super().feed(text)
            if text == "abc":
                following.add([words(" <d>")])
                following.end()
            return scan

    following = Following(BLOCKS, Overtaken)
    first = read(following, words("abc"))
    assert (first.finding or following.read().finding).outcome is Outcome.HIT
