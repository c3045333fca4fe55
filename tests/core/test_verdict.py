"""The lattice, as a table and as laws."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.terms import Action, Finding, Outcome
from gateway.core.verdict import stops, strongest
from tests.world import watch


@pytest.mark.parametrize(
    ("outcome", "settings", "action"),
    [
        ("clear", {}, Action.PASS),
        ("nothing to read", {}, Action.PASS),
        ("hit", {}, Action.BLOCK),
        ("hit", {"action": Action.FLAG}, Action.FLAG),
        ("hit", {"shadow": True}, Action.PASS),
        ("hit", {"fails_open": True}, Action.BLOCK),
        ("failed", {}, Action.BLOCK),
        ("failed", {"fails_open": True}, Action.PASS),
        ("failed", {"action": Action.FLAG}, Action.FLAG),
        ("failed", {"shadow": True}, Action.PASS),
    ],
)
def test_what_a_finding_asks_for(outcome, settings, action):
    finding = Finding(watch("one", **settings), Outcome(outcome))
    assert finding.action is action
    assert stops(finding) is (action is Action.BLOCK)
    assert strongest([finding]) is action


findings = st.builds(
    lambda outcome, action, shadow, lenient: Finding(
        watch("one", action=action, shadow=shadow, fails_open=lenient), outcome
    ),
    st.sampled_from(Outcome),
    st.sampled_from([Action.FLAG, Action.BLOCK]),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(findings, max_size=4))
def test_order_does_not_matter_and_more_is_never_less(some):
    whole = strongest(some)
    assert all(strongest(order) is whole for order in itertools.permutations(some))
    assert all(strongest(some[:n]) <= whole for n in range(len(some)))
    assert strongest([]) is Action.PASS
    assert (whole is Action.BLOCK) == any(stops(one) for one in some)
