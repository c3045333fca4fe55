"""Long texts in pieces: nothing is lost, nothing that fits the overlap is cut in two, no piece is too long."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.segments import moved, segments, worst
from gateway.core.terms import Judgement, Passage, Place, Span

TEXTS = st.lists(st.text(alphabet="ab c\u00e9", max_size=120), max_size=6)


def passages(texts):
    return [Passage(f"p{i}", Place.USER, text) for i, text in enumerate(texts)]


@given(TEXTS, st.integers(10, 60), st.integers(0, 8))
def test_every_stretch_is_whole_in_one_piece(texts, most, overlap):
    groups = segments(passages(texts), most, overlap)
    assert all(sum(len(p.text) for p, _ in group) <= most for group in groups)
    assert all(len({p.path for p, _ in group}) == len(group) for group in groups)
    whole = {p.path: p.text for p in passages(texts)}
    assert all(whole[p.path][at : at + len(p.text)] == p.text for group in groups for p, at in group)
    shown = [p for group in groups for p, _ in group]
    for passage in passages(texts):
        pieces = [p.text for p in shown if p.path == passage.path]
        for at in range(max(1, len(passage.text) - overlap)):
            assert any(passage.text[at : at + max(overlap, 1)] in piece for piece in pieces)
        assert all(piece in passage.text for piece in pieces)
    assert (
        list(dict.fromkeys(p.path for p in shown)) == [p.path for p in passages(texts)][: len({p.path for p in shown})]
    )


def test_what_fits_stays_one():
    told = passages(["one", "two"])
    assert segments(told, None) == segments(told, 8) == [tuple((one, 0) for one in told)]
    assert segments(told, 5) == segments(told, single=True) == [((told[0], 0),), ((told[1], 0),)]
    assert segments([], 5) == [()]


def test_a_piece_ends_between_words():
    text = "word " * 300
    (first, *_) = segments(passages([text]), 1000)
    assert first[0][0].text.endswith("word")


def test_places_in_pieces_are_places_in_the_passage():
    group = segments(passages(["x" * 30]), 20, 5)[1]
    said = moved(Judgement(True, spans=(Span("p0", 0, 3, "a"),)), group)
    assert said.spans == (Span("p0", 15, 18, "a"),)


def test_the_worst_counts():
    one = Judgement(False, score=0.2, usage={"total_tokens": 3})
    two = Judgement(True, ("a",), 0.9, ("p",), "", {"total_tokens": 4, "prompt_tokens": 1}, (Span("p", 0, 1, "a"),))
    both = worst([one, two])
    assert (both.hit, both.categories, both.score, both.paths) == (True, ("a",), 0.9, ("p",))
    assert both.usage == {"total_tokens": 7, "prompt_tokens": 1}
    assert both.spans == two.spans
    assert worst([one]) is one
