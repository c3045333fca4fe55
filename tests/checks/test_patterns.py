"""What is shorter than a pattern stands in all that the pattern matches, and is short."""

import contextlib

import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.checks.patterns import NotFollowable, beginnings, looks_at_ends, loosened
from gateway.checks.pii import Pii
from gateway.checks.regex import LONGEST, Regex
from gateway.checks.secrets import NAMED, rules
from gateway.checks.shortening import shortened
from gateway.checks.sieve import FAR, SPACES, CommonSieve
from gateway.checks.urls import Urls
from gateway.core.terms import Passage, Place

# Pairs of a pattern and some texts that it matches, or may match.
LEAVES = st.sampled_from(
    [
        ("a", ["a"]),
        ("b", ["b"]),
        ("ab", ["ab"]),
        ("[ab]", ["a", "b"]),
        ("[^a]", ["b", "-", "1"]),
        (r"\s", [" ", "\n"]),
        (r"\b", [""]),
        (r"\d", ["1"]),
        (".", ["a", "-", "é"]),
        (r"\w", ["A", "1"]),
        # white space, and what only begins or ends like it
        (" ", [" "]),
        ("[ a]", ["a", " "]),
        (r"[\s-]", ["-", " "]),
        (r"[\s\d]", ["1", " "]),
        (r"[\x1c-\x20]", ["\x1c", " "]),
        (r"[\x1b-\x1f]", ["\x1b"]),
        (r"[\x1f-!]", ["!"]),
        ("\u00a0", ["\u00a0"]),
    ]
)
TIMES = st.sampled_from(
    [("?", 0), ("?", 1), ("*", 0), ("*", 5), ("+", 1), ("+", 4), ("{2}", 2), ("{1,3}", 3), ("{2,}", 6), ("{3,9}?", 9)]
)


def in_a_row(parts):
    most = max(len(texts) for _, texts in parts)
    return "".join(pattern for pattern, _ in parts), [
        "".join(texts[n % len(texts)] for _, texts in parts) for n in range(most)
    ]


def one_of(parts):
    return f"(?:{'|'.join(pattern for pattern, _ in parts)})", [text for _, texts in parts for text in texts][:4]


def repeated(part, times):
    pattern, texts = part
    return f"(?:{pattern}){times[0]}", ["".join(texts[(n + k) % len(texts)] for k in range(times[1])) for n in range(2)]


def grown(inner):
    several = st.lists(inner, min_size=1, max_size=4).map(in_a_row)
    return (
        several
        | st.lists(several, min_size=2, max_size=3).map(one_of)
        | st.builds(repeated, several, TIMES)
        | st.builds(lambda flag, part: (f"(?{flag}:{part[0]})", part[1]), st.sampled_from(["i", "s"]), several)
    )


PATTERNS = st.recursive(LEAVES, grown, max_leaves=12)
BESIDE = st.text("abA -1é\n", max_size=3)


@given(PATTERNS, BESIDE, BESIDE, st.sampled_from(["", "(?i)", "(?s)"]), st.integers(1, 8), st.integers(1, 3))
@settings(max_examples=400)
def test_what_is_shortened_stands_near_wherever_the_pattern_matches(part, before, after, flags, most, spaces):
    pattern = flags + part[0]
    try:
        short = re2.compile(shortened(pattern, most, spaces))
    except NotFollowable:
        assume(False)
    for drawn in part[1]:
        text = before + drawn + after
        for match in re2.compile(pattern).finditer(text):
            near = text[max(match.start() - 1, 0) : match.end() + 1]
            if not re2.search(rf"[\s\x0b\x1c-\x1f]{{{spaces + 1}}}", near):
                pieces = [near[at : at + most + 2] for at in range(max(len(near) - most - 1, 1))]
                assert any(map(short.search, pieces)), (shortened(pattern, most, spaces), match[0])


@pytest.mark.parametrize(
    "inside", ["[ a]", r"[\s-]", r"[\s\d]", r"[\x1b-\x1f]", r"[\x1f-!]", "\u00a0", "a", r"\w", "[^a]"]
)
def test_only_white_space_may_be_longer_than_it_is_followed_through(inside):
    runs = {
        "[ a]": "a",
        r"[\s-]": "-",
        r"[\s\d]": "1",
        r"[\x1b-\x1f]": "\x1b",
        r"[\x1f-!]": "!",
        r"\w": "1",
        "[^a]": "b",
    }
    text = "x" + runs.get(inside, inside) * 9 + "y"
    pattern = rf"x{inside}+y"
    assert re2.search(pattern, text)
    assert re2.search(shortened(pattern, 20, 4), text)


