"""Cutting, as transcripts: what is asked, what is examined again, what cannot be cut and so blocks."""

from gateway.checks.keywords import Keywords
from gateway.core.edits import Edit, Edits
from gateway.core.exchange import Exchange
from gateway.core.masking import Masks, Restorer
from gateway.core.rewriting import QuestionCuts
from gateway.core.terms import (
    Action,
    Arrived,
    Ended,
    Finding,
    Found,
    Judgement,
    Lane,
    Outcome,
    Passage,
    Piece,
    Place,
    Rewrite,
    Rewritten,
    Span,
)
from gateway.wire.coats import Coat, Joined
from tests.world import CALL, before, delta, say, watch

KEYS = before("keys", action=Action.REDACT)
MAIL = before("mail", action=Action.MASK, restore=frozenset({Place.CONTENT}))
HARM = watch("harm")
WORDS = watch("words", "output", lane=Lane.EXACT)
SCANNER = Keywords(words=["mail"]).scanner
ASKED = (Passage("q", Place.USER, "key AKIA and bob@x.org"),)


def hit(one, *spans):
    judged = Judgement(hit=True, categories=tuple({s.category for s in spans}), spans=spans)
    return Found(Finding(one, Outcome.HIT, judged))


def clear(one):
    return Found(Finding(one, Outcome.CLEAR, Judgement(hit=False)))


def exchange(*watches, passages=ASKED):
    return Exchange(CALL, watches, passages, 10**6, masks=Masks(b"k", "s"))


def test_the_question_is_asked_as_it_reads_after_cutting():
    ex = exchange(KEYS, HARM)
    assert say(ex.start()) == ["examine keys key AKIA and bob@x.org"]
    (effect,) = ex.take(hit(KEYS, Span("q", 4, 8, "aws key")))
    assert effect == Rewrite({("q", ASKED[0].text): "key [AWS_KEY] and bob@x.org"})
    after = (Passage("q", Place.USER, "key [AWS_KEY] and bob@x.org"),)
    assert say(ex.take(Rewritten(CALL, after))) == ["examine keys key [AWS_KEY] and bob@x.org"]
    assert say(ex.take(clear(KEYS))) == ["examine harm key [AWS_KEY] and bob@x.org", "ask only"]


def test_what_is_still_found_after_cutting_is_blocked():
    ex = exchange(KEYS)
    ex.start()
    ex.take(hit(KEYS, Span("q", 4, 8, "key")))
    ex.take(Rewritten(CALL, ASKED))
    assert say(ex.take(hit(KEYS, Span("q", 4, 8, "key")))) == ["close blocked keys"]


def test_our_own_labels_are_no_hits():
    ex = exchange(KEYS)
    ex.start()
    ex.take(hit(KEYS, Span("q", 4, 8, "key")))
    ex.take(Rewritten(CALL, (Passage("q", Place.USER, "key [KEY] and"),)))
    assert say(ex.take(hit(KEYS, Span("q", 5, 8, "key")))) == ["ask only"]


def test_a_check_that_blocks_and_one_that_cuts_both_read_the_question_as_it_came():
    words = before("words")
    ex = exchange(KEYS, words)
    assert len(ex.start()) == 2
    ex.take(hit(KEYS, Span("q", 4, 8, "key")))
    assert say(ex.take(hit(words))) == ["close blocked words"]


def test_a_failed_check_that_cuts_blocks_unless_it_may_fail_open():
    ex = exchange(KEYS)
    ex.start()
    assert say(ex.take(Found(Finding(KEYS, Outcome.FAILED)))) == ["close blocked keys"]
    lenient = before("keys", action=Action.REDACT, fails_open=True)
    ex = exchange(lenient)
    ex.start()
    assert say(ex.take(Found(Finding(lenient, Outcome.FAILED)))) == ["ask only"]


def test_for_good_wins_over_what_comes_back_and_overlapping_hits_are_one():
    cuts = QuestionCuts(Masks(b"k", "s"))
    cuts.add(MAIL, Judgement(hit=True, spans=(Span("q", 0, 6, "mail"), Span("q", 10, 14, "mail"))))
    cuts.add(KEYS, Judgement(hit=True, spans=(Span("q", 3, 8, "key"),)))
    passage = Passage("q", Place.USER, "0123456789abcdef")
    (said,) = cuts.texts([passage]).values()
    assert said.startswith("[KEY]89<MAIL_")
    assert said.endswith(">ef")


def test_edits_read_the_same_in_any_pieces_and_any_order():
    text = "0123456789" * 3
    edits = [Edit(2, 5, "<A>"), Edit(4, 9, "<B>"), Edit(4, 6, "<C>"), Edit(12, 13, ""), Edit(20, 29, "<D>")]
    for order in (edits, edits[::-1]):
        kept = Edits()
        for edit in order:
            kept.add("c", edit)
        whole = kept.applied("c", 0, text)
        assert whole == "01<A>9013456789<D>9"
        for size in range(1, 12):
            pieces = [kept.applied("c", at, text[at : at + size]) for at in range(0, len(text), size)]
            assert "".join(pieces) == whole


