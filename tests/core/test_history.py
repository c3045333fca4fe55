"""What of a question is history, and what was asked last."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.history import last_question, parted
from gateway.core.terms import Passage, Place


def said(path, place, text="x"):
    return Passage(path, place, text)


SYSTEM = said("messages[0].content", Place.SYSTEM)
FIRST = said("messages[1].content[0].text", Place.USER, "first")
JOINED = said("messages[1].content[*]", Place.USER, "first")
ANSWER = said("messages[2].content", Place.ASSISTANT, "answer")
CALL = said("messages[2].tool_calls[0].function.arguments", Place.ASSISTANT)
RESULT = said("messages[3].content", Place.TOOL_RESULT)
NOW = said("messages[4].content", Place.USER, "now")
TOOL = said("tools[0].function.description", Place.TOOL_DEFINITION)


def test_all_up_to_the_last_answer_is_history_but_for_what_holds_for_this_answer_too():
    old, new = parted([SYSTEM, FIRST, ANSWER, CALL, RESULT, NOW, TOOL, JOINED])
    assert old == [(FIRST, JOINED), (ANSWER, CALL)]
    assert new == (SYSTEM, RESULT, NOW, TOOL)


def test_a_first_question_has_no_history():
    assert parted([SYSTEM, FIRST]) == ([], (SYSTEM, FIRST))
    assert parted([]) == ([], ())


def test_items_of_responses_are_turns_too():
    old, new = parted(
        [
            said("input[0].content", Place.USER),
            said("input[1].content[0].text", Place.ASSISTANT),
            said("input[2].content", Place.USER),
        ]
    )
    assert [len(turn) for turn in old] == [1, 1]
    assert [passage.path for passage in new] == ["input[2].content"]


def test_what_the_user_asked_last():
    assert last_question([SYSTEM, FIRST, ANSWER, RESULT, NOW, JOINED]) == (NOW,)
    assert last_question([FIRST, ANSWER, JOINED]) == (FIRST, JOINED)
    assert last_question([said("prompt", Place.USER)]) == (said("prompt", Place.USER),)
    assert last_question([SYSTEM]) == ()


passages = st.lists(
    st.builds(
        Passage,
        st.sampled_from(
            ["messages[0].content", "messages[1].content", "messages[12].name", "input[3].text", "prompt", "x[1]"]
        ),
        st.sampled_from(list(Place)),
        st.text(max_size=3),
    ),
    max_size=12,
)


@given(passages)
def test_nothing_is_lost_and_nothing_is_told_twice(passages):
    old, new = parted(passages)
    told = [*(passage for turn in old for passage in turn), *new]
    assert sorted(map(repr, told)) == sorted(map(repr, passages))
