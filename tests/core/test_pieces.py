"""What goes on in a channel is one piece, and nothing else is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pieces import joined
from gateway.core.terms import Piece, Place
from gateway.wire.coats import Coat

WORDS = Piece("c", Place.CONTENT, "one ")
OTHERWISE = {
    "another channel": {"channel": "d"},
    "another place": {"place": Place.REASONING},
    "complete": {"closed": True},
    "perhaps wrapped": {"wrapped": True},
    "fixed": {"fixed": True},
    "in another coat": {"origin": Coat("c", "", "<json>")},
}


def test_what_goes_on_in_frames_that_came_together_is_read_as_one():
    two, three = replace(WORDS, text="two "), replace(WORDS, text="three")
    other = replace(WORDS, channel="d", text="other")
    assert joined([WORDS]) == [WORDS]
    assert joined([WORDS, two, three]) == [replace(WORDS, text="one two three")]
    assert joined([WORDS, two, other, three]) == [replace(WORDS, text="one two three"), other]
    assert joined([other, WORDS, two]) == [other, replace(WORDS, text="one two ")]


@given(st.lists(st.tuples(st.sampled_from("cd"), st.text(max_size=2), st.booleans(), st.booleans()), max_size=12))
def test_however_frames_come_each_channel_says_the_same_in_the_same_order(said):
    pieces = [Piece(*one[:1], Place.CONTENT, *one[1:]) for one in said]
    read = joined(pieces)
    for channel in "cd":
        said, heard = ([piece for piece in some if piece.channel == channel] for some in (pieces, read))
        assert [*_ends(said)] == [*_ends(heard)]


def _ends(pieces):
    """What a channel says up to each place where it is said that nothing goes on, and in all."""
    text = ""
    for piece in pieces:
        text += piece.text
        if piece.closed:
            yield text
    yield text


@pytest.mark.parametrize("how", OTHERWISE)
def test_what_does_not_go_on_is_read_by_itself(how):
    other = replace(WORDS, **OTHERWISE[how])
    assert joined([WORDS, other]) == [WORDS, other]
    assert joined([other, WORDS]) == [other, WORDS]


def test_what_a_coat_says_is_never_one_with_another():
    """Each stands elsewhere."""
    coats = [replace(WORDS, origin=Coat("c", text, "<json>")) for text in ("a", "b")]
    assert joined(coats) == coats
