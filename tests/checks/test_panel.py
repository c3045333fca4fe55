"""Panels: who decides when, and what a missing vote is."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.base import Check
from gateway.checks.keywords import Keywords
from gateway.checks.panel import LocalPanel, Panel, panel_of
from gateway.core.terms import Judgement, Passage, Place

TEXT = [Passage("p", Place.USER, "one two")]


class Broken(Check):
    use: str = "broken"

    def judge(self, passages):
        raise RuntimeError


def words(*listed):
    return Keywords(words=list(listed))


@pytest.mark.parametrize(
    ("need", "members", "hit", "named"),
    [
        (1, {"a": words("one"), "b": words("nine")}, True, "a"),
        (2, {"a": words("one"), "b": words("nine")}, False, None),
        (2, {"a": words("one"), "b": words("nine"), "c": words("two")}, True, "a"),
    ],
)
def test_so_many_of_them(need, members, hit, named):
    panel = panel_of(need, members)
    assert isinstance(panel, LocalPanel)
    judged = panel.judge(TEXT)
    assert judged.hit is hit
    assert named is None or judged.categories[0] == named


def test_a_missing_vote_is_no_yes_where_the_policy_says_so():
    members = {"a": words("one"), "b": Broken()}
    assert panel_of(2, members, failed_hits=True).judge(TEXT).hit
    lenient = panel_of(2, members, failed_hits=False).judge(TEXT)
    assert not lenient.hit
    assert lenient.note == "no vote of b"


votes = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=5)


@given(votes, st.integers(1, 5), st.booleans(), st.permutations(range(5)))
def test_what_is_decided_early_is_what_all_would_decide(said, need, failed_hits, order):
    members = {f"m{n}": words("x") for n in range(len(said))}
    panel = Panel(need=min(need, len(said)), members=members, failed_hits=failed_hits)
    judgements = {f"m{n}": None if one is None else Judgement(hit=one) for n, one in enumerate(said)}
    whole = panel.decided(judgements)
    assert whole is not None
    seen = {}
    for number in itertools.islice((n for n in order if n < len(said)), len(said)):
        seen[f"m{number}"] = judgements[f"m{number}"]
        early = panel.decided(seen)
        assert early in {None, whole}
    assert panel.decided(seen) is whole
