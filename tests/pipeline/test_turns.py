"""Whose turn it is, where many streams want more than there is."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.turns import EQUAL, LOWER_EVERY, Turn, Turns


def served(claims: dict[str, Turn], turns: int) -> list[str]:
    """Who has the turns, where everybody always has something waiting."""
    waiting: Turns[str] = Turns()
    for name, turn in claims.items():
        waiting.add(name, [name], turn)
    order = []
    for _ in range(turns):
        order.append(name := waiting.take())
        waiting.add(name, [name], claims[name])
        waiting.forget()
    return order


def test_equals_come_one_after_another() -> None:
    assert "".join(served({"a": EQUAL, "b": EQUAL, "c": EQUAL}, 9)) == "abcabcabc"


def test_turns_are_in_proportion_to_shares() -> None:
    counts = Counter(served({"a": Turn(share=3), "b": Turn(), "c": Turn(share=0.5)}, 900))
    assert counts == {"a": 600, "b": 200, "c": 100}


def test_who_sends_many_at_once_gets_no_more_than_who_sends_one_by_one() -> None:
    waiting: Turns[str] = Turns()
    waiting.add("greedy", ["g"] * 1000, EQUAL)
    order = []
    for _ in range(100):
        if len(order) % 2 == 0:
            waiting.add("modest", ["m"], EQUAL)
        order.append(waiting.take())
    assert Counter(order) == {"g": 50, "m": 50}


def test_who_was_away_has_nothing_to_catch_up_on() -> None:
    waiting: Turns[str] = Turns()
    waiting.add("there", ["t"] * 1000, EQUAL)
    for _ in range(500):
        waiting.take()
    waiting.add("back", ["b"] * 10, EQUAL)
    assert Counter(waiting.take() for _ in range(20)) == {"t": 10, "b": 10}


def test_who_leaves_and_comes_back_at_once_gains_nothing() -> None:
    waiting: Turns[str] = Turns()
    waiting.add("there", ["t"] * 100, EQUAL)
    order = []
    for _ in range(40):
        waiting.add("hopping", ["h"], EQUAL)
        order.append(waiting.take())
        waiting.forget()
    assert Counter(order)["h"] == 20


def test_a_higher_priority_comes_first_and_leaves_one_turn_in_eight() -> None:
    order = served({"low": EQUAL, "high": Turn(priority=1)}, 80)
    assert order[:LOWER_EVERY] == ["high"] * (LOWER_EVERY - 1) + ["low"]
    assert Counter(order) == {"high": 70, "low": 10}


def test_a_camera_with_a_latest_time_comes_before_a_file_of_the_same_priority_alone() -> None:
    file, camera, better = Turn(), Turn(hurried=True), Turn(priority=1)
    assert served({"file": file, "camera": camera}, 3) == ["camera"] * 3
    assert served({"better": better, "camera": camera}, 3) == ["better"] * 3


def test_ranks_below_take_the_turn_that_is_left_in_rotation() -> None:
    claims = {str(n): Turn(priority=n) for n in range(4)}
    counts = Counter(served(claims, 24 * LOWER_EVERY))
    assert counts == {"3": 24 * (LOWER_EVERY - 1), "2": 8, "1": 8, "0": 8}


def test_without_others_the_lowest_has_every_turn() -> None:
    assert served({"low": Turn(priority=-100)}, 5) == ["low"] * 5


def test_items_of_a_stream_leave_in_their_order() -> None:
    waiting: Turns[int] = Turns()
    waiting.add("a", [1, 2], Turn(share=0.1))
    waiting.add("b", [10, 20], EQUAL)
    waiting.add("a", [3], Turn(share=0.1))
    taken = [waiting.take() for _ in range(5)]
    assert [item for item in taken if item < 10] == [1, 2, 3]
    assert len(waiting) == 0


def test_nothing_is_kept_of_streams_that_are_gone() -> None:
    waiting: Turns[int] = Turns()
    for number in range(1000):
        waiting.add(f"stream-{number}", [number], Turn(priority=number % 3))
    while len(waiting):
        waiting.take()
        waiting.forget()
    assert sum(len(rank.streams) for rank in waiting._ranks.values()) == 0


def test_where_nothing_waits_there_is_no_turn() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        Turns[int]().take()


CLAIMS = st.builds(
    Turn,
    priority=st.integers(0, 2),
    hurried=st.booleans(),
    share=st.sampled_from([0.1, 0.5, 1.0, 2.0, 10.0]),
)


@settings(max_examples=60, deadline=None)
@given(claims=st.lists(CLAIMS, min_size=1, max_size=12), data=st.data())
def test_nobody_starves(claims: list[Turn], data: st.DataObject) -> None:
    """The bound of the module, whoever sends what when."""
    named = {str(number): turn for number, turn in enumerate(claims)}
    ranks = sorted({turn.rank for turn in claims}, reverse=True)
    bounds = {name: longest(turn, name, named, ranks) for name, turn in named.items()}
    waiting: Turns[str] = Turns()
    waits = dict.fromkeys(named, 0)
    there: Counter[str] = Counter()
    eager = data.draw(st.sets(st.sampled_from(sorted(named))))
    for number in range(400):
        for name, turn in named.items():
            if not there[name] and (name in eager or number * 7 % (3 + int(name)) == 0):
                count = 1 + number % 3
                waiting.add(name, [name] * count, turn)
                there[name] += count
        if not len(waiting):
            continue
        taken = waiting.take()
        waiting.forget()
        there[taken] -= 1
        for name in named:
            waits[name] = waits[name] + 1 if there[name] and name != taken else 0
            assert waits[name] <= bounds[name]


def longest(turn: Turn, name: str, named: dict[str, Turn], ranks: list[tuple[int, bool]]) -> float:
    """The most turns of others between two of one stream."""
    rank = [one for other, one in named.items() if one.rank == turn.rank and other != name]
    of_rank = 1 + sum(1 + one.share / turn.share for one in rank)
    if turn.rank == ranks[0]:
        return math.ceil(of_rank * LOWER_EVERY / (LOWER_EVERY - 1)) + 1
    return math.ceil(of_rank) * LOWER_EVERY * (len(ranks) - 1)
