"""When a worker counts as stuck, and when a dead one may come back."""

from pipeline.testing import ManualClock
from workers.lives import Headway, Limits, Owed, Restarts, look_within_s


def test_restarts_are_allowed_up_to_the_limit_and_again_once_the_window_has_passed() -> None:
    clock = ManualClock()
    restarts = Restarts(limit=2, window_s=60.0, clock=clock)
    for _ in range(2):
        assert restarts.allowed
        restarts.note()
        restarts.worked()
        clock.advance(10.0)
    assert not restarts.allowed
    assert str(restarts) == "2 restarts within 60 s"
    clock.advance(39.9)
    assert not restarts.allowed
    clock.advance(0.1)
    assert restarts.allowed
    assert restarts.total == 2


def test_what_fails_again_and_again_is_not_tried_for_ever_however_long_each_time_takes() -> None:
    clock = ManualClock()
    restarts = Restarts(limit=2, window_s=60.0, clock=clock)
    for _ in range(2):
        assert restarts.allowed
        restarts.note()
        clock.advance(300.0)
    assert not restarts.allowed
    assert str(restarts) == "2 restarts in vain"
    restarts.worked()
    assert restarts.allowed


def progress(clock: ManualClock) -> Headway:
    return Headway(batch_timeout_s=60.0, max_batch=8, silence_s=10.0, clock=clock)


def test_a_batch_is_stuck_after_the_timeout_and_three_times_what_it_should_take() -> None:
    clock = ManualClock()
    made = progress(clock)
    made.note(1, 4, 0.5, [])
    clock.advance(72.0)  # 60 s, and 3 x 8 x 0.5 s
    assert made.note(1, 4, 0.5, []) is None
    clock.advance(0.1)
    assert made.note(1, 4, 0.5, []) == "has worked on one batch for 72 s"


def test_whatever_ends_begins_a_new_deadline_however_much_waits() -> None:
    clock = ManualClock()
    made = progress(clock)
    for steps in range(100):
        assert made.note(steps, 1000, 0.0, [Owed(0.0, clock())]) is None
        clock.advance(59.0)


def test_a_worker_that_has_nothing_to_do_is_never_stuck() -> None:
    clock = ManualClock()
    made = progress(clock)
    made.note(1, 0, 0.5, [])
    clock.advance(1000.0)
    assert made.note(1, 0, 0.5, []) is None
    assert made.note(1, 1, 0.5, []) is None  # its deadline begins with its work


def test_a_worker_that_waits_for_calls_that_streams_have_sent_is_stuck() -> None:
    clock = ManualClock()
    made = progress(clock)
    clock.advance(100.0)
    made.note(5, 0, 0.5, [])
    clock.advance(10.0)
    assert made.note(5, 0, 0.5, [Owed(90.0, 110.0)]) is None  # it has ended something since
    clock.advance(0.1)
    assert made.note(5, 0, 0.5, [Owed(90.0, 110.1)]) == (
        "gets no calls, or cannot answer them, for 10 s"
    )


def test_what_streams_said_long_ago_proves_nothing() -> None:
    clock = ManualClock()
    made = progress(clock)
    made.note(5, 0, 0.5, [])
    clock.advance(100.0)
    assert made.note(5, 0, 0.5, [Owed(0.0, 9.0)]) is None


def test_many_workers_are_looked_at_less_often_down_to_a_bound() -> None:
    assert Limits(poll_s=0.2).for_workers(3).poll_s == 0.2
    assert Limits(poll_s=0.2).for_workers(50).poll_s == 1.0
    assert Limits(poll_s=0.2).for_workers(50, at_most_s=0.4).poll_s == 0.4
    assert Limits(poll_s=0.5).for_workers(50, at_most_s=0.4).poll_s == 0.5


def test_of_hundreds_of_segment_workers_so_few_are_looked_at_that_the_driver_keeps_up() -> None:
    assert [look_within_s(count) for count in (1, 40, 100, 500)] == [0.4, 0.4, 1.0, 5.0]


def test_how_much_patience_there_is_stands_in_the_docs() -> None:
    """docs/reliability.md, "When a process dies"."""
    limits = Limits()
    assert limits.ping_timeout_s == 10.0
    assert (limits.process_timeout_s, limits.start_timeout_s) == (60.0, 300.0)
    assert (limits.segment_restarts, limits.stream_restarts) == (5, 3)
    assert (limits.restart_window_s, limits.drain_timeout_s) == (60.0, 60.0)
