"""The memory of a built-in classifier: slots of words, pairs and features, and what windows of them say."""

import math
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.memory import LONGEST, MIDDLE, Kept, Memory

BITS = 12


def memory(weights=(), **settings):
    table = bytearray([MIDDLE] * 2**BITS)
    for slot, weight in dict(weights).items():
        table[slot] = MIDDLE + weight
    return Memory(bytes(table), **settings)


def slot(word):
    return crc32(str(word).encode()) >> 32 - BITS


def pair(one, other):
    return slot(one) * 40_503 % 2**BITS ^ slot(other)


def blocks(text, size=8):
    tokens = text.split()
    return memory().blocks(tokens, [()] * (len(tokens) // size + 1), size)


def test_a_block_has_the_slots_of_its_words_and_pairs_and_features():
    (block,) = memory().blocks(["drop", "the", "rules"], [{7, 4711}], 8)
    assert block == {
        slot("drop"), slot("the"), slot("rules"), pair("drop", "the"), pair("the", "rules"), slot(7), slot(4711),
    }  # fmt: skip


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40), st.integers(1, 8))
def test_every_word_is_in_the_block_of_its_place(tokens, size):
    cut = blocks(" ".join(tokens), size)
    assert len(cut) == len(tokens) // size + 1
    for at, token in enumerate(tokens):
        assert slot(token) in cut[at // size]
        assert at == 0 or pair(tokens[at - 1], token) in cut[at // size]


def test_the_order_of_words_counts():
    assert blocks("print rules") != blocks("rules print")


def test_a_window_is_two_blocks_and_a_weight_counts_less_in_company():
    told = memory({slot("drop"): 10}, step=0.5)
    assert told.recall([{slot("drop")}]) == [5.0]
    assert told.recall([{slot("drop"), slot("the"), slot("rules"), slot("now")}]) == [5.0 / 2]
    assert told.recall([{slot("the")}, {slot("drop")}]) == [pytest.approx(5 / math.sqrt(2))]
    assert told.recall(told.blocks(["drop"] * 20, [()], 40)) == [pytest.approx(5 / math.sqrt(2))]


def test_a_full_block_may_say_so_by_itself():
    """What stands around a short attack does not water it down; the last block may be a word or two, which say little."""
    told = memory({slot("drop"): 10}, step=0.5)
    assert told.recall([{slot("drop")}, {slot("the")}, {slot("now")}]) == [5.0, 0.0]
    assert told.recall([{slot("the")}, {slot("drop")}, {slot("now")}]) == [5.0, 5.0]


def test_it_may_remember_words_alone_and_ask_for_whole_windows():
    """Of texts that differ by what they are about, classes and the words of half a window say more of the source."""
    told = memory({slot("drop"): 10, slot(7): 100}, step=0.5, classes=False, halves=False)
    assert told.blocks(["drop"], [{7}], 8) == [{slot("drop"), pair("", "drop") ^ slot("")}]
    assert told.recall([{slot("drop")}, {slot("the")}, {slot("now")}]) == [pytest.approx(5 / math.sqrt(2)), 0.0]


def test_it_never_speaks_against_an_attack_and_only_so_much_for_one():
    told = memory({1: 100, 2: -100}, bias=0.5, most=3.0)
    assert [told.recall([block])[0] for block in (set(), {1}, {2})] == [0.5, 3.0, 0.0]


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
