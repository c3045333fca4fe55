"""One watch that follows an answer: what it clears, what it cuts out and what it comes to."""

import re

from gateway.core.holdback import Following, Hit, Scan
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


def words(text, channel="c", place=Place.CONTENT, **more):
    return Piece(channel, place, text, **more)


def test_what_may_still_become_a_hit_is_not_cleared():
    following = Following(BLOCKS, Brackets)
    assert following.add([words("abc"), words("de", "d")]) == (None, {"c": 3, "d": 2})
    assert following.add([words("f <g"), words("x", place=Place.REASONING), words("{", "w", wrapped=True)]) == (
        None,
        {"c": 5},
    )
    finding, cleared = following.add([words("h>")])
    assert (finding.outcome, finding.judgement.categories, finding.judgement.paths) == (Outcome.HIT, ("word",), ("c",))
    assert finding.judgement.hit
    assert cleared == {}
    assert following.paths == ("c", "d", "w")


def test_what_it_comes_to():
    following = Following(BLOCKS, Brackets)
    following.add([words("x", place=Place.REASONING)])
    assert following.end().outcome is Outcome.NOTHING
    following.add([words("abc")])
    assert (following.end().outcome, following.end().judgement) == (Outcome.CLEAR, Judgement(hit=False))
    following.add([words("<d", "d")])
    assert (following.end().outcome, following.end().judgement.paths) == (Outcome.HIT, ("d",))


def test_who_cuts_says_where_and_what_each_once_and_goes_on():
    following = Following(CUTS, Brackets)
    assert following.add([words("a <b> c <d")]) == (None, {"c": 8})
    assert following.cuts() == [("c", Hit(2, 5, "word"), "<b>")]
    assert following.add([words("e"), words("<f>", "d")]) == (None, {"c": 8, "d": 3})
    assert following.cuts() == [("d", Hit(0, 3, "word"), "<f>")]
    assert following.add([words("f> g <h>")]) == (None, {"c": 19})
    assert following.cuts() == [("c", Hit(8, 13, "word"), "<def>"), ("c", Hit(16, 19, "word"), "<h>")]
    assert following.cuts() == []
    following.add([words(" <i")])
    finding = following.end()
    assert following.cuts() == [("c", Hit(20, 22, "open"), "<i")]
    assert (finding.outcome, finding.judgement) == (
        Outcome.HIT,
        Judgement(hit=True, categories=("open", "word"), paths=("c", "d")),
    )


def test_who_cuts_and_finds_nothing_lets_pass():
    following = Following(CUTS, Brackets)
    following.add([words("abc")])
    assert (following.end().outcome, following.cuts()) == (Outcome.CLEAR, [])


def test_texts_that_are_said_once_stand_one_behind_the_other_and_do_not_go_on():
    following = Following(CUTS, Brackets)
    assert following.add([words("\n<a>", closed=True), words("\nb<", closed=True)]) == (None, {"c": 7})
    assert following.cuts() == [("c", Hit(1, 4, "word"), "<a>"), ("c", Hit(6, 7, "open"), "<")]
    assert following.add([words("c> <d>", closed=True)]) == (None, {"c": 13})
    assert following.cuts() == [("c", Hit(10, 13, "word"), "<d>")]
    assert following.end().judgement.categories == ("open", "word")
