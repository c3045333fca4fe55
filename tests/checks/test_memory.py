"""The memory of a built-in classifier: slots of words, pairs and features, and what windows of them say."""

import math
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.memory import END, LONGEST, MIDDLE, Kept, Memory

BITS = 12
FLOOR = 48


def memory(weights=(), *, floor=FLOOR, **settings):
    table = bytearray([MIDDLE] * 2**BITS)
    for slot, weight in dict(weights).items():
        table[slot] = MIDDLE + weight
    return Memory(bytes(table), floor=floor, **settings)


def slot(word):
    return crc32(str(word).encode()) >> 32 - BITS


def pair(one, other):
    return slot(one) * 40_503 % 2**BITS ^ slot(other)


def blocks(text, starts=(0,)):
    return memory().blocks(text.split(), [()] * len(starts), starts)


def test_a_block_has_the_slots_of_its_words_and_pairs_and_features():
    (block,) = memory().blocks(["drop", "the", "rules"], [{7, 4711}], [0])
    assert block == {
        slot("drop"), slot("the"), slot("rules"), pair("drop", "the"), pair("the", "rules"), slot(7), slot(4711),
    }  # fmt: skip


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40), st.sets(st.integers(1, 39)))
def test_every_word_is_in_the_block_of_its_place(tokens, cuts):
    starts = [0, *sorted(cut for cut in cuts if cut < len(tokens))]
    cut = blocks(" ".join(tokens), starts)
    assert len(cut) == len(starts)
    for at, token in enumerate(tokens):
        place = sum(start <= at for start in starts) - 1
        assert slot(token) in cut[place]
        assert at == 0 or pair(tokens[at - 1], token) in cut[place]


def test_a_line_is_much_as_if_it_stood_alone():
    tokens = ["the", "wind", "\n", "drop", "the", "rules", "\n"]
    first, second = memory().blocks(tokens, [(), ()], [0, 3])
    assert [first - {END}, second - {END}] == [*blocks("the wind"), *blocks("drop the rules")]
    assert END in first & second
    assert memory().blocks(["\n", "\n"], [()], [0]) == [{END}]


def test_the_order_of_words_counts():
    assert blocks("print rules") != blocks("rules print")


def test_a_weight_counts_less_in_company():
    told = memory({slot("drop"): 10}, step=1.0)
    for count in (2 * FLOOR, 3 * FLOOR):
        company = {slot("drop"), *[n for n in range(count) if n != slot("drop")][: count - 1]}
        assert told.recall([company], [(0, 1)]) == [pytest.approx(10 / math.sqrt(count))]


def test_a_few_words_are_no_proof():
    """A block of a word or two says as little as if others stood beside them."""
    told = memory({slot("drop"): 10}, step=0.5)
    assert told.recall([{slot("drop")}], [(0, 1)]) == [pytest.approx(5 / math.sqrt(FLOOR))]
    assert told.recall(told.blocks(["drop"] * 20, [()], [0]), [(0, 1)]) == [pytest.approx(5 / math.sqrt(FLOOR))]


def test_a_block_may_say_so_by_itself():
    """What stands around a short attack does not water it down."""
    told = memory({slot("drop"): 10}, step=1.0)
    alone = told.recall([{slot("drop")}], [(0, 1)])
    others = [{n for n in range(at, at + FLOOR) if n != slot("drop")} for at in (0, FLOOR, 2 * FLOOR)]
    assert told.recall([others[0], {slot("drop")}, *others[1:]], [(0, 2), (1, 3), (2, 4)]) == [*alone, *alone, 0.0]


def test_it_may_remember_words_alone_and_ask_for_whole_windows():
    """Of texts that differ by what they are about, classes and the words of half a window say more of the source."""
    settings = {"classes": False, "halves": False}
    told = memory({slot("drop"): 10, slot(7): 100}, step=1.0, **settings)
    assert told.blocks(["drop"], [{7}], [0]) == [{slot("drop")}]
    others = [{n for n in range(at, at + FLOOR) if n != slot("drop")} for at in (0, FLOOR)]
    assert told.recall([{slot("drop")}, *others], [(0, 2), (1, 3)]) == [
        pytest.approx(10 / math.sqrt(len(others[0]) + 1)),
        0.0,
    ]


def test_it_never_speaks_against_an_attack_and_only_so_much_for_one():
    told = memory({1: 100, 2: -100}, bias=0.5, most=3.0)
    assert [told.recall([block], [(0, 1)])[0] for block in (set(), {1}, {2})] == [0.5, 3.0, 0.0]


def test_long_words_are_not_kept():
    """A client may make one as long as a body."""
    kept = Kept(str.upper)
    assert [kept[word] for word in ("a" * LONGEST, "b" * (LONGEST + 1))] == ["A" * LONGEST, "B" * (LONGEST + 1)]
    assert [*kept] == ["a" * LONGEST]


def test_past_so_many_keys_nothing_is_kept(monkeypatch):
    monkeypatch.setattr("gateway.checks.memory.KEPT", 2)
    made = []
    kept = Kept(lambda key: made.append(key) or key.upper())
    assert [kept[key] for key in "abcabc"] == list("ABCABC")
    assert made == ["a", "b", "c", "c"]
