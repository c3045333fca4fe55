"""What no transcript may break, held against an oracle that knows the rules and none of the code."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.terms import (
    Action,
    Arrived,
    Ask,
    Broke,
    Close,
    Elapsed,
    Ended,
    Examine,
    Found,
    Lane,
    Left,
    Overfull,
    Passage,
    Pause,
    Place,
    Send,
    Side,
    Watch,
    When,
)
from tests.world import FAULT, Scenario, World, delta, found

IN = [Place.SYSTEM, Place.USER, Place.TOOL_RESULT]
OUT = [Place.CONTENT, Place.REASONING, Place.TOOL_CALL]


@st.composite
def watches(draw, names=("a", "b", "c", "d"), silent=None):
    made = []
    for name in names[: draw(st.integers(0, len(names)))]:
        side = draw(st.sampled_from(Side))
        places = draw(st.sets(st.sampled_from(IN if side is Side.INPUT else OUT), min_size=1))
        quiet = draw(st.booleans()) if silent is None else silent
        made.append(
            Watch(
                name,
                side,
                frozenset(places),
                draw(st.sampled_from([Action.BLOCK, Action.FLAG])) if quiet else Action.BLOCK,
                fails_open=draw(st.booleans()),
                when=draw(st.sampled_from(When)),
                lane=draw(st.sampled_from(Lane)),
                shadow=draw(st.booleans()) if quiet else False,
                always_asked=draw(st.booleans()),
            )
        )
    if silent:
        made = [one if not one.gates else replace(one, shadow=True) for one in made]
    return made


deltas = st.lists(
    st.builds(
        delta,
        st.sampled_from(["", "x", "yz", "long text"]),
        st.sampled_from(["content", "reasoning", "tool"]),
        st.integers(0, 5),
    ),
    max_size=6,
)
passages = st.lists(st.builds(Passage, st.just("p"), st.sampled_from(IN), st.just("q")), max_size=3)
outcomes = st.sampled_from(["clear", "hit", "failed"])


@st.composite
def scenarios(draw, **more):
    some = draw(watches())
    said = {one.key: draw(outcomes) for one in some}
    frames = [replace(one, frame=number) for number, one in enumerate(draw(deltas))]
    return Scenario(some, said, draw(passages), frames, draw(st.booleans()), **more)


choices = st.lists(st.integers(0, 50), min_size=60, max_size=60)


def chooser(numbers):
    left = iter(numbers)
    return lambda _n: next(left, 0)


# --- the oracle -------------------------------------------------------------------------------


def reads_something(one, scenario):
    if one.always_asked:
        return True
    if one.side is Side.INPUT:
        return any(p.place in one.places for p in scenario.passages)
    return any(piece.place in one.places for d in scenario.deltas for piece in d.pieces)


def enforced(one):
    return not one.shadow and one.action is Action.BLOCK


def says_no(one, scenario):
    said = scenario.outcomes[one.key]
    refuses = said == "hit" or (said == "failed" and not one.fails_open)
    return enforced(one) and reads_something(one, scenario) and refuses


def expected(scenario):
    """The decision, from the scenario alone: no order of events can matter to it."""
    if any(says_no(one, scenario) for one in scenario.watches if one.side is Side.INPUT):
        return "blocked"
    if scenario.breaks:
        return "failed"
    return "blocked" if any(says_no(one, scenario) for one in scenario.watches) else "released"


# --- the properties ---------------------------------------------------------------------------


@given(scenarios(), choices)
def test_it_always_ends_as_the_oracle_says(scenario, numbers):
    world = World(scenario).run(chooser(numbers))
    assert world.decision == expected(scenario)
    assert not world.looks
    assert not world.calling


@given(scenarios(), choices, choices)
def test_the_order_of_findings_does_not_change_the_verdict(scenario, one, two):
    assert World(scenario).run(chooser(one)).decision == World(scenario).run(chooser(two)).decision


@given(scenarios(), choices)
def test_nothing_is_released_that_is_not_cleared(scenario, numbers):
    cleared = set()
    for event, effects in World(scenario).run(chooser(numbers)).trace:
        if isinstance(event, Found):
            cleared.add(event.finding.watch.key)
        for effect in effects:
            if not isinstance(effect, Send):
                continue
            for one in filter(enforced, scenario.watches):
                if one.side is Side.INPUT and reads_something(one, scenario):
                    assert one.key in cleared
                if one.side is Side.OUTPUT and one.lane is Lane.WHOLE:
                    touches = any(piece.place in one.places for piece in effect.delta.pieces)
                    assert not touches or (one.key in cleared and not says_no(one, scenario))


@given(scenarios(), choices)
def test_what_is_sent_is_a_prefix_and_all_clear_means_all(scenario, numbers):
    world = World(scenario).run(chooser(numbers))
    frames = [d.frame for d in world.sent]
    assert frames == list(range(len(frames)))
    if world.decision == "released":
        assert len(frames) == len(scenario.deltas)


@given(scenarios(), choices)
def test_an_answer_that_is_blocked_whole_never_begins(scenario, numbers):
    """If every text is held and blocked, not even an empty frame commits a status line."""
    world = World(scenario).run(chooser(numbers))
    holders = [o for o in scenario.watches if enforced(o) and o.side is Side.OUTPUT and o.lane is Lane.WHOLE]
    all_held = any(set(OUT) <= one.places and says_no(one, scenario) for one in holders)
    if all_held:
        assert world.sent == []


@given(scenarios(), choices, st.integers(0, 20), st.sampled_from([Left(), Elapsed(), Overfull()]))
def test_after_the_close_nothing_is_sent_and_nothing_that_gates_runs(scenario, numbers, step, ending):
    world = World(scenario).run(chooser(numbers), interrupt=(step, ending))
    closed = False
    for _event, effects in world.trace:
        for effect in effects:
            assert not closed, "an effect after the close"
            closed = isinstance(effect, Close)
    assert closed or step == 0
    if closed:
        late = [event for event, _ in world.trace if isinstance(event, Ended | Broke | Arrived)]
        assert not world.calling
        assert len(late) <= len(scenario.deltas) + 1
        assert not [one for one in world.looks.values() if enforced(one)]
        if world.decision == "left":
            assert not world.looks


@given(scenarios(), watches(names=("s", "t", "u"), silent=True), choices, st.data())
def test_a_silent_check_never_delays_or_changes_a_thing(scenario, silent, numbers, data):
    louder = replace_watches(scenario, [*silent, *scenario.watches], data)
    plain = visible(Quiet(scenario).run(chooser(numbers)))
    assert visible(Quiet(louder).run(chooser(numbers))) == plain


class Quiet(World):
    """A world whose choices are made among what gates; silent looks answer when they like."""

    def _possible(self):
        events = super()._possible()
        gating = [e for e in events if not isinstance(e, Found) or e.finding.watch.gates]
        return gating or events


def replace_watches(scenario, some, data):
    said = {**scenario.outcomes, **{one.key: data.draw(outcomes) for one in some}}
    said = {**said, **scenario.outcomes}
    return replace(scenario, watches=some, outcomes=said)


def visible(world):
    """What a client could notice, at the event after which it happened."""
    seen = []
    for event, effects in world.trace:
        if isinstance(event, Found) and not event.finding.watch.gates:
            assert not effects
            continue
        seen.append([e for e in effects if isinstance(e, Send | Close | Ask | Pause)])
    return seen


@given(scenarios(), watches(names=("x",), silent=False), choices, choices, st.data())
def test_one_more_check_can_only_block_more(scenario, more, one, two, data):
    stricter = replace_watches(scenario, [*scenario.watches, *more], data)
    if World(scenario).run(chooser(one)).decision == "blocked":
        assert World(stricter).run(chooser(two)).decision == "blocked"


@given(scenarios(max_held=8), choices)
def test_what_is_held_is_bounded(scenario, numbers):
    world = World(scenario).run(chooser(numbers))
    held = 0
    waiting = False
    for event, effects in world.trace:
        if isinstance(event, Arrived):
            assert not waiting, "read on while paused"
            held += event.delta.size
        held -= sum(e.delta.size for e in effects if isinstance(e, Send))
        waiting = world_pauses(waiting, effects)
        closed = any(isinstance(e, Close) for e in effects)
        assert held <= 8 or waiting or closed
        if closed:
            break
    assert world.decision in {"released", "blocked", "failed"}


def world_pauses(waiting, effects):
    for effect in effects:
        name = type(effect).__name__
        waiting = name == "Pause" or (waiting and name != "Resume")
    return waiting


@given(scenarios(), choices)
def test_each_check_looks_at_most_once_and_local_ones_before_the_call(scenario, numbers):
    asked = False
    looked = []
    for effect in World(scenario).run(chooser(numbers)).effects:
        if isinstance(effect, Examine):
            looked.append(effect.watch.key)
            if effect.watch.gates and effect.watch.side is Side.INPUT and effect.watch.when is When.BEFORE:
                assert not asked
        asked = asked or isinstance(effect, Ask)
    assert len(looked) == len(set(looked))


def test_the_world_itself_can_fail():
    """The oracle is not a mirror: a scenario that must block is told apart from one that must not."""
    one = Watch("a", Side.INPUT, frozenset({Place.USER}))
    asked = [Passage("p", Place.USER, "q")]
    assert expected(Scenario([one], {one.key: "hit"}, asked, [])) == "blocked"
    assert expected(Scenario([one], {one.key: "clear"}, asked, [])) == "released"
    assert expected(Scenario([one], {one.key: "hit"}, [], [])) == "released"
    assert found(one, "hit").finding.action is Action.BLOCK
    assert FAULT.status == 502