@pytest.mark.parametrize("inside", [r"\s", " ", r"[\s\x0b]", r"[\x1c-\x20]", r"[\t ]"])
def test_white_space_is_followed_through_as_far_as_is_said(inside):
    short = shortened(rf"x{inside}+y", 20, 4)
    assert re2.search(short, "x    y")
    assert not re2.search(short, "x     y")
    assert not re2.search(short, "x    ")


@pytest.mark.parametrize(
    ("pattern", "text"), [(r"ab(?:x*cd){2}", "abxcdcd"), (r"ab(?:x*c|d)", "abxc"), (r"(?i:ab(?:x*cd)+)", "ABxcd")]
)
def test_what_is_cut_off_began_where_it_is_cut(pattern, text):
    assert re2.search(shortened(pattern, 4, 8), text)


REAL = sorted({**rules(), **NAMED}.values()) + [pattern for _, pattern in (*Pii().patterns(), *Urls().patterns())]


@given(st.data(), st.sampled_from(REAL), st.text("ab -:=\n", max_size=10), st.text("ab -:=\n", max_size=10))
def test_of_each_rule_what_is_short_stands_in_what_it_matches(data, pattern, before, after):
    text = before + data.draw(st.from_regex(pattern, alphabet=st.characters(max_codepoint=127))) + after
    if re2.search(pattern, text) and not re2.search(rf"\s{{{SPACES + 1}}}", text):
        short = loosened(shortened(pattern, FAR, SPACES))
        pieces = [text[at : at + FAR + 2] for at in range(max(len(text) - FAR - 1, 1))]
        assert any(re2.search(short, piece) for piece in pieces), short


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"key[a-f]{40}", "key" + "a" * 40),
        (r"(?:ab)*c", "c"),
        (r"x?ab", "ab"),
        (r"a+[0-9]{3}", "a123"),
        (r"foo.*bar", "foo"),
        (r"(?:foo|.*)barbara", "barbara"),
        (r"go\s+on", "go on"),
    ],
)
def test_what_is_kept_is_what_is_rare(pattern, text):
    assert re2.search(shortened(pattern, 43, 8), text)
    assert not re2.search(shortened(pattern, 43, 8), text[:-1])


@pytest.mark.parametrize("pattern", ["a*", "(?:a|)", "[[:alpha:]]b", r"\pLab", "(?:a|.*)", "xa{,5}b", "("])
def test_what_cannot_be_told_is_not(pattern):
    with pytest.raises(NotFollowable):
        shortened(pattern, 40, 8)


@pytest.mark.parametrize("form", ["(?:{}|b)", "(?:{}b)?c", "(?:(?i:{})d)"])
@pytest.mark.parametrize("deep", [50, 150, 200, 300, 450])
def test_what_is_too_deep_is_looked_for_in_whole_texts(form, deep):
    pattern = "ab"
    for _ in range(deep):
        pattern = form.format(pattern)
    for asks in (beginnings, lambda one: shortened(one, FAR, SPACES)):
        with contextlib.suppress(NotFollowable):
            assert asks(pattern)
    assert looks_at_ends(pattern) in {True, False}
    if len(pattern) <= LONGEST:
        check = Regex(patterns={"p": pattern})
        common = CommonSieve({"p": check.sieve})
        assert common.silent([Passage("p", Place.USER, "nothing")]) <= {"p"}
        hit = pattern.replace("(?:", "").replace("(?i:", "").replace("|b)", "").replace(")?", "").replace(")", "")
        assert common.silent([Passage("p", Place.USER, hit)]) == set()
        assert check.judge([Passage("p", Place.USER, hit)]).hit


def test_what_re2_reads_otherwise_is_not_followed():
    assert re2.search("xa{,5}yz", "xa{,5}yz") is not None  # to Python: up to five
    with pytest.raises(NotFollowable):
        beginnings("xa{,5}yz")
