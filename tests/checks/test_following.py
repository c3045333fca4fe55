"""Following a text piece by piece finds what the whole text holds, and never lets go of a beginning."""

import itertools
import re
from functools import cache

import pytest
import re2
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.checks.following import CLOSE, MANY, Automaton, Beginnings, Encoded, Listed
from gateway.checks.hurry import Hurry
from gateway.checks.keywords import Keywords
from gateway.checks.patterns import NotFollowable, beginnings, may_span
from gateway.checks.regex import Regex
from gateway.core.holdback import Crowded
from gateway.core.terms import Passage, Place
from tests.conftest import many
from tests.world import Impatient


def judged(check, text):
    return check.judge([Passage("x", Place.CONTENT, text)]).hit


def followed(check, pieces):
    """Hits; and how much was safe after each piece."""
    scanner, hits, safe = check.scanner(), [], []
    for piece in pieces:
        scan = scanner.feed(piece)
        hits += scan.hits
        safe.append(scan.safe)
    last = scanner.end()
    return hits + list(last.hits), [*safe, last.safe]


def cut(text, cuts):
    bounds = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


def holds(check, text, cuts):
    """The theorem: the same verdict as on the whole, and no character of a hit was ever safe before it was told."""
    pieces = cut(text, cuts)
    scanner, told, length, high = check.scanner(), False, 0, 0
    for piece in [*pieces, None]:
        before = high
        scan = scanner.feed(piece) if piece is not None else scanner.end()
        length += len(piece or "")
        assert high <= scan.safe <= length, "what is safe stays safe"
        for hit in scan.hits:
            assert before <= hit.start < hit.end <= length, "a character of a hit was already let go"
            told = True
        high = scan.safe
    assert high == length, "at the end nothing is held"
    assert told == judged(check, text)


