"""Memory that is counted: never above the ceiling, and nothing stays counted for a request that is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ceiling import Account, Ceiling


def test_a_part_that_does_not_fit_stays_as_it_was():
    ceiling = Ceiling(10)
    one, other = ceiling.account(), ceiling.account()
    assert one.set("body", 6)
    assert other.grow("body", 4)
    assert ceiling.reached
    assert not other.grow("answer", 1)
    assert (one.held, other.held, ceiling.held) == (6, 4, 10)
    one.close()
    assert other.grow("answer", 1)
    assert not ceiling.reached


def test_what_is_closed_counts_nothing_any_more():
    ceiling = Ceiling(10)
    account = ceiling.account()
    assert account.set("body", 3)
    account.close()
    account.close()
    assert not account.set("body", 5)
    assert ceiling.held == 0


@pytest.mark.parametrize("size", [0, 10**12])
def test_without_a_ceiling_it_only_counts(size):
    account = Account()
    assert account.set("body", size)
    assert account.held == size


@given(
    most=st.integers(1, 50),
    moves=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["body", "a", "b", None]), st.integers(0, 40)), max_size=60
    ),
)
def test_the_count_is_the_sum_of_what_is_open_and_never_above_the_ceiling(most, moves):
    """A part of `None` closes the account of that request."""
    ceiling = Ceiling(most)
    accounts = [ceiling.account() for _ in range(5)]
    model: list[dict | None] = [{} for _ in range(5)]
    for number, part, size in moves:
        parts = model[number]
        if part is None:
            accounts[number].close()
            model[number] = None
        elif parts is not None:
            total = sum(sum(p.values()) for p in model if p is not None) - parts.get(part, 0)
            grows = size > parts.get(part, 0)
            fits = not grows or total + size <= most
            assert accounts[number].set(part, size) is fits
            if fits:
                parts[part] = size
        assert ceiling.held == sum(sum(p.values()) for p in model if p is not None) <= most
    for account in accounts:
        account.close()
    assert ceiling.held == 0
