"""The window lane: borders behind sentences and words, growing windows, linear cost."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.terms import Lane, Piece, Place, Side, Watch
from gateway.core.windows import CONTEXT, FIRST, MOST, Windows, border

WATCH = Watch("w", Side.OUTPUT, frozenset({Place.CONTENT, Place.OTHER_OUTPUT}), lane=Lane.WINDOW)
PROSE = "The committee met on Tuesday. It agreed that the proposal, although late, deserved a second reading. " * 30


def words(text):
    return [Piece("c", Place.CONTENT, f"{word} ") for word in text.split(" ")]


def run(pieces, lag=5):
    """Feed the pieces; each window is cleared `lag` pieces after it went out. Gives the windows and what was cleared when."""
    windows, shown, cleared, due = Windows(WATCH), [], [], None
    for number, piece in enumerate(pieces):
        windows.add([piece])
        if due == number:
            windows.cleared()
            due = None
        if (window := windows.next(final=False)) is not None:
            shown.append(window)
            due = number + lag
        cleared.append(windows._channels["c"].seen if "c" in windows._channels else 0)
    if windows.out:
        windows.cleared()
    while (window := windows.next(final=True)) is not None:
        shown.append(window)
        windows.cleared()
    return windows, shown, cleared


def test_the_first_window_is_small_and_later_ones_grow():
    _, shown, _ = run(words(PROSE))
    ends = [w.extent["c"] for w in shown]
    assert ends[0] <= 3 * FIRST
    sizes = [b - a for a, b in itertools.pairwise(ends)]
    assert max(sizes) <= 2 * MOST
    assert len(shown) <= len(PROSE) / 40 / 3 + 3, "a third of the looks that windows of 40 characters take"


def test_what_is_shown_stays_in_proportion_to_the_answer():
    _, shown, _ = run(words(PROSE))
    total = sum(len(p.text) for w in shown for p in w.passages)
    assert total <= len(PROSE) * (1 + (CONTEXT + 1) / (MOST * 4 / 5))


def test_a_window_ends_behind_a_sentence_where_there_is_one():
    _, shown, _ = run(words(PROSE), lag=12)
    texts = [w.passages[0].text for w in shown[1:-1]]
    assert sum(t.rstrip().endswith(".") for t in texts) >= len(texts) / 2


@given(st.lists(st.text("ab. \n。", max_size=30), max_size=12), st.integers(1, 4))
def test_everything_is_shown_once_and_in_order(texts, lag):
    pieces = [Piece("c", Place.CONTENT, text) for text in texts]
    _, shown, _ = run(pieces, lag)
    whole = "".join(texts)
    ends = [w.extent["c"] for w in shown]
    assert ends == sorted(set(ends))
    assert (ends[-1] if ends else 0) == len(whole)
    begin = 0
    for window, end in zip(shown, ends, strict=True):
        text = window.passages[0].text
        assert whole[:end].endswith(text)
        assert len(text) >= end - begin
        begin = end


@given(st.text("ab. ", max_size=80), st.integers(0, 80), st.integers(1, 60))
def test_a_border_lies_behind_its_beginning(text, start, size):
    start = min(start, len(text))
    end = border(text, start, size)
    assert end is None or start < end <= len(text)


def test_ids_need_no_look_of_their_own_and_go_along_with_words():
    windows = Windows(WATCH)
    windows.add([Piece("id", Place.OTHER_OUTPUT, "\nchatcmpl-1", closed=True)])
    assert windows.next(final=False) is None
    windows.add(words("Ordinary words come here, and more of them follow."))
    assert set(windows.next(final=False).extent) == {"id", "c"}


def test_wrapped_text_is_shown_when_it_is_whole():
    windows = Windows(WATCH)
    windows.add([Piece("c", Place.CONTENT, '{"a": "' + "word " * 100, wrapped=True)])
    assert windows.next(final=False) is None
    assert windows.next(final=True) is not None


def test_one_window_at_a_time():
    windows = Windows(WATCH)
    windows.add(words("A sentence that is long enough to be shown. Another one that is long enough."))
    assert windows.next(final=False) is not None
    assert windows.next(final=False) is None
    assert windows.next(final=True) is None