words = st.lists(st.text("ab c", min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=4)
texts = st.text("abcABC  \u200b\u00adａé_.", max_size=40)
cuts = st.lists(st.integers(0, 40), max_size=8)


@many
@given(words, st.booleans(), texts, cuts)
def test_words(listed, whole_word, text, at):
    holds(Keywords(words=listed, whole_word=whole_word), text, at)


@many
@given(words, words, st.booleans(), texts, cuts)
def test_words_with_exceptions(listed, excuses, whole_word, text, at):
    check = Keywords.model_validate({"words": listed, "except": excuses, "whole_word": whole_word})
    holds(check, text, at)


PATTERNS = [
    r"secret",
    r"\bsecret\b",
    r"TCK-\d{3,6}",
    r"[\w.]+@[\w.]+\.(?:com|org)",
    r"(?:a|ab)(?:c|bcd)*d",
    r"\d{3}-\d{2}-\d{4}",
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{4}\b",
    r"a+?b",
    r"x$",
    r"(?i)key: ?\S+",
    r"[^a-z]{2}z",
    r"é\u200b?x".replace("\\u200b", "\u200b"),
]
material = st.lists(
    st.sampled_from(
        "secret SECRET TCK- 12345 a.b @ x.com .org abcd bcdd 123-45-6789 -----BEGIN RSA PRIVATE KEY BLOCK ----- AKIA "
        "AB12 aab x key: KEY:v \n é \u200b ｓｅｃｒｅｔ z Zz _".split(" ")
    )
    | st.text("abcx- .@1", max_size=3),
    max_size=12,
).map("".join)


@cache
def following(*patterns):
    return Regex(patterns={str(n): pattern for n, pattern in enumerate(patterns)})


@pytest.mark.parametrize("pattern", PATTERNS)
@many
@given(text=material, at=st.lists(st.integers(0, 80), max_size=10))
@example(text="secrets", at=[6])
@example(text="secret", at=[3])
@example(text="xsecret ", at=[1, 7])
@example(text="_AKIAAB12 ", at=[1])
def test_patterns(pattern, text, at):
    check = following(pattern)
    assert check.follows
    holds(check, text, at)


@given(text=material, at=st.lists(st.integers(0, 80), max_size=10))
def test_several_patterns_at_once(text, at):
    holds(following(*PATTERNS), text, at)


made = st.recursive(
    st.sampled_from(["a", "b", "ab", "[ab]", "[^a]", ".", r"\w", r"\b", r"\d", "1"]),
    lambda inner: (
        st.builds("({})".format, inner)
        | st.builds("{}{}".format, inner, inner)
        | st.builds("(?:{}|{})".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?"]))
    ),
    max_leaves=6,
)


@many
@given(made, st.text("ab1 ", max_size=14), st.lists(st.integers(0, 14), max_size=5))
def test_patterns_that_nobody_thought_of(pattern, text, at):
    assume(re2.search(pattern, "") is None)
    check = Regex(patterns={"p": pattern})
    assume(check.follows)  # else it can match nothing at all, between two characters
    holds(check, text, at)


@many
@given(made, st.text("ab1 ", max_size=10))
def test_every_beginning_of_a_match_is_a_beginning(pattern, text):
    match = re2.search(pattern, text)
    assume(match is not None and match.end() > match.start())
    assume(re2.search(pattern, "") is None and Regex(patterns={"p": pattern}).follows)
    begun = re2.compile(f"(?:{beginnings(pattern)})\\z")
    for end in range(match.start(), match.end() + 1):
        found = begun.search(text[:end])
        assert found is not None
        assert found.start() <= match.start()


LONG_BEGUN = [*PATTERNS, r"\d{3,5}(?:[ -]\d{2,4}){3,6}", r"(?:[a-c]{2,4}-){4}x", r"[A-C]{12,20}"]
long_material = st.lists(
    st.sampled_from("12 345 6789 - ab-abc- abca ABCABCABC ABCA secret  -----BEGIN ".split(" ")), max_size=16
)


@pytest.mark.parametrize("memory", [4 << 20, 100])  # with too little of it no pattern can say more than all together
@many
@given(st.sets(st.sampled_from(LONG_BEGUN), min_size=1), long_material.map(" ".join) | material, st.integers(0, 9))
def test_more_than_a_little_is_held_only_where_it_must_be(memory, patterns, text, start):
    exactly = re2.compile("(?:" + "|".join(f"(?:{beginnings(pattern)})" for pattern in sorted(patterns)) + r")\z")
    data = text.encode()
    start = min(start, len(data))
    must = exactly.search(data, start)
    must = len(data) if must is None else must.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.checks.following.MEMORY_OF_ONE", memory)
        hold = Beginnings(sorted(patterns), re2.Options()).hold(data, start)
    assert start <= hold <= must
    if memory > 100:
        assert hold == must or len(data) - hold <= CLOSE


@pytest.mark.parametrize("pattern", [r"^secret", r"\pL+x", r"[[:alpha:]]{3}x", r"[1[:alpha:]]{3}x", r"a\z", r"\Aabc"])
def test_what_cannot_be_followed_says_so(pattern):
    with pytest.raises(NotFollowable):
        beginnings(pattern)
    assert not Regex(patterns={"p": pattern}).follows


@pytest.mark.parametrize("space", [r"[[:space:]]", r"[.[:space:]]", r"\pZ", r"[^a-z]", r"\s", " ", r"\x20", "."])
@pytest.mark.parametrize("place", [5, 6, 7])
def test_a_match_with_white_space_is_held_among_many_patterns_as_well(space, place):
    many = {f"p{number}": f"zzz{number}z" for number in range(MANY)}
    holds(Regex(patterns={**many, "p": f"open{space}sesame"}), "x open sesame y", [place, place + 1])


@pytest.mark.parametrize(
    "pattern", [r"\bAKIA[0-9A-Z]{16}\b", r"v1\.[0-9a-f]{3,}", r"(?:a|b+)=\d\d", r"[.a]x", r"\[[!-~]\$"]
)
def test_what_matches_unbroken_runs_only(pattern):
    assert not may_span(pattern)


def test_little_is_held_of_ordinary_prose():
    prose = (
        "The committee met on Tuesday and agreed that the proposal, although it was late, deserved a second "
        "reading. Write to anna.smith@example.com, or call before 12:30; ticket TCK-1234 has the details. "
    ) * 20
    check = Regex(patterns={"mail": PATTERNS[3], "ticket": PATTERNS[2], "ssn": PATTERNS[5], "key": PATTERNS[6]})
    scanner, held = check.scanner(), []
    for number, token in enumerate(re.findall(r"\s?\S{1,5}", prose), 1):
        scan = scanner.feed(token)
        held.append(sum(map(len, re.findall(r"\s?\S{1,5}", prose)[:number])) - scan.safe)
    assert sum(held) / len(held) < 6
    assert sorted(held)[int(len(held) * 0.99)] <= 40


@many
@given(text=material, at=st.lists(st.integers(0, 80), max_size=10))
def test_what_is_long_and_still_forming_is_looked_at_less_often_and_comes_to_the_same(text, at):
    check = following(*PATTERNS)

    def settled():
        scanner = check.scanner(settled=True)
        return [hit for scan in [*map(scanner.feed, cut(text, at)), scanner.end()] for hit in scan.hits]

    at_once = settled()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.checks.following.SHORT", 2)
        holds(check, text, at)
        assert settled() == at_once


def test_a_text_that_never_ends_what_it_has_begun_is_not_looked_at_again_with_each_piece(monkeypatch):
    looked_at = []

    def encoded(text):
        looked_at.append(len(text))
        return Encoded(text)

    monkeypatch.setattr("gateway.checks.following.Encoded", encoded)
    scanner = following(r"key:\S+").scanner()
    for _ in range(10_000):
        assert scanner.feed("key:").safe == 0
    assert scanner.end().hits
    assert sum(looked_at) < 15 * 40_000


def test_a_text_of_which_only_exceptions_begin_is_passed_over_once(monkeypatch):
    passed = []

    def passes(listed, text, place):
        far = of_listed(listed, text, place)
        passed.append(far - place)
        return far

    of_listed = Listed.passes
    monkeypatch.setattr(Listed, "passes", passes)
    scanner = Keywords.model_validate({"words": ["foo"], "except": ["the foo"]}).scanner()
    scanner.feed("token=" * 2_000)
    assert 0 < sum(passed) <= 12_000


def test_what_is_made_of_patterns_when_they_first_read_is_made_on_a_thread():
    check = Regex(patterns={"p": r"(?:\d\d-){3,9}x"})
    with Hurry(), pytest.raises(Crowded):
        check.scanner().feed("1")
    check.scanner().feed("1")
    with Hurry():
        scanner = check.scanner()
        assert scanner.feed("12-").safe == 0
        with pytest.raises(Crowded):
            scanner.feed("34-56-78-90-12-34")
    assert scanner.feed("34-56-78-90-12-34").safe == 0
    with Hurry():
        assert scanner.feed("y").safe == 21


@many
@given(
    st.sampled_from(PATTERNS) | made,
    st.booleans(),
    material | st.text("ab1 é\u200b", max_size=14),
    st.lists(st.integers(0, 80), max_size=10),
    st.lists(st.booleans(), max_size=9),
)
def test_a_scanner_that_has_no_time_has_changed_nothing(pattern, settled, text, at, turns):
    assume(re2.search(pattern, "") is None)
    check = Regex(patterns={"p": pattern})
    assume(check.follows)
    hurried, calm, impatient = check.scanner(settled=settled), check.scanner(settled=settled), Impatient(turns)

    def said(act, *given):
        try:
            with impatient:
                return act(*given)
        except Crowded:
            return act(*given)

    for piece in cut(text, at):
        assert said(hurried.feed, piece) == calm.feed(piece)
    assert said(hurried.end) == calm.end()


@pytest.mark.parametrize(
    ("word", "text", "upto"),
    [
        ("forbidden", "a few Fine fish", 15),  # no "fo" in it
        ("forbidden", "a few FOund", 6),
        ("forbidden", "a few f\u200bo", 6),  # what is not plain may be invisible
        ("forbidden", "a few é", 6),
        ("forbidden", "a few f", 6),  # nobody knows what comes
        ("f", "a few", 2),
        ("f x", "a few", 2),  # white space may be anything
    ],
)
def test_what_begins_no_word_is_passed_over(word, text, upto):
    listed = Listed(Automaton([word]), None, whole_word=False)
    assert listed.passes(text, 0) == upto
    assert Listed(Automaton(["zebra"]), Automaton([word]), whole_word=False).passes(text, 0) == upto
