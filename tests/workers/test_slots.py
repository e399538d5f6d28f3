"""Lives of workers, one after another, looked at with a manual clock."""

import logging
import math
import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from pipeline import __version__
from pipeline.accounting import StreamCounts
from pipeline.config import SourceSettings
from pipeline.metrics.counts import WorkerCounts
from pipeline.stages import ModelInfo, Outcome, Status
from pipeline.stream import End
from pipeline.testing import ManualClock
from workers.dispatch import Load, Member
from workers.lives import Limits
from workers.segment import Loaded, Refused, SegmentReport
from workers.slots import SegmentSlot, StreamSlot
from workers.stream import Pool, StreamReport, own_memory

INFO = ModelInfo("blob", {1: "red"}, "abc")
LOADED = Loaded(INFO, __version__, "node-1", Load(0, 0.3))
POOL = Pool({}, {})
LIMITS = Limits(
    ping_timeout_s=10.0, start_timeout_s=100.0, poll_s=1.0, segment_restarts=2, stream_restarts=1
)


class Worker:
    """A worker that only remembers; the test answers."""

    def __init__(self) -> None:
        self.address = self
        self.calls: list[tuple[str, tuple[Any, ...], Future[Any]]] = []
        self.killed = False

    def call(self, method: str, *args: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self.calls.append((method, args, future))
        return future

    def kill(self) -> None:
        self.killed = True

    def reason(self, error: BaseException) -> str:
        return f"died ({error})"

    @property
    def methods(self) -> list[str]:
        return [method for method, _, _ in self.calls]

    def answer(self, value: object) -> None:
        self.calls[-1][2].set_result(value)

    def die(self, why: str = "killed") -> None:
        self.calls[-1][2].set_exception(ConnectionError(why))


class Lives:
    """The workers that were started, in order."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.asked: list[tuple[list[str], bool]] = []

    def segment(self) -> Worker:
        self.workers.append(Worker())
        return self.workers[-1]

    def stream(self, sources: Sequence[SourceSettings], again: bool) -> Worker:
        self.asked.append(([source.id for source in sources], again))
        return self.segment()

    @property
    def last(self) -> Worker:
        return self.workers[-1]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lives() -> Lives:
    return Lives()


def segment_slot(lives: Lives, clock: ManualClock) -> SegmentSlot:
    return SegmentSlot(
        "segment-0",
        lives.segment,
        limits=LIMITS,
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


def health(frames: int = 0, **more: Any) -> SegmentReport:
    counts = WorkerCounts("segment-0", "ready", batches={1: frames} if frames else {})
    return SegmentReport(counts, Load(2, 0.1), pid=7, **more)


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


def lose_by_death(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    worker.die("signal 9")
    return "died (signal 9)"


def lose_by_silence(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    clock.advance(10.1)
    return "did not answer for 10 s"


def lose_by_hanging_device(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    worker.answer(health(busy_for_s=31.3))  # 30 s and three times 4 x 0.1 s
    return "has worked on one batch for 31 s"


def lose_by_broken_device(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    worker.answer(health(broken="the model failed 3 batches running: CUDA error"))
    return "the model failed 3 batches running: CUDA error"


def lose_by_a_lost_call(slot: SegmentSlot, worker: Worker, clock: ManualClock) -> str:
    slot.suspect(Member("segment-0", 0))
    return "did not answer a call in time"


@pytest.mark.parametrize(
    "lose",
    [
        lose_by_death,
        lose_by_silence,
        lose_by_hanging_device,
        lose_by_broken_device,
        lose_by_a_lost_call,
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


def test_the_suspicion_against_an_earlier_life_is_not_held_against_the_present_one(
    lives: Lives, clock: ManualClock
) -> None:
    slot = ready_slot(lives, clock)
    slot.suspect(Member("segment-0", 0))
    slot.step()
    lives.last.answer(LOADED)
    slot.step()
    slot.suspect(Member("segment-0", 0))
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
        lives.last.die()
        slot.step()
        slot.step()
    assert (slot.given_up, len(lives.workers)) == (True, 3)
    clock.advance(60.0)
    slot.step()
    assert (slot.given_up, len(lives.workers)) == (False, 4)


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


# -- streams -----------------------------------------------------------------------------------


def stream_slot(
    lives: Lives,
    clock: ManualClock,
    *ids: str,
    live: bool = False,
    memory_bytes: float = math.inf,
) -> StreamSlot:
    slot = StreamSlot(
        [SourceSettings(id=name, url=f"{name}.mp4") for name in ids],
        live=frozenset(ids if live else ()),
        start=lives.stream,
        limits=LIMITS,
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
    return StreamReport(counts, ends or {}, frozenset(), pid=8)


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


def test_counts_of_a_file_come_from_its_checkpoint_after_a_restart(
    lives: Lives, clock: ManualClock
) -> None:
    slot = running_slot(lives, clock, "gate")
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=9, published=6, window=3)))
    ask_again(slot, clock)
    lives.last.die()
    slot.step(POOL)
    between = slot.counts("gate")
    assert (between.captured, between.dropped, between.state) == (9, {"worker_died": 3}, "lost")
    slot.step(POOL)
    lives.last.answer(told(StreamCounts("gate", "streaming", captured=7, published=6, window=1)))
    slot.step(POOL)
    assert slot.counts("gate") == StreamCounts("gate", "streaming", 7, 6, window=1)


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
    slot.tell("stop")
    slot.step(POOL)
    assert lives.last.methods == ["begin", "report", "stop"]
    clock.advance(1.0)
    slot.step(POOL)
    lives.last.die()
    slot.step(POOL)
    assert lives.last.methods == ["begin", "stop"]


def test_streams_told_to_stop_before_there_is_a_model_are_over_at_once(
    lives: Lives, clock: ManualClock
) -> None:
    slot = stream_slot(lives, clock, "gate")
    slot.tell("stop")
    assert slot.over
    assert slot.ends["gate"].exit_code == 0
