"""Which frames of a process travel together."""

import math

import pytest

from pipeline.turns import Turn
from workers.waiting import ANY, Pending, Waiting, Wants

FIRST = Wants(turn=Turn(priority=1))


def item(name: str, *, wants: Wants = ANY, size: int = 10, since_s: float = 0.0) -> Pending:
    """A frame by its stream and number, a1 say."""
    return Pending(int(name[1:]), name[0], wants, size, since_s)


def waiting(*names: str, size: int = 10) -> Waiting:
    made = Waiting()
    for name in names:
        made.add(item(name, size=size))
    return made


def taken(made: Waiting, most: int, most_bytes: float = math.inf, wants: Wants = ANY) -> str:
    return " ".join(f"{one.stream}{one.ticket}" for one in made.take(wants, most, most_bytes))


@pytest.mark.parametrize(
    ("names", "messages"),
    [
        ("a1 a2 a3", ["a1 a2 a3"]),
        ("a1 b2 c3", ["a1 b2 c3"]),
        ("a1 a2 b3 b4", ["a1 a2 b3 b4"]),
        ("a1 a2 a3 b4", ["a1 a2 a3", "b4"]),
        ("a1 b2 c3 d4 e5", ["a1 b2 c3 d4", "e5"]),
        ("a1 b2 c3 c4 d5 d6 e7", ["a1 b2 e7", "c3 c4 d5 d6"]),
        ("a1 a2 b3 b4 c5 c6", ["a1 a2 b3 b4", "c5 c6"]),
        ("a1 a2 a3 a4 a5 a6 b7", ["a1 a2 a3 a4", "b7", "a5 a6"]),
    ],
)
def test_each_stream_has_all_its_frames_in_a_message_and_as_many_as_the_others(
    names: str, messages: list[str]
) -> None:
    made = waiting(*names.split())
    assert [taken(made, 4) for _ in messages] == messages
    assert made.wanted == []


def test_who_was_in_the_last_message_comes_behind_those_that_were_not() -> None:
    made = waiting("a1", "b2", "c3", "a4")
    assert [taken(made, 1) for _ in range(2)] == ["a1", "b2"]
    assert taken(made, 2) == "c3 a4"


def test_a_message_holds_as_many_bytes_as_there_is_room_for_and_one_frame_at_least() -> None:
    assert taken(waiting("a1", "b2", "c3", size=10), 4, most_bytes=25) == "a1 b2"
    assert taken(waiting("a1", "a2", "a3", size=10), 4, most_bytes=25) == "a1 a2"
    assert taken(waiting("a1", "b2", size=10), 4, most_bytes=5) == "a1"


def test_frames_that_claim_other_turns_or_want_another_model_share_no_message() -> None:
    made, other = Waiting(), Wants(model=1)
    made.add(item("a1", since_s=2.0))
    made.add(item("b2", wants=FIRST, since_s=1.0))
    made.add(item("c3", wants=other, since_s=3.0))
    assert made.wanted == [FIRST, ANY, other]  # who waits longest first
    assert [taken(made, 4, wants=wants) for wants in (ANY, FIRST, other)] == ["a1", "b2", "c3"]


def test_frames_that_come_back_stand_where_their_stream_has_them_and_before_others() -> None:
    made = waiting("b3", "a5")
    made.again([item("a4"), item("a2")])
    assert taken(made, 1) == "a2"
    assert taken(made, 1) == "b3"
    assert taken(made, 4) == "a4 a5"


def test_a_stream_that_is_forgotten_leaves_no_lane_behind() -> None:
    made = waiting("a1", "b2")
    made.add(item("a3", wants=FIRST))
    made.forget("a")
    assert made.wanted == [ANY]
    assert (made.count(ANY), made.first(ANY).stream) == (1, "b")
