"""Lives of a stream worker, one after another, looked at with a manual clock."""

import logging
import math
import mmap
from dataclasses import replace
from typing import Any

import pytest

from pipeline.accounting import StreamCounts
from pipeline.plan import SourcePlan, StreamPlan
from pipeline.stages import ModelInfo, Outcome, Status
from pipeline.stream import Drain, End, Leave, Resume, Suspend
from pipeline.testing import ManualClock
from workers.lives import Owed
from workers.members import Member
from workers.slots import StreamSlot
from workers.stream import Pool, StreamReport, own_memory

Lives = Any
INFO = ModelInfo("blob", {1: "red"}, "abc")
POOL = Pool({}, {})


def stream_slot(
    lives: Lives,
    clock: ManualClock,
    *ids: str,
    live: bool = False,
    memory_bytes: float = math.inf,
) -> StreamSlot:
    slot = StreamSlot(
        [StreamPlan(source=SourcePlan(id=name, url=f"{name}.mp4", live=live)) for name in ids],
        start=lives.stream,
        limits=lives.limits,
        memory_bytes=memory_bytes,
        wake=lambda: None,
        clock=clock,
    )
    assert (slot.launched, slot.counts(ids[0]).state) == (False, "queued")
    slot.launch()
    return slot


def running_slot(lives: Lives, clock: ManualClock, *ids: str, **options: Any) -> StreamSlot:
    """A slot whose worker runs its streams and has just been asked how it is."""
    slot = stream_slot(lives, clock, *ids, **options)
    slot.begin(INFO, POOL)
    slot.step(POOL)
    assert lives.last.methods == ["begin", "report"]
    return slot


def ask_again(slot: StreamSlot, clock: ManualClock) -> None:
    slot.step(POOL)
    clock.advance(1.0)
    slot.step(POOL)


def told(*counts: StreamCounts, ends: dict[str, End] | None = None) -> StreamReport:
    return StreamReport(counts, ends or {}, {}, pid=8)


def end(source_id: str) -> End:
    return End(source_id, Outcome(Status.COMPLETE), StreamCounts(source_id, "ended", 9, 9))


def test_a_stream_worker_is_asked_nothing_before_there_is_a_model(
    lives: Lives, clock: ManualClock
) -> None:
    slot = stream_slot(lives, clock, "gate")
    slot.step(POOL)
    assert lives.last.methods == []


def test_a_slot_is_over_when_all_its_streams_are(lives: Lives, clock: ManualClock) -> None:
    slot = running_slot(lives, clock, "gate", "yard")
    lives.last.answer(told(ends={"gate": end("gate")}))
    slot.step(POOL)
    assert not slot.over
    ask_again(slot, clock)
    lives.last.answer(told(ends={"gate": end("gate"), "yard": end("yard")}))
    slot.step(POOL)
    assert slot.over
    assert slot.counts("gate").published == 9


def test_the_unfinished_streams_of_a_dead_worker_go_on_in_another(
    lives: Lives, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    slot = running_slot(lives, clock, "gate", "yard")
    lives.last.answer(told(ends={"gate": end("gate")}))
    ask_again(slot, clock)
    lives.last.die("signal 11")
    slot.step(POOL)
    assert lives.asked == [(["gate", "yard"], False), (["yard"], True)]
    assert lives.last.methods == ["begin"]
    assert lives.workers[0].killed
    assert caplog.messages == ["yard: the stream worker died (signal 11); it starts again"]


def test_a_stream_worker_that_cannot_begin_is_as_good_as_dead(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.last.calls[0][2].set_exception(ImportError("no module named cv2"))
    slot.step(POOL)
    assert slot.restarts.total == 1


def test_a_stream_worker_that_is_frozen_is_replaced(lives: Lives, clock: ManualClock) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.last.answer(told())
    ask_again(slot, clock)
    clock.advance(10.1)
    slot.step(POOL)
    assert slot.restarts.total == 1


def test_what_streams_are_owed_is_known_with_the_time_they_said_so(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    clock.advance(100.0 - clock())
    lives.last.answer(replace(told(), owed_for_s={Member("segment-0", 2): 4.0}))
    slot.step(POOL)
    assert slot.owed == {Member("segment-0", 2): Owed(96.0, 100.0)}
    ask_again(slot, clock)
    lives.last.die()
    slot.step(POOL)
    assert slot.owed == {}


def test_counters_of_a_file_wait_after_a_restart_until_the_new_worker_has_caught_up(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=9, published=6, window=3)))
    ask_again(slot, clock)
    lives.last.die()
    slot.step(POOL)
    assert slot.counts("gate") == StreamCounts("gate", "lost", 9, 6, buffered=3)
    slot.step(POOL)
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=7, published=4, window=3)))
    slot.step(POOL)
    assert slot.counts("gate") == StreamCounts("gate", "streaming", 9, 6, window=3)
    ask_again(slot, clock)
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=12, published=10, window=2)))
    slot.step(POOL)
    assert slot.counts("gate") == StreamCounts("gate", "streaming", 12, 10, window=2)


