"""Criteria: many questions at once, decided as early as the rule allows, and never by a question without an answer."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.checks.base import CheckFault
from gateway.checks.criteria import Criteria
from gateway.core.terms import Examine, Judgement, Passage, Place
from gateway.server.consult import Counsel, look_once
from tests.world import watch

QUESTIONS = {"rude": "Is it rude?", "wrong": "Is it wrong?", "long": "Is it long?"}


def made(**settings):
    return Criteria.model_validate({"use": "criteria", "model": "m", "questions": QUESTIONS, **settings})


RULES = [
    ({}, lambda yes: len(yes) >= 1),
    ({"combine": "all"}, lambda yes: len(yes) == 3),
    ({"combine": "k_of_n", "k": 2}, lambda yes: len(yes) >= 2),
    (
        {"combine": "weighted_mean", "weights": {"rude": 2.0}},
        lambda yes: sum(2 if n == "rude" else 1 for n in yes) >= 2,
    ),
    ({"combine": "weighted_mean", "threshold": 0.7}, lambda yes: len(yes) / 3 >= 0.7),
    ({"combine": "any", "weights": {"rude": 9.0}}, lambda yes: len(yes) >= 1),
]


@pytest.mark.parametrize(("settings", "rule"), RULES)
def test_each_rule_for_all_answers_in_every_order(settings, rule):
    """Told one by one, it is decided once and stays so; in the end it is what the rule says of all."""
    check = made(**settings)
    for answers in itertools.product([True, False], repeat=3):
        whole = dict(zip(QUESTIONS, answers, strict=True))
        hit = rule([name for name, yes in whole.items() if yes])
        for order in itertools.permutations(QUESTIONS):
            said = {}
            for name in order:
                said[name] = Judgement(whole[name])
                assert check.decided(said) in ({hit} if len(said) == 3 else {hit, None})
            assert check.judgement(said).hit is hit


@given(st.dictionaries(st.sampled_from(list(QUESTIONS)), st.sampled_from([True, False, None])), st.sampled_from(RULES))
def test_a_missing_answer_is_never_guessed(said, rule):
    """Decided only if every way to answer what is missing comes to the same."""
    settings, decides = rule
    check = made(**settings)
    told = {name: None if yes is None else Judgement(yes) for name, yes in said.items()}
    missing = [name for name in QUESTIONS if said.get(name) is None]
    ends = set()
    for answers in itertools.product([True, False], repeat=len(missing)):
        whole = {**said, **dict(zip(missing, answers, strict=True))}
        ends.add(decides([name for name, yes in whole.items() if yes]))
    try:
        decided = check.decided(told)
    except CheckFault:
        assert len(told) == 3
        decided = None
    assert decided == (ends.pop() if len(ends) == 1 else None)


def asking(**answers):
    """A port whose model answers by the question; "hang" never does."""
    asked = []

    async def ask(_endpoint, _model, body):
        text = body["messages"][0]["content"]
        name = next(name for name, question in QUESTIONS.items() if question in text)
        asked.append(name)
        if answers[name] == "hang":
            await asyncio.sleep(30)
        return {"choices": [{"message": {"content": answers[name]}}], "usage": {"total_tokens": 2}}

    return asked, Counsel(lambda *_: ask)


@pytest.mark.parametrize(
    ("answers", "outcome", "named"),
    [
        ({"rude": "YES", "wrong": "hang", "long": "hang"}, "hit", ("rude",)),
        ({"rude": "NO", "wrong": "NO", "long": "NO"}, "clear", ()),
        ({"rude": "NO", "wrong": "perhaps", "long": "NO"}, "failed", ()),
        ({"rude": "NO", "wrong": "perhaps", "long": "YES"}, "hit", ("long",)),
    ],
)
async def test_all_at_once_and_as_early_as_can_be(answers, outcome, named):
    asked, counsel = asking(**answers)
    shown = Examine(watch("one"), (Passage("p", Place.USER, "hm"),))
    finding = await look_once(made(), shown, counsel)
    assert finding.outcome == outcome
    assert set(asked) == set(QUESTIONS)
    if outcome == "failed":
        assert finding.note == "no answer to wrong"
    else:
        assert finding.judgement.categories == named
        assert finding.judgement.usage["total_tokens"] in {2, 4, 6}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"combine": "k_of_n"}, "'k' belongs"),
        ({"k": 2}, "'k' belongs"),
        ({"combine": "k_of_n", "k": 4}, "at most 3"),
        ({"weights": {"rud": 1.0}}, "no question 'rud'"),
        ({"questions": {}}, "at least 1"),
    ],
)
def test_settings_that_cannot_act(settings, words):
    with pytest.raises(ValidationError, match=words):
        made(**settings)
