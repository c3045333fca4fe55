"""The one pass over all texts: its "no" is never wrong, whatever stands beside a text."""

import itertools
import time
from random import Random

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks import sieve as sieve_
from gateway.checks import texts as texts_
from gateway.checks.keywords import Keywords
from gateway.checks.patterns import looks_at_ends, loosened
from gateway.checks.pii import Pii
from gateway.checks.regex import Regex
from gateway.checks.secrets import NAMED, Secrets, rules
from gateway.checks.sieve import CommonSieve, Sieve
from gateway.checks.texts import folded
from gateway.checks.urls import Urls
from gateway.core.terms import Judgement, Passage, Place
from tests.checks.test_finding import PIECES

# Patterns that ask where a text begins or ends, each with a text in which it matches.
ENDS = {
    r"^ab": "ab",
    r"ab$": "ab",
    r"\Aa": "a",
    r"b\z": "b",
    r"(?:^|x)a": "a",
    r"(?m)^b$": "a\nb",
    r"a(?:b|$)": "a",
    r"\pL$": "b",
    r"^[[:alpha:]]": "b",
}
ANYWHERE = [
    r"ab",
    r"a\nb",
    r"\bab\b",
    r"\Bb",
    r"b\B",
    r"\B-\B",
    r"[^a]b",
    r"(?i)A+b",
    r"a.b",
    r"\$\^",
    r"[$^]a",
    r"-\b",
]
SHORT = st.text("abA-\n $^éａ東\u200b…", max_size=6)


def said(texts):
    return [Passage(f"messages[{number}].content", Place.USER, text) for number, text in enumerate(texts)]


def scanned(check, passages):
    """Every hit, by a scanner that is given each text whole."""
    spans = []
    for passage in passages:
        scanner = check.scanner(settled=True)
        hits = [*scanner.feed(passage.text).hits, *scanner.end().hits]
        spans += [(passage.path, *hit) for hit in dict.fromkeys(hits)]
    return tuple(spans)


def sieve(patterns):
    together = re2.Set.SearchSet(re2.Options())
    for pattern in patterns:
        together.Add(pattern)
    together.Compile()
    return Sieve(together, patterns, at_once=300)


@given(st.lists(st.sampled_from([*ENDS, *ANYWHERE]), min_size=1, max_size=3), st.lists(SHORT, max_size=4))
def test_what_it_lets_pass_matches_nowhere(patterns, texts):
    found = any(re2.search(pattern, text) for pattern in patterns for text in texts)
    passes = sieve(patterns).lets_pass(said(texts))
    assert not (passes and found)
    if len(texts) < 2 and all(map(str.isascii, texts)):
        assert passes != found


@pytest.mark.parametrize(("pattern", "text"), ENDS.items())
def test_a_pattern_that_asks_for_an_end_is_asked_of_each_text(pattern, text):
    assert looks_at_ends(pattern)
    assert not sieve([pattern]).lets_pass(said(["-", text, "-"]))
    assert sieve([pattern]).lets_pass(said(["-", "-"]))


@pytest.mark.parametrize("pattern", ANYWHERE)
def test_other_patterns_are_asked_once(pattern):
    assert not looks_at_ends(pattern)


words = st.lists(st.text("ab .ß", min_size=1, max_size=3).filter(str.strip), min_size=1, max_size=3)


@given(words, st.lists(st.text("abAB .ßẞ\u00a0\n\x1c", max_size=8), max_size=4))
def test_keywords_find_in_many_texts_what_they_find_in_each(words, texts):
    hit = [text for text in texts if any(folded(word) in folded(text) for word in words)]
    passages = said(texts)
    check = Keywords(words=words)
    paths = tuple(one.path for one in passages if one.text in hit)
    assert check.judge(passages).paths == check.find(passages).paths == paths


PATTERNED = [Secrets(), Pii(), Urls(allow=["good.example"])]


@given(st.sampled_from(PATTERNED), st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=4))
def test_a_kind_with_patterns_finds_in_many_texts_what_it_finds_in_each(check, texts):
    passages = said(texts)
    assert check.find(passages).spans == scanned(check, passages)


