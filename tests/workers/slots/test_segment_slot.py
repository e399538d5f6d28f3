"""Lives of a segment worker, one after another, looked at with a manual clock."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline import __version__
from pipeline.metrics.counts import WorkerCounts
from pipeline.stages import ModelInfo
from pipeline.testing import ManualClock
from workers.lives import Owed
from workers.members import Load, Member
from workers.segment import Loaded, Refused, SegmentReport
from workers.slots import SegmentSlot
from workers.slots.segment import QUIET_LOOKS

Lives = Any
Worker = Any
INFO = ModelInfo("blob", {1: "red"}, "abc")
LOADED = Loaded(INFO, __version__, "node-1", Load(0, 0.3))


def segment_slot(lives: Lives, clock: ManualClock) -> SegmentSlot:
    return SegmentSlot(
        "segment-0",
        lives.segment,
        limits=lives.limits,
        batch_timeout_s=30.0,
        max_batch=4,
        wake=lambda: None,
        clock=clock,
    )


def ready_slot(lives: Lives, clock: ManualClock) -> SegmentSlot:
    """A slot whose worker has loaded and has just been asked how it is."""
    slot = segment_slot(lives, clock)
    lives.last.answer(LOADED)
    slot.step()
    clock.advance(1.0)
    slot.step()
    assert lives.last.methods[-1] == "report"
    return slot


def health(frames: int = 0, waiting: int = 2, **more: Any) -> SegmentReport:
    counts = WorkerCounts("segment-0", "ready", batches={1: frames} if frames else {})
    return SegmentReport(counts, Load(waiting, 0.1), pid=7, **more)


def test_a_segment_worker_is_ready_once_its_model_is_loaded(
    lives: Lives, clock: ManualClock
) -> None:
    slot = segment_slot(lives, clock)
    slot.step()
    assert lives.last.methods == ["load"]
    assert (slot.ready, slot.counts().state) == (False, "starting")
    lives.last.answer(LOADED)
    slot.step()
    assert (slot.ready, slot.counts().state, slot.info) == (True, "ready", INFO)
    assert slot.place == (Member("segment-0", 0), Load(0, 0.3), lives.last)


def test_a_worker_is_asked_again_only_after_the_pause(lives: Lives, clock: ManualClock) -> None:
    slot = ready_slot(lives, clock)
    lives.last.answer(health())
    slot.step()
    slot.step()
    assert lives.last.methods == ["load", "report"]
    clock.advance(1.0)
    slot.step()
    assert lives.last.methods == ["load", "report", "report"]
    assert slot.place == (Member("segment-0", 0), Load(2, 0.1), lives.last)
    assert slot.pid == 7


def work_and_die(slot: SegmentSlot, lives: Lives, clock: ManualClock) -> None:
    """One life, from loading over a first batch to its death, and the look that replaces it."""
    lives.last.answer(LOADED)
    slot.step()
    clock.advance(1.0)
    slot.step()
    lives.last.answer(health(steps=1))
    slot.step()
    clock.advance(1.0)
    slot.step()
    lives.last.die()
    slot.step()
    slot.step()


def lose_by_death(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    worker.die("signal 9")
    return "died (signal 9)"


def lose_by_silence(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    clock.advance(10.1)
    return "did not answer for 10 s"


def lose_by_hanging_device(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    worker.answer(health())
    slot.step()
    clock.advance(31.3)  # 30 s and three times 4 x 0.1 s
    slot.step()
    worker.answer(health())
    return "has worked on one batch for 31 s"


def lose_by_broken_device(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    worker.answer(health(broken="the model failed 3 batches running: CUDA error"))
    return "the model failed 3 batches running: CUDA error"


def lose_by_deafness(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    worker.answer(health(waiting=0))
    slot.step()
    clock.advance(10.5)
    slot.step()
    worker.answer(health(waiting=0))
    slot.step([Owed(clock() - 10.5, clock())])
    return "gets no calls, or cannot answer them, for 10 s"


@pytest.mark.parametrize(
    "lose",
    [
        lose_by_death,
        lose_by_silence,
        lose_by_hanging_device,
        lose_by_broken_device,
        lose_by_deafness,
    ],
)
def test_a_worker_that_is_lost_is_killed_and_replaced_by_the_next_generation(
    lose: Callable[[SegmentSlot, Worker, ManualClock], str],
    lives: Lives,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    slot = ready_slot(lives, clock)
    reason = lose(slot, lives.last, clock)
    if not slot.reason:
        slot.step()
    assert caplog.messages == [f"segment-0 {reason}; another takes its place"]
    assert (slot.ready, slot.given_up) == (False, False)
    slot.step()
    first, second = lives.workers
    assert first.killed
    assert second.methods == ["load"]
    second.answer(LOADED)
    slot.step()
    assert slot.place[0] == Member("segment-0", 1)
    assert slot.counts().restarts == 1


def test_what_an_earlier_life_did_not_end_is_not_held_against_the_present_one(
    lives: Lives, clock: ManualClock
) -> None:
    slot = ready_slot(lives, clock)
    lives.last.answer(health())
    slot.step()
    clock.advance(31.3)
    slot.lose("died")
    slot.step()
    lives.last.answer(LOADED)
    slot.step()
    clock.advance(1.0)
    slot.step()
    lives.last.answer(health())
    slot.step()
    assert slot.ready


def test_what_dead_lives_counted_is_not_forgotten(lives: Lives, clock: ManualClock) -> None:
    slot = ready_slot(lives, clock)
    lives.last.answer(health(frames=5))
    slot.step()
    slot.lose("died")
    slot.step()
    lives.last.answer(LOADED)
    slot.step()
    assert slot.counts().frames == 5
    clock.advance(1.0)
    slot.step()
    lives.last.answer(health(frames=3))
    slot.step()
    assert slot.counts().frames == 8


def test_a_worker_that_dies_too_often_rests_until_the_window_has_passed(
    lives: Lives, clock: ManualClock
) -> None:
    slot = segment_slot(lives, clock)
    for _ in range(3):
        work_and_die(slot, lives, clock)
    assert (slot.given_up, len(lives.workers)) == (True, 3)
    assert str(slot.restarts) == "2 restarts within 60 s"
    clock.advance(60.0)
    slot.step()
    assert (slot.given_up, len(lives.workers)) == (False, 4)


def test_a_worker_that_dies_seldom_comes_back_however_often(
    lives: Lives, clock: ManualClock
) -> None:
    slot = segment_slot(lives, clock)
    for _ in range(20):
        work_and_die(slot, lives, clock)
        clock.advance(31.0)
        slot.step()
    assert len(lives.workers) == 21


def test_a_worker_that_never_works_does_not_come_back_however_long_it_takes_to_fail(
    lives: Lives, clock: ManualClock
) -> None:
    slot = segment_slot(lives, clock)
    for _ in range(5):
        clock.advance(100.1)  # its model is never loaded
        slot.step()
        slot.step()
    assert (slot.given_up, len(lives.workers)) == (True, 3)
    assert str(slot.restarts) == "2 restarts in vain"
    clock.advance(1000.0)
    slot.step()
    assert slot.given_up


def test_a_process_that_does_not_come_up_is_not_waited_for_as_long_as_a_model(
    lives: Lives, clock: ManualClock
) -> None:
    lives.up = False
    slot = segment_slot(lives, clock)
    clock.advance(40.0)
    slot.step()
    assert slot.reason == ""
    clock.advance(0.1)
    slot.step()
    assert slot.reason == "did not start within 40 s"
    assert lives.last.killed


def test_a_model_that_is_refused_is_not_tried_again(lives: Lives, clock: ManualClock) -> None:
    slot = segment_slot(lives, clock)
    lives.last.answer(Refused("weights.pth: not found", 2))
    slot.step()
    slot.step()
    assert slot.given_up
    assert slot.refused == Refused("weights.pth: not found", 2)
    assert len(lives.workers) == 1


def test_a_node_with_another_version_is_named(lives: Lives, clock: ManualClock) -> None:
    slot = segment_slot(lives, clock)
    lives.last.answer(Loaded(INFO, "0.0.9", "node-7", Load()))
    slot.step()
    assert slot.refused == Refused(
        f"node-7 runs maskstream 0.0.9, the driver {__version__}; "
        "install the same version everywhere",
        2,
    )


def test_loading_may_take_long_but_not_for_ever(lives: Lives, clock: ManualClock) -> None:
    slot = segment_slot(lives, clock)
    clock.advance(100.0)
    slot.step()
    assert slot.reason == ""
    clock.advance(0.1)
    slot.step()
    assert slot.reason == "did not answer for 100 s"


def test_a_worker_whose_machine_is_given_up_is_replaced_whatever_it_still_answers(
    lives: Lives, clock: ManualClock
) -> None:
    slot = ready_slot(lives, clock)
    lives.last.answer(health())
    lives.last.gone = "was on beta, which has not answered for 6 s"
    slot.step()
    assert (slot.ready, slot.reason) == (False, "was on beta, which has not answered for 6 s")
    lives.room = False
    for _ in range(5):
        slot.step()
    assert (slot.counts().state, slot.given_up, slot.restarts.total) == ("waiting", False, 1)
    lives.room = True
    slot.step()
    lives.last.answer(LOADED)
    slot.step()
    assert (slot.ready, slot.place[0]) == (True, Member("segment-0", 1))
    assert [worker.killed for worker in lives.workers] == [True, False]


def test_a_place_for_which_there_is_no_room_ends_without_a_worker(
    lives: Lives, clock: ManualClock
) -> None:
    lives.room = False
    slot = segment_slot(lives, clock)
    slot.step()
    slot.close()
    assert (slot.counts().state, lives.workers) == ("waiting", [])


def test_a_worker_is_known_by_the_node_it_is_on(lives: Lives, clock: ManualClock) -> None:
    lives.node = "beta"
    assert ready_slot(lives, clock).place[0] == Member("segment-0", 0, node="beta")


def test_a_place_without_a_worker_is_at_no_address(lives: Lives, clock: ManualClock) -> None:
    lives.room = False
    assert segment_slot(lives, clock).place == (Member("segment-0", 0), Load(), None)


def looked_at(slot: SegmentSlot, clock: ManualClock, lives: Lives, report: SegmentReport) -> None:
    """Once more, with this answer."""
    lives.last.answer(report)
    slot.step()
    clock.advance(1.0)
    slot.step()


def test_who_leaves_answers_what_it_has_and_goes_when_nobody_waits_for_it_any_more(
    lives: Lives, clock: ManualClock
) -> None:
    slot = ready_slot(lives, clock)
    slot.leave()
    assert (slot.ready, slot.present, slot.wanted) == (False, True, False)
    assert slot.place[1].leaving
    looked_at(slot, clock, lives, health(frames=3, waiting=2))
    for _ in range(QUIET_LOOKS):
        assert (slot.counts().state, lives.last.killed) == ("leaving", False)
        looked_at(slot, clock, lives, health(frames=5, waiting=0))
    assert (slot.counts().state, lives.last.killed) == ("resting", True)
    assert (slot.present, slot.resting, slot.counts().frames) == (False, True, 5)


def test_who_is_owed_to_by_a_worker_that_leaves_keeps_it(lives: Lives, clock: ManualClock) -> None:
    slot = ready_slot(lives, clock)
    slot.leave()
    for _ in range(2 * QUIET_LOOKS):
        lives.last.answer(health(waiting=0))
        slot.step([Owed(clock(), clock())])
        clock.advance(1.0)
        slot.step()
    assert slot.counts().state == "leaving"


def test_a_place_at_rest_starts_nobody_until_somebody_is_to_come_back(
    lives: Lives, clock: ManualClock
) -> None:
    slot = segment_slot(lives, clock)
    slot.leave()  # it had not even begun
    clock.advance(1000.0)
    slot.step()
    assert (slot.resting, lives.last.killed, len(lives.workers)) == (True, True, 1)
    slot.come_back()
    lives.last.answer(LOADED)
    slot.step()
    assert (slot.ready, slot.member, slot.counts().restarts) == (True, Member("segment-0", 1), 0)


def test_who_dies_as_it_leaves_is_not_replaced(lives: Lives, clock: ManualClock) -> None:
    slot = ready_slot(lives, clock)
    slot.leave()
    lives.last.die()
    slot.step()
    assert (slot.resting, slot.given_up, len(lives.workers)) == (True, False, 1)