def test_places_of_a_restored_channel_and_back():
    masks = Masks(b"k", "s")
    name = masks.hide("mail", "bob@x.org", frozenset({Place.CONTENT}))
    restorer = Restorer(masks)
    text = f"to {name} and {name}!"
    said = "".join(p.text for c in text for p in restorer.read([Piece("c", Place.CONTENT, c)]))
    assert said == "to bob@x.org and bob@x.org!"
    size = len(name)
    assert [restorer.place("c", at) for at in (0, 3, 4, 3 + size, 8 + size, len(text))] == [0, 3, 12, 12, 17, 27]
    assert restorer.origin("c", 3, 12) == (3, 3 + size)
    assert restorer.origin("c", 5, 7) == (3, 3 + size)
    assert restorer.origin("c", 12, 17) == (3 + size, 8 + size)
    assert restorer.origin("c", 26, 27) == (len(text) - 1, len(text))
    assert restorer.stands("c", 0, 4)
    assert not restorer.stands("c", 0, 3)
    assert not restorer.stands("c", 12, 17)


def test_where_decoded_characters_stand():
    text = '{"a\\u0062c": ["x\\n\\ud83d\\ude00y", "{\\"k\\": \\"v\\\\u0041\\"}"]}'
    coat = Coat("p", text, "<json>", 100)
    joined = "abc\nx\n😀y\n" + '{"k": "v\\u0041"}' + "\nk\nvA"

    def stands(start, end):
        return [(text[a - 100 : b - 100]) for _, a, b in coat.spans(start, end)]

    assert stands(0, 3) == ["a\\u0062c"]
    at = joined.index("😀")
    assert stands(at, at + 1) == ["\\ud83d\\ude00"]
    assert stands(at - 2, at + 2) == ["x\\n\\ud83d\\ude00y"]
    last = len(joined)
    assert stands(last - 1, last) == ["\\\\u0041"]
    assert stands(last - 4, last - 1) == ["k", "v"]
    assert Coat("p", "a\\u0062c", "<unescaped>").spans(1, 2) == [("p", 1, 7)]
    assert Coat("p", "c2VjcmV0", "<decoded>", 5, lead=1).spans(1, 3) == [("p", 5, 13)]
    assert Coat("p", "data:,abc", "<decoded>").spans(1, 2) == [("p", 7, 8)]
    assert Joined([("a", 3), ("b", 4)]).spans(2, 5) == [("a", 2, 3), ("b", 0, 2)]


def restoring(*watches):
    """An exchange whose question has a value that stands again in the answer, and what stands for it."""
    ex = Exchange(CALL, [MAIL, *watches], ASKED, 10**6, {"words": SCANNER}, masks=Masks(b"k", "s"))
    ex.start()
    (effect,) = ex.take(hit(MAIL, Span("q", 13, 22, "mail")))
    (said,) = effect.texts.values()
    assert say(ex.take(Rewritten(CALL, (Passage("q", Place.USER, said),))))[0].startswith("examine mail")
    assert say(ex.take(clear(MAIL))) == ["ask only"]
    return ex, said[said.index("<") :]


def arrives(ex, text):
    return say(ex.take(Arrived("only", delta(text))))


def test_a_placeholder_waits_until_it_is_whole_although_no_check_reads_the_answer():
    ex, name = restoring()
    assert arrives(ex, "to ") == ["send to"]
    assert arrives(ex, name[:5]) == []
    assert arrives(ex, f"{name[5:]}!") == [f"send {name[:5]}", f"send {name[5:]}!"]
    assert arrives(ex, " <") == []
    assert say(ex.take(Ended("only"))) == ["send  <", "close masked"]


def test_what_was_no_placeholder_in_the_end_is_read_before_it_goes():
    ex, _ = restoring(WORDS)
    assert arrives(ex, "to ") == ["send to"]
    assert arrives(ex, "<MAIL") == []
    assert say(ex.take(Ended("only"))) == ["note words: hit", "close blocked words"]


def test_and_a_check_of_the_whole_is_shown_it_unless_the_answer_is_blocked_already():
    whole = watch("whole", "output")
    ex, _ = restoring(whole)
    arrives(ex, "to <MAIL")
    assert say(ex.take(Ended("only"))) == ["examine whole to <MAIL"]
    ex, _ = restoring(WORDS, whole)
    arrives(ex, "to <MAIL")
    assert say(ex.take(Ended("only"))) == ["note words: hit", "close blocked words"]