@given(st.sampled_from([*ENDS, *ANYWHERE]), st.lists(SHORT, max_size=4))
def test_a_regex_finds_in_many_texts_what_it_finds_in_each(pattern, texts):
    if re2.search(pattern, "") is None:
        passages = said(texts)
        each = [one.path for one in passages if any(re2.search(pattern, look) for look in texts_.looks(one.text))]
        check = Regex(patterns={"p": pattern}, case_sensitive=True)
        assert check.judge(passages).paths == tuple(each)
        assert check.find(passages).spans == scanned(check, passages)


TOGETHER = {
    "words": Keywords(words=["b a", "AB"]),
    "cased": Regex(patterns={"p": r"[^a]b"}, case_sensitive=True),
    "folded": Regex(patterns={"p": r"a\bb?-", "q": "ba"}),
    "ends": Regex(patterns={"p": r"^a"}),
    "secrets": Secrets(),
    "pii": Pii(),
}
COMMON = CommonSieve({name: check.sieve for name, check in TOGETHER.items()})


@given(st.lists(SHORT | st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=4))
def test_whom_the_common_sieve_calls_silent_finds_nothing(texts):
    passages = said(texts)
    silent = COMMON.silent(passages)
    assert not {name for name in silent if any(TOGETHER[name].judge([one]).hit for one in passages)}
    if not "".join(texts):
        assert silent == {*TOGETHER} - {"ends"}


def test_a_check_whose_patterns_ask_for_ends_is_in_no_common_sieve():
    assert COMMON.names == {*TOGETHER} - {"ends"}
    assert COMMON.silent(said(["no", "thing"])) == COMMON.names
    assert COMMON.silent(said(["b", "a"])) == COMMON.names - {"words"}  # across two texts it only says less
    assert COMMON.silent(said(["é"])) == COMMON.names - {"words"}  # folded it holds an e
    assert COMMON.silent(said(["東京"])) == COMMON.names
    assert COMMON.silent(said(["…"])) == set()


@pytest.mark.parametrize(
    ("pattern", "looser"),
    [
        (r"a{9}", r"a{8,}"),
        (r"a{3}", r"a{3}"),
        (r"a{3,}", r"a{3,}"),
        (r"a{0,8}b{0,9}", r"a{0,8}b{0,}"),
        (r"(?:a{2,16}[{20}]\{30}){40,}?", r"(?:a{2,}[{20}]\{30}){8,}?"),
        (r"[]{20}]{20}", r"[]{20}]{8,}"),
        (r"[^\]{20}]\\{20}", r"[^\]{20}]\\{8,}"),
        (r"[[:alpha:]{20}]{20}", r"[[:alpha:]{20}]{20}"),
    ],
)
def test_what_is_repeated_often_may_be_repeated_at_will(pattern, looser):
    assert loosened(pattern) == looser
    re2.compile(looser)


@given(st.data(), st.sampled_from(sorted({**rules(), **NAMED}.values())))
def test_a_looser_pattern_matches_wherever_the_pattern_does(data, pattern):
    text = data.draw(st.from_regex(pattern, alphabet=st.characters(max_codepoint=127)))
    if re2.search(pattern, text):  # at the ends of words the two engines may differ
        assert re2.search(loosened(pattern), text)


def test_a_text_that_begins_a_token_everywhere_takes_no_state_for_each_of_its_characters():
    random = Random(1)
    text = "-".join(random.choices(["sk-", "AKIA", "SG.", "eyJ", "hvs.", "s.", "xox", "gh", "pat"], k=20_000))
    common = CommonSieve({"secrets": Secrets().sieve, "pii": Pii().sieve})
    common.silent(said(["compiled"]))
    began = time.process_time()
    common.silent(said([text]))
    assert time.process_time() - began < 0.5  # a fifth of that; with a state for each character 1 s or more


def test_a_kind_that_extends_another_and_judges_in_its_own_way_has_no_sieve():
    class Stricter(Keywords):
        use: str = "stricter"

        def judge(self, passages):
            return Judgement(hit=True)

    assert Keywords(words=["a"]).sieve is not None
    assert Stricter(words=["a"]).sieve is None


