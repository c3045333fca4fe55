"""The chain shows every change of what was kept."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.chain import GENESIS, Chain, Kept, Link

BODIES = st.lists(st.binary(max_size=20), min_size=1, max_size=12)
KEYS = st.sampled_from([b"", b"secret"])


def verified(kept, start=None, head=None, key=b"", known=()):
    start = start or Link()
    head = head or Link(kept[-1].seq, kept[-1].seal)
    return Chain(key).verify(start, kept, head, known)


@given(BODIES, KEYS)
def test_what_was_sealed_is_whole_from_every_place_on(bodies, key):
    kept = list(Chain(key).sealed(Link(), bodies))
    assert [one.seq for one in kept] == list(range(1, len(bodies) + 1))
    for begun in range(len(kept)):
        start = Link(kept[begun - 1].seq, kept[begun - 1].seal) if begun else Link(0, GENESIS)
        found = verified(kept[begun:], start, key=key)
        assert (found.flaws, found.count) == ([], len(kept) - begun)


@given(BODIES, KEYS, st.data())
def test_any_change_shows(bodies, key, data):
    kept = list(Chain(key).sealed(Link(), bodies))
    head = Link(kept[-1].seq, kept[-1].seal)
    at = data.draw(st.integers(0, len(kept) - 1))
    one = kept[at]
    changed = data.draw(
        st.sampled_from(
            [
                [*kept[:at], one._replace(body=one.body + b"!"), *kept[at + 1 :]],
                [*kept[:at], one._replace(seal="f" * 64), *kept[at + 1 :]],
                [*kept[:at], one._replace(seq=one.seq + 1), *kept[at + 1 :]],
                [*kept[:at], *kept[at + 1 :]],
                [*kept[:at], one, *kept[at:]],
                [*kept, Kept(head.seq + 1, b"forged", "0" * 64)],
            ]
        )
    )
    assert verified(changed, head=head, key=key).flaws


@given(BODIES)
def test_a_chain_that_was_made_anew_needs_the_key_and_shows_against_a_noted_seal(bodies):
    real = list(Chain(b"secret").sealed(Link(), bodies))
    forged = list(Chain().sealed(Link(), [body + b"!" for body in bodies]))
    assert verified(forged, key=b"secret").flaws
    noted = Link(real[0].seq, real[0].seal)
    assert verified(list(Chain().sealed(Link(), bodies)), known=[noted]).flaws
    assert not verified(real, key=b"secret", known=[noted]).flaws


def test_a_noted_receipt_that_is_gone_is_missed():
    kept = list(Chain().sealed(Link(), [b"a", b"b"]))
    known = [Link(9, "0" * 64)]
    assert verified(kept, known=known).flaws == [(9, "it was noted and is not there")]
