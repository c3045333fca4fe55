"""The tally against its test vectors, and what no order of arrival may change."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tally import Ballot, Rules, State, beta, effective, evidence, log_odds, tally, wilson


def ballots(word, weights=None, models=None):
    return [
        Ballot(f"m{n}", n, models[n] if models else f"model{n}", weights[n] if weights else 1.0, State.VALID, answer)
        for n, answer in enumerate(word)
    ]


HALF = Rules(quorum=1, min_share=0.5)


@pytest.mark.parametrize(
    ("word", "won", "lost"),
    [("AAA", True, False), ("AAB", False, False), ("ABC", False, False), ("ABCD", False, True), ("AA", False, False)],
)
def test_five_equal_members_and_a_strict_majority(word, won, lost):
    counted = tally(ballots(word), HALF, 5)
    left = 5 - len(word)
    assert counted.is_won(left) is won
    assert counted.is_lost(left, left) is lost


@pytest.mark.parametrize(
    ("pair", "expected"),
    [((2, 0), 0.875), ((3, 0), 0.9375), ((4, 0), 0.96875), ((5, 0), 0.984375), ((5, 1), 0.9375), ((6, 0), 0.9921875),
     ((8, 1), 0.98926)],
)  # fmt: skip
def test_beta(pair, expected):
    assert beta(*pair) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [((3, 0), 3.75), ((4, 0), 6.2), ((5, 0), 10.5), ((6, 0), 18.14), ((7, 0), 31.88), ((8, 1), 11.26)],
)
def test_evidence(pair, expected):
    assert evidence(*pair) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(3, 5, 0.231, 0.882), (4, 5, 0.376, 0.964), (5, 5, 0.566, 1.0), (8, 10, 0.490, 0.943)],
)
def test_wilson(count, n, low, high):
    assert wilson(count, n) == pytest.approx((low, high), abs=0.001)


def test_weights_and_effective_votes():
    assert log_odds(8, 8) == pytest.approx(math.log(9))
    assert log_odds(0, 8) == 0.0
    assert log_odds(4, 8, labels=4) == pytest.approx(math.log(3))
    assert effective(5, 0.45) == pytest.approx(5 / 2.8)


def test_ties_go_to_more_models_then_to_the_better_then_to_the_first():
    samples = ballots("AABB", models=["x", "x", "y", "z"])
    assert tally(samples, HALF, 4).leader.answer == "B"
    better = [b._replace(accuracy=0.9 if b.answer == "B" else 0.5) for b in ballots("AABB")]
    assert tally(better, HALF, 4).leader.answer == "B"
    assert tally(ballots("BBAA"), HALF, 4).leader.answer == "B"
    assert not tally(ballots("AABB"), Rules(min_share=0.4, tie=()), 4).decided
    assert tally(ballots("AABB"), Rules(min_share=0.4), 4).decided


def test_what_is_no_ballot_does_not_count():
    some = [*ballots("AAB"), Ballot("x", 9, "m", 1.0, State.INVALID), Ballot("y", 10, "m", 1.0, State.ABSTAIN)]
    counted = tally(some, Rules(quorum=3), 5)
    assert (counted.share, counted.margin, counted.coverage) == pytest.approx((2 / 3, 1 / 3, 0.6))
    against = tally(some, Rules(quorum=3, abstain_counts=True), 5)
    assert against.share == 0.5
    assert not against.decided


words = st.lists(st.sampled_from("ABC"), max_size=6)
weights = st.lists(st.sampled_from([0.5, 1.0, 1.0, 1.5, 2.0]), min_size=6, max_size=6)
shares = st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0])


@given(words, weights, shares, st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(word, heavy, share, quorum, random):
    some = ballots(word, heavy)
    shuffled = list(some)
    random.shuffle(shuffled)
    rules = Rules(quorum, share)
    assert tally(some, rules, 6) == tally(shuffled, rules, 6)


@given(words, weights, shares, st.integers(1, 4), st.integers(0, 6))
def test_an_early_stop_is_right_whatever_comes(word, heavy, share, quorum, seen):
    """Every completion of what is outstanding, invalid ballots included, has the winner that was called early."""
    rules = Rules(quorum, share)
    some = ballots(word, heavy)[:seen]
    left = len(word) - len(some)
    outstanding = sum(heavy[len(some) : len(word)])
    early = tally(some, rules, 6)
    won, lost = early.is_won(outstanding), early.is_lost(outstanding, left)
    for rest in itertools.product(["A", "B", "new", None], repeat=min(left, 4)) if left <= 4 else ():
        late = [
            Ballot(f"l{n}", len(some) + n, f"l{n}", heavy[len(some) + n], State.VALID if a else State.INVALID, a)
            for n, a in enumerate(rest)
        ]
        full = tally([*some, *late], rules, 6)
        if won:
            assert full.decided
            assert full.leader.answer == early.leader.answer
        if lost:
            assert not full.decided
