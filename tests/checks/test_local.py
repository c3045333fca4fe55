"""The local kinds: what they find, what they leave, what they refuse to be told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.checks import KINDS, texts
from gateway.checks.keywords import Keywords
from gateway.checks.length import Length
from gateway.checks.regex import Regex
from gateway.checks.texts import folded
from gateway.core.terms import Passage, Place


def says(text, path="messages[0].content"):
    return [Passage(path, Place.USER, text)]


def test_every_kind_is_found_by_its_word():
    assert {"keywords", "regex", "length", "judge", "moderation"} <= set(KINDS)


# --- keywords ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("a bomb here", True),
        ("BOMB", True),
        ("bo\u200bmb", True),
        ("ｂｏｍｂ", True),
        ("bomb.", True),
        ("(bomb)", True),
        ("bоmb", True),  # the o is Cyrillic
        ("ВОМВ", True),  # all of it is
        ("ʙᴏᴍʙ", True),
        ("бомба", False),
        ("bombastic", False),
        ("bath_bomb", False),
        ("a bath bomb", False),
        ("a bath bomb and a bomb", True),
        ("pipe\n  wrench", True),
        ("pipe wrenches", False),
        ("", False),
    ],
)
def test_keywords(text, hit):
    check = Keywords.model_validate({"words": ["bomb", "Pipe Wrench"], "whole_word": True, "except": ["bath bomb"]})
    judged = check.judge(says(text))
    assert judged.hit is hit
    assert judged.paths == (("messages[0].content",) if hit else ())


def test_keywords_inside_words_unless_whole_words_are_asked_for():
    assert Keywords(words=["bomb"]).judge(says("bombastic")).hit


@given(
    st.lists(st.text("ab .*(ß\u00a0", min_size=1, max_size=4).filter(lambda w: w.strip()), min_size=1, max_size=4),
    st.text("abAB .*(ßẞ\u00a0\u2003\n\x1c", max_size=30),
)
def test_the_fast_no_of_keywords_is_never_wrong(words, text):
    """Found is what a plain search finds, one word after the other."""
    flat = folded(text)
    assert Keywords(words=words).judge(says(text)).hit == any(folded(word) in flat for word in words)


def test_more_keywords_than_the_fast_no_has_room_for():
    words = [f"word{number}x" for number in range(5000)]
    assert Keywords(words=words).judge(says("a WORD4321X")).hit
    assert not Keywords(words=words).judge(says("a word5001x")).hit


def test_keywords_that_are_too_long_for_the_fast_no():
    """Whole paragraphs: RE2 has no room for so much at once."""
    words = [f"{number} {'so much text that it is a paragraph ' * 40}end" for number in range(150)]
    assert Keywords(words=words).judge(says(f"It says: {words[77].upper()}.")).hit
    assert not Keywords(words=words).judge(says(words[77][:-1])).hit


def test_keywords_from_a_file_beside_the_policy(tmp_path):
    (tmp_path / "words.txt").write_text("# list\nbomb\n\nfuse # not a comment\n")
    check = Keywords.model_validate({"files": ["words.txt"]}, context={"folder": tmp_path})
    assert check.judge(says("a bomb")).hit
    with pytest.raises(ValidationError, match="does not exist beside the policy"):
        Keywords.model_validate({"files": ["none.txt"]}, context={"folder": tmp_path})
    with pytest.raises(ValidationError, match=r"did you mean 'words.txt'\?"):
        Keywords.model_validate({"files": ["word.txt"]}, context={"folder": tmp_path})


@pytest.mark.parametrize(
    "settings", [{}, {"words": [" "]}, {"words": ["\u200b"]}, {"words": ["x"], "except": [""]}, {"word": ["x"]}]
)
def test_keywords_that_cannot_act_are_refused(settings):
    with pytest.raises(ValidationError):
        Keywords.model_validate(settings)


@given(st.text(), st.text())
def test_a_planted_keyword_is_always_found(before, after):
    assert Keywords(words=["xq7zz"]).judge(says(before + "XQ7ZZ" + after)).hit
    assert Keywords(words=["xq7zz"], whole_word=True).judge(says(f"{before} xq7zz {after}")).hit


def test_whoever_sends_every_character_there_is_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(texts, "MOST_KEPT", 100)
    forms = texts.Forms(str.upper)
    assert "".join(forms[character] for character in map(chr, range(1000))) == "".join(map(chr, range(1000))).upper()
    assert len(forms) <= 100


# --- regex ------------------------------------------------------------------------------------


def test_regex_names_what_matched():
    check = Regex(patterns={"one": r"foo\d+", "two": "bar"})
    judged = check.judge([*says("FOO7"), *says("nothing", "b"), *says("bar", "c")])
    assert (judged.hit, judged.categories, judged.paths) == (True, ("one", "two"), ("messages[0].content", "c"))
    assert not check.judge(says("foo")).hit
    assert not Regex(patterns={"one": "foo"}, case_sensitive=True).judge(says("FOO")).hit
    assert check.judge(says("f\u200boo7")).hit


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "not valid RE2"),
        (r"(?=x)y", "look-around"),
        (r"(a)\1", "backreferences"),
        ("a*", "empty text"),
        ("x" * 5000, "longer"),
    ],
)
def test_a_pattern_that_cannot_act_is_refused(pattern, said):
    with pytest.raises(ValidationError, match=said):
        Regex(patterns={"p": pattern})


def test_patterns_that_need_too_much_memory_together_are_refused():
    with pytest.raises(ValidationError, match="16 MiB"):
        Regex(patterns={f"p{number}": rf"{number}.{{900}}\pL{{80}}" for number in range(60)})


@given(st.text(alphabet=st.characters()))
def test_regex_reads_any_text(text):
    check = Regex(patterns={"p": "zq+9"})
    assert check.judge(says(text + "zqq9")).hit
    assert not check.judge(says(text.replace("9", ""))).hit


# --- length -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "text", "hit"),
    [
        ({"max_characters": 3}, "abc", False),
        ({"max_characters": 3}, "abcd", True),
        ({"min_characters": 3}, "ab", True),
        ({"max_words": 2}, "a b  c", True),
        ({"min_words": 2}, "a", True),
        ({"max_tokens": 1}, "abcde", True),
        ({"max_tokens": 1}, "abcd", False),
        ({"max_tokens": 1}, "üüü", True),
    ],
)
def test_length(bound, text, hit):
    judged = Length(**bound).judge(says(text))
    assert judged.hit is hit
    assert judged.categories == ((f"length_{next(iter(bound)).split('_')[1]}",) if hit else ())


def test_length_counts_messages_and_no_copies():
    told = [*says("a", "messages[0].content"), *says("b", "messages[1].content"), *says("ab", "messages[0].content[*]")]
    assert Length(max_messages=1).judge(told).hit
    assert not Length(max_messages=2, max_characters=2).judge(told).hit
    assert Length(min_characters=1).judge([]).hit


def test_length_needs_a_bound():
    with pytest.raises(ValidationError, match="at least one bound"):
        Length()