def test_too_many_patterns_for_one_pass_are_asked_by_each_check(monkeypatch):
    monkeypatch.setattr(sieve_, "MEMORY", 1 << 16)
    common = CommonSieve({name: check.sieve for name, check in TOGETHER.items()})
    assert (
        common.silent(said(["nothing"])) == common.soon(said(["nothing"]), lambda: 1.0) == {"words", "cased", "folded"}
    )


@given(
    st.lists(
        st.sampled_from(["swordfish", " ", "b  a", "x", "na\u00efve", "a" * 50, "word " * 40, " " * 30, *PIECES]),
        max_size=30,
    ).map("".join),
    st.integers(0, 400),
)
def test_a_text_that_is_read_a_little_at_a_time_says_no_less(text, before):
    passages = said(["." * before + text])
    silent = COMMON.soon(passages, lambda: 1.0)
    assert silent is not None
    assert not {name for name in silent if any(TOGETHER[name].judge([one]).hit for one in passages)}


@pytest.mark.parametrize("after", [0, 1, 900])
def test_what_is_as_long_as_can_be_is_seen_wherever_it_stands(after):
    word = "w" + "o" * (sieve_.FAR - 2) + "d"
    common = CommonSieve({"words": Regex(patterns={"p": rf"\b{word}\b"}).sieve, "secrets": Secrets().sieve})
    unseen = [n for n in range(1600) if "words" in common.soon(said(["." * n + word + "." * after]), lambda: 1.0)]
    assert unseen == []


def test_on_the_event_loop_it_reads_no_more_once_time_is_up(monkeypatch):
    read = []
    clock = itertools.count(0.0, sieve_.SOON * 0.4)
    monkeypatch.setattr(sieve_._Pass, "read", lambda _self, text, _found: read.append(text))
    assert COMMON.soon(said(["a" * 10_000]), lambda: next(clock)) is None
    assert 1 <= len(read) <= 4
    assert max(map(len, read)) <= Regex.inline


def test_more_white_space_than_a_pattern_is_followed_through_is_looked_at_closer():
    common = CommonSieve({"words": Keywords(words=["go on"]).sieve, "secrets": Secrets().sieve})
    assert common.silent(said(["go" + " " * sieve_.SPACES + "o"])) == common.names
    assert common.silent(said(["go" + " " * sieve_.SPACES + "on"])) == {"secrets"}
    assert common.silent(said(["go" + " " * (sieve_.SPACES + 1) + "on"])) == set()


def whose(one):
    return sorted(set().union(*one._whose))


def test_a_check_with_many_patterns_has_a_pass_of_its_own():
    fifty = Regex(patterns={f"p{n}": rf"w{n}\d" for n in range(50)})
    passes = CommonSieve({"a": fifty.sieve, **{n: c.sieve for n, c in TOGETHER.items()}})._passes
    assert [whose(one) for one in passes] == [["cased", "folded", "words"], ["a"], ["secrets"], ["pii"]]
    plain = CommonSieve({name: TOGETHER[name].sieve for name in ("words", "secrets")})._passes
    assert [whose(one) for one in plain] == [["secrets", "words"]]


@pytest.mark.parametrize("size", [sieve_.LONG, sieve_.LONG + 1])
def test_a_long_text_is_asked_about_by_itself(size):
    assert COMMON.silent(said(["x", "y" * size, "z"])) == COMMON.names
    assert COMMON.silent(said(["x", "y" * (size - 2) + "AB", "z"])) == COMMON.names - {"words"}


def every(ranges):
    for first, _, last in (part.partition("-") for part in ranges.split()):
        yield from map(chr, range(int(first, 16), int(last or first, 16) + 1))


def test_what_is_said_to_be_its_own_plain_form_is():
    assert [hex(ord(c)) for c in every(texts_.OWN_PLAIN) if texts_.PLAIN[c] != c] == []
    assert sum(1 for _ in every(texts_.OWN_PLAIN)) > 40_000


def test_what_is_said_to_hold_no_ascii_folded_holds_none_and_no_space_and_something():
    for character in every(texts_.NEVER_ASCII):
        folded_ = texts_.FOLDED[character]
        assert folded_, hex(ord(character))
        assert not any(one.isascii() or one.isspace() for one in folded_), hex(ord(character))