def test_the_end_of_a_file_whose_worker_was_replaced_is_that_of_an_undisturbed_run(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.last.answer(
        told(StreamCounts("gate", "streaming", 9, 5, failed={"worker_lost": 1}, window=3))
    )
    ask_again(slot, clock)
    lives.last.die()
    slot.step(POOL)
    slot.step(POOL)
    lives.last.answer(told(ends={"gate": end("gate")}))
    slot.step(POOL)
    assert slot.ends["gate"] == end("gate")
    counts = slot.counts("gate")
    assert (counts.captured, counts.published, counts.failed) == (10, 9, {"worker_lost": 1})
    assert counts.balanced()


def test_counts_of_a_camera_go_on_after_a_restart_and_what_was_in_flight_is_dropped(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate", live=True)
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=9, published=6, window=3)))
    ask_again(slot, clock)
    lives.last.die()
    slot.step(POOL)
    slot.step(POOL)
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=4, published=4)))
    slot.step(POOL)
    counts = slot.counts("gate")
    assert (counts.captured, counts.published, counts.dropped) == (13, 10, {"worker_died": 3})
    assert counts.balanced()


def test_a_stream_whose_worker_dies_too_often_has_failed_with_the_reason(
    lives: Lives, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    slot = running_slot(lives, clock, "gate")
    for _ in range(2):
        lives.last.die("signal 11")
        slot.step(POOL)
        slot.step(POOL)
    assert slot.over
    ended = slot.ends["gate"]
    text = "the stream worker died (signal 11), after 1 restarts within 60 s"
    assert slot.counts("gate").state == "failed"
    assert (ended.outcome.reason, ended.outcome.status) == (text, Status.FAILED)
    assert ended.exit_code == 1
    assert caplog.records[-1].levelno == logging.ERROR


def test_a_stream_worker_that_holds_too_much_memory_is_replaced_and_then_has_failed(
    lives: Lives, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    slot = running_slot(lives, clock, "gate", memory_bytes=1e9)
    text = "the stream worker held 1001 MB, workers.stream_memory_mb is 1000"
    for own_bytes in (1_000_000_000, 1_001_000_000):
        lives.last.answer(replace(told(), own_bytes=own_bytes))
        ask_again(slot, clock)
    assert lives.workers[0].killed
    assert caplog.messages == [f"gate: {text}; it starts again"]
    slot.step(POOL)
    lives.last.answer(replace(told(), own_bytes=1_001_000_000))
    slot.step(POOL)
    assert slot.ends["gate"].outcome.reason == f"{text}, after 1 restarts within 60 s"


def test_the_memory_of_a_worker_that_is_done_is_nobodys_concern(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate", memory_bytes=1e9)
    lives.last.answer(replace(told(ends={"gate": end("gate")}), own_bytes=2_000_000_000))
    slot.step(POOL)
    assert (slot.ends["gate"].exit_code, slot.restarts.total) == (0, 0)


def test_memory_is_counted_without_what_is_shared() -> None:
    size = 64 << 20
    with mmap.mmap(-1, size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) as shared:
        before = own_memory()
        for page in range(0, size, mmap.PAGESIZE):
            shared[page] = 1
        assert own_memory() - before < size // 2
    # Not from malloc, which may hand out pages that are counted already.
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as own:
        before = own_memory()
        own.write(b"1" * size)
        assert own_memory() - before > size - size // 4


def test_a_worker_started_while_draining_is_told_to_stop_too(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.last.answer(told())
    slot.tell(Drain("enough"))
    slot.step(POOL)
    assert lives.last.methods == ["begin", "report", "obey"]
    assert lives.last.calls[-1][1] == (Drain("enough"), ["gate"])
    clock.advance(1.0)
    slot.step(POOL)
    lives.last.die()
    slot.step(POOL)
    assert lives.last.methods == ["begin"]
    assert lives.last.calls[-1][1] == (INFO, POOL, {"gate": (Drain("enough"),)})


def test_a_worker_that_is_replaced_is_told_again_what_still_holds_of_each_stream(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate", "yard")
    for command in (Suspend("a"), Resume("b"), Suspend("c")):
        slot.tell(command, ["gate"])
    slot.tell(Suspend("d"), ["yard"])
    slot.tell(Resume("e"), ["yard"])
    lives.last.die()
    slot.step(POOL)
    assert lives.last.calls[-1][:2] == (
        "begin",
        (INFO, POOL, {"gate": (Suspend("c"),), "yard": ()}),
    )


def test_one_of_two_streams_that_leaves_is_not_started_again_and_can_be_forgotten(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate", "yard")
    slot.tell(Leave("enough"), ["gate"])
    lives.last.die()
    slot.step(POOL)
    assert slot.ends["gate"].why_stopped == "enough"
    assert lives.asked[-1] == (["yard"], True)
    slot.forget("gate")
    slot.step(POOL)
    lives.last.answer(told(StreamCounts("gate"), StreamCounts("yard", "streaming", 5, 5)))
    slot.step(POOL)
    assert (slot.source_ids, slot.ends, slot.counts("yard").published) == (["yard"], {}, 5)


def test_a_drain_does_not_wait_for_a_worker_that_may_never_start(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=9, published=6, window=3)))
    ask_again(slot, clock)
    lives.last.die()
    slot.step(POOL)
    slot.step(POOL)
    clock.advance(30.0)
    slot.tell(Drain("enough"))
    clock.advance(10.0)
    slot.step(POOL)
    assert not slot.over
    clock.advance(0.1)
    slot.step(POOL)
    ended = slot.ends["gate"]
    assert ended.outcome.reason == "stopped; its worker did not start within 10 s"
    assert (ended.stopped, ended.exit_code, len(lives.workers)) == (True, 0, 2)
    assert (ended.counts.state, ended.counts.dropped) == ("ended", {"worker_died": 3})
    assert lives.last.killed


def test_a_worker_that_dies_while_it_leaves_is_not_started_again(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.last.answer(told())
    slot.step(POOL)
    slot.tell(Leave("enough"))
    lives.last.die()
    slot.step(POOL)
    assert slot.ends["gate"].outcome.reason == "stopped; its worker died (killed)"
    assert len(lives.workers) == 1


def test_a_stream_worker_that_never_starts_is_given_up_after_some_tries(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    for _ in range(2):
        clock.advance(40.1)
        slot.step(POOL)
        slot.step(POOL)
    assert slot.ends["gate"].outcome.reason == (
        "the stream worker did not start within 40 s, after 1 restarts within 60 s"
    )


def test_a_file_that_always_kills_its_worker_at_the_same_place_has_failed_however_long_that_takes(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    for _ in range(2):
        lives.last.answer(told(StreamCounts("gate", "streaming", captured=9, published=9)))
        ask_again(slot, clock)
        clock.advance(100.0)
        lives.last.die("signal 11")
        slot.step(POOL)
        slot.step(POOL)
    assert slot.ends["gate"].outcome.reason == (
        "the stream worker died (signal 11), after 1 restarts in vain"
    )


def test_a_file_that_gets_further_in_every_life_goes_on(lives: Lives, clock: ManualClock) -> None:
    slot = running_slot(lives, clock, "gate")
    for published in range(9, 99, 9):
        lives.last.answer(told(StreamCounts("gate", "streaming", published, published)))
        ask_again(slot, clock)
        clock.advance(100.0)
        lives.last.die()
        slot.step(POOL)
        slot.step(POOL)
    assert not slot.over


def test_streams_told_to_stop_before_there_is_a_model_are_over_at_once(
    lives: Lives, clock: ManualClock
) -> None:
    slot = stream_slot(lives, clock, "gate")
    slot.tell(Drain("enough"))
    assert slot.over
    assert (slot.ends["gate"].exit_code, slot.ends["gate"].why_stopped) == (0, "enough")


def test_streams_of_a_machine_that_is_given_up_go_on_where_there_is_room(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.room = False
    lives.last.gone = "was on beta, which has left the cluster"
    slot.step(POOL)
    slot.step(POOL)
    assert (lives.workers[0].killed, slot.launched, slot.over) == (True, True, False)
    slot.tell(Suspend("paused"))
    lives.room = True
    slot.step(POOL)
    assert lives.last.calls[0][:2] == ("begin", (INFO, POOL, {"gate": (Suspend("paused"),)}))
    assert slot.restarts.total == 1


def test_streams_of_a_machine_that_will_be_gone_go_on_elsewhere_before(
    lives: Lives, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    lives.node = "beta"
    slot = running_slot(lives, clock, "gate", "yard")
    lives.last.answer(told(ends={"gate": end("gate")}))
    ask_again(slot, clock)
    lives.node = "alpha"
    slot.step(POOL, {"beta"})
    slot.step(POOL, {"beta"})
    assert lives.asked == [(["gate", "yard"], False), (["yard"], True)]
    assert ([worker.killed for worker in lives.workers], slot.restarts.total) == ([True, False], 0)
    assert lives.last.methods[0] == "begin"
    assert caplog.messages == ["yard: going on elsewhere, the machine will be gone"]


def test_frames_that_were_dropped_for_want_of_segment_workers_are_told_apart(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate", "yard", live=True)
    dropped = {"stale": 3, "buffer_full": 4, "max_fps": 50}
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=57, dropped=dropped)))
    slot.step(POOL)
    assert slot.too_late == 7


def test_a_stream_that_waits_for_room_and_is_told_to_leave_is_over(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.room = False
    lives.last.gone = "was on beta, which has left the cluster"
    slot.step(POOL)
    slot.tell(Leave("enough"))
    slot.step(POOL)
    assert (slot.over, slot.ends["gate"].stopped) == (True, True)


def test_a_stream_for_which_there_is_no_room_is_queued(lives: Lives, clock: ManualClock) -> None:
    lives.room = False
    slot = stream_slot(lives, clock, "gate")
    assert (slot.launched, slot.counts("gate").state) == (False, "queued")
    slot.close()
