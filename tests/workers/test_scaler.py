"""When a fleet grows and when it shrinks, on a clock that jumps."""

import math
from itertools import pairwise

import pytest

from benchmarks import day
from pipeline.testing import ManualClock
from workers.scaler import Autoscaler, Demand, Pace, Resize

FRAME_S = 0.1
"""A worker does ten frames a second."""


class Load:
    """Frames that come in at a steady rate, looked at once a second."""

    def __init__(self, *, least: int = 1, most: int = 16) -> None:
        self.clock = ManualClock()
        self.scaler = Autoscaler(least, most, clock=self.clock)
        self.arrived = 0

    def last(self, seconds: int, *, rate: int, waiting: int = 0) -> list[tuple[float, int]]:
        """What changed meanwhile: when, and to how many workers."""
        changes = []
        for _ in range(seconds):
            self.clock.advance(1.0)
            self.arrived += rate
            demand = Demand(self.arrived, waiting, FRAME_S, self.scaler.wanted)
            if (change := self.scaler.decide(demand)) is not None:
                changes.append((self.clock(), change.workers))
        return changes


def test_it_begins_with_the_least() -> None:
    assert Load(least=3).scaler.wanted == 3


def test_there_are_as_many_workers_as_what_comes_in_needs() -> None:
    load = Load()

    load.last(300, rate=47)

    assert load.scaler.wanted == 5


def test_a_rise_is_answered_as_soon_as_it_can_be_seen() -> None:
    load = Load()
    load.last(300, rate=8)

    (grown, *_) = load.last(60, rate=80)

    assert grown[0] <= 300 + 6


def test_what_waits_calls_for_workers_that_work_it_off_within_the_target() -> None:
    load = Load()
    load.last(120, rate=8)

    load.last(1, rate=8, waiting=300)

    assert load.scaler.wanted == math.ceil((8 + 300 / 10) * FRAME_S - 0.15) == 4


def test_a_little_more_than_the_workers_can_do_is_left_to_the_queue() -> None:
    load = Load()

    assert load.last(600, rate=11) == []


def test_nobody_goes_until_fewer_have_done_for_a_while() -> None:
    load = Load()
    load.last(300, rate=47)

    assert load.last(100, rate=8) == []
    changes = load.last(200, rate=8)

    assert changes[0][0] >= 300 + Pace().settle_s
    assert changes[-1][1] == 1


def test_a_short_dip_changes_nothing() -> None:
    load = Load()
    load.last(300, rate=47)

    assert [*load.last(60, rate=2), *load.last(300, rate=47)] == []


def test_between_two_changes_there_is_a_cool_down() -> None:
    load = Load()

    changes = [load.last(7, rate=rate) for rate in (40, 1, 90, 1, 150, 30) * 40]

    at_s = [when for part in changes for when, _ in part]
    assert len(at_s) > 3
    assert all(b - a >= Pace().cool_down_s for a, b in pairwise(at_s))


def test_a_change_is_limited_and_the_next_goes_on() -> None:
    load = Load(most=100)

    changes = load.last(130, rate=1000)

    assert [workers for _, workers in changes] == [9, 17, 25]


def test_there_are_never_more_than_may_be_nor_fewer_than_must() -> None:
    load = Load(least=2, most=4)

    assert [workers for _, workers in load.last(300, rate=1000)] == [4]
    assert [workers for _, workers in load.last(600, rate=0)] == [2]


def test_as_long_as_nobody_can_tell_what_a_frame_costs_nothing_changes() -> None:
    scaler = Autoscaler(1, 8, clock=ManualClock())

    assert scaler.decide(Demand(arrived=1000, waiting=1000, seconds_per_frame=0.0, ready=0)) is None


def test_frames_that_a_dead_worker_had_are_no_fall_of_the_load_below_nothing() -> None:
    clock = ManualClock()
    scaler = Autoscaler(1, 8, clock=clock)
    scaler.decide(Demand(1000, 0, FRAME_S, 1))
    clock.advance(1.0)

    assert scaler.decide(Demand(900, 0, FRAME_S, 1)) is None
    assert scaler.wanted == 1


def test_a_change_says_why() -> None:
    load = Load()
    load.last(120, rate=8)

    change = load.scaler.decide(Demand(load.arrived, 300, FRAME_S, 1))

    assert change == Resize(4, "work for 3.8 workers, 30.0 s of it waiting")


@pytest.mark.parametrize(("least", "most"), [(0, 3), (4, 3)])
def test_bounds_that_cannot_be_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match=f"1 <= least <= most, got {least} and {most}"):
        Autoscaler(least, most)


@pytest.mark.parametrize("number", range(3))
def test_a_day_is_followed_almost_as_well_as_by_who_knows_it_before(number: int) -> None:
    went = day.run(day.load(number))

    assert went.late <= 0.01
    assert went.cost <= 1.15
    assert min(went.gaps_s) >= Pace().cool_down_s


def test_the_best_plan_pays_for_nothing_but_work_and_the_least() -> None:
    a_second = round(1 / day.FRAME_S)

    # At the end of the day what came in its last ten seconds may still wait.
    assert day.best([3 * a_second] * 100, target_age_s=10, least=1) == pytest.approx(270)
    assert day.best([0] * 100, target_age_s=10, least=2) == 200
    # What comes at once may wait until it would be late: one worker has done it by then.
    assert day.best([9 * a_second, *[0] * 99], target_age_s=10, least=1) == 100
