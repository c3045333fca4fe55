"""The doors: never more than the limit, first come first served, and nobody's place is lost."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission import Admission, Answer


def test_a_transcript():
    doors = Admission(2, 1)
    assert [doors.ask(guest) for guest in "abcd"] == [Answer.IN, Answer.IN, Answer.WAIT, Answer.FULL]
    assert doors.full
    assert doors.leave("c") is None  # hung up in the queue: its place in it is free again
    assert doors.ask("e") is Answer.WAIT
    assert doors.leave("a") == "e"
    assert (doors.inside, doors.waiting) == (2, 0)
    assert [doors.leave(guest) for guest in "abe"] == [None] * 3
    assert (doors.inside, doors.waiting) == (0, 0)


def test_without_a_queue_nobody_waits():
    doors = Admission(1, 0)
    assert [doors.ask("a"), doors.ask("b")] == [Answer.IN, Answer.FULL]


@given(
    most=st.integers(1, 4),
    most_waiting=st.integers(0, 4),
    moves=st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=80),
)
def test_never_more_than_the_limit_and_first_come_first_served(most, most_waiting, moves):
    """`None` is a new guest; a number is somebody (here before or not, once or again) who leaves."""
    doors = Admission(most, most_waiting)
    inside, queue, count = [], [], 0
    for move in moves:
        if move is None:
            guest = str(count)
            count += 1
            answer = doors.ask(guest)
            if len(inside) < most:
                assert answer is Answer.IN
                inside.append(guest)
            elif len(queue) < most_waiting:
                assert answer is Answer.WAIT
                queue.append(guest)
            else:
                assert answer is Answer.FULL
        else:
            guest = str(move)
            following = doors.leave(guest)
            if guest in inside and queue:
                assert following == queue[0]
                inside.append(queue.pop(0))
            else:
                assert following is None
            inside = [one for one in inside if one != guest]
            queue = [one for one in queue if one != guest]
        assert doors.inside == len(inside) <= most
        assert doors.waiting == len(queue) <= most_waiting
        assert not queue or len(inside) == most, "nobody waits while there is a place"
    for number in range(count):
        doors.leave(str(number))
    assert (doors.inside, doors.waiting) == (0, 0)
