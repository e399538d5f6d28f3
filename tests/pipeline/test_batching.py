"""How waiting frames of many streams become batches."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batching import Batcher, isolate
from pipeline.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_full_batch_is_due_at_once(clock: ManualClock) -> None:
    batcher: Batcher[int] = Batcher(3, 1.0, clock)
    batcher.add("a", [1, 2])
    assert batcher.take() == []
    batcher.add("a", [3])
    assert batcher.due_in() == 0.0
    assert batcher.take() == [1, 2, 3]
    assert batcher.due_in() is None


def test_a_part_of_a_batch_is_due_when_its_first_item_has_waited_enough(clock: ManualClock) -> None:
    batcher: Batcher[int] = Batcher(8, 0.5, clock)
    batcher.add("a", [1])
    clock.advance(0.25)
    batcher.add("b", [2])
    assert batcher.due_in() == 0.25
    assert batcher.take() == []
    clock.advance(0.25)
    assert batcher.take() == [1, 2]


def test_what_is_left_behind_keeps_the_time_it_has_waited(clock: ManualClock) -> None:
    batcher: Batcher[int] = Batcher(2, 1.0, clock)
    batcher.add("a", [1, 2, 3])
    clock.advance(0.75)
    assert batcher.take() == [1, 2]
    assert batcher.due_in() == 0.25


def test_streams_take_turns_within_a_batch_and_over_batches(clock: ManualClock) -> None:
    batcher: Batcher[str] = Batcher(3, 0.0, clock)
    batcher.add("greedy", [f"g{i}" for i in range(6)])
    batcher.add("a", ["a0"])
    batcher.add("b", ["b0", "b1"])
    assert batcher.take() == ["g0", "a0", "b0"]
    assert batcher.take() == ["g1", "b1", "g2"]
    assert batcher.take() == ["g3", "g4", "g5"]


def test_an_early_batch_does_not_wait_for_others(clock: ManualClock) -> None:
    batcher: Batcher[int] = Batcher(8, 60.0, clock)
    batcher.add("a", [1])
    assert batcher.take(early=True) == [1]
    assert batcher.take(early=True) == []


def test_clear_takes_everything_out(clock: ManualClock) -> None:
    batcher: Batcher[int] = Batcher(2, 1.0, clock)
    batcher.add("a", [1, 2])
    batcher.add("b", [3])
    assert sorted(batcher.clear()) == [1, 2, 3]
    assert len(batcher) == 0
    assert batcher.due_in() is None


@given(
    calls=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=20),
    max_batch=st.integers(1, 5),
)
def test_nothing_is_lost_doubled_or_put_out_of_order(
    calls: list[tuple[str, int]], max_batch: int
) -> None:
    batcher: Batcher[tuple[str, int]] = Batcher(max_batch, 0.0, ManualClock())
    sent: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for stream, count in calls:
        numbers = range(len(sent[stream]), len(sent[stream]) + count)
        sent[stream] += numbers
        batcher.add(stream, [(stream, number) for number in numbers])
    got: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    while batch := batcher.take():
        assert len(batch) <= max_batch
        for stream, number in batch:
            got[stream].append(number)
    assert got == sent
    assert len(batcher) == 0


class Poisoned(Exception):
    pass


@given(poison=st.sets(st.integers(0, 11)), size=st.integers(0, 12))
def test_only_the_items_that_fail_alone_are_failures(poison: set[int], size: int) -> None:
    def double(items: Sequence[int]) -> list[int]:
        if poison & set(items):
            raise Poisoned
        return [2 * item for item in items]

    outcome = isolate(double, range(size), Poisoned)
    assert len(outcome) == size
    for item, result in enumerate(outcome):
        assert isinstance(result, Poisoned) if item in poison else result == 2 * item


def test_an_item_that_is_alone_gets_a_second_chance() -> None:
    attempts = []

    def fails_once(items: Sequence[int]) -> list[int]:
        attempts.append(list(items))
        if len(attempts) == 1:
            raise Poisoned
        return list(items)

    assert isolate(fails_once, [7], Poisoned) == [7]
    assert attempts == [[7], [7]]


def test_an_item_that_failed_in_company_and_alone_is_not_tried_again() -> None:
    attempts = []

    def fails(items: Sequence[int]) -> list[int]:
        attempts.append(list(items))
        raise Poisoned

    assert all(isinstance(one, Poisoned) for one in isolate(fails, [1, 2], Poisoned))
    assert attempts == [[1, 2], [1], [2]]


def test_errors_of_another_kind_are_let_through() -> None:
    def broken(items: Sequence[int]) -> list[int]:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        isolate(broken, [1, 2], Poisoned)
