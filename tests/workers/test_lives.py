"""When a worker counts as stuck, and when a dead one may come back."""

from pipeline.testing import ManualClock
from workers.dispatch import Load
from workers.lives import Limits, Restarts, stuck


def test_restarts_are_allowed_up_to_the_limit_and_again_once_the_window_has_passed() -> None:
    clock = ManualClock()
    restarts = Restarts(limit=2, window_s=60.0, clock=clock)
    for _ in range(2):
        assert restarts.allowed
        restarts.note()
        clock.advance(10.0)
    assert not restarts.allowed
    assert str(restarts) == "2 restarts within 60 s"
    clock.advance(39.9)
    assert not restarts.allowed
    clock.advance(0.1)
    assert restarts.allowed
    assert restarts.total == 2


def test_a_batch_is_stuck_after_the_timeout_and_three_times_what_it_should_take() -> None:
    load = Load(seconds_per_frame=0.5)  # 3 x 8 x 0.5 s = 12 s
    assert not stuck(72.0, load, batch_timeout_s=60.0, max_batch=8)
    assert stuck(72.1, load, batch_timeout_s=60.0, max_batch=8)
    assert stuck(60.1, Load(), batch_timeout_s=60.0, max_batch=8)


def test_many_workers_are_looked_at_less_often() -> None:
    assert Limits(poll_s=0.2).for_workers(3).poll_s == 0.2
    assert Limits(poll_s=0.2).for_workers(50).poll_s == 1.0
