"""A whole run with real workers in this process: the plain classes, a loop and some threads."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.accounting import StreamAccount
from pipeline.config import parse
from pipeline.errors import MaskstreamError, ModelError
from pipeline.instances import Instances
from pipeline.metrics.counts import RunCounts
from pipeline.plan import RunPlan, StreamPlan
from pipeline.plan.resolve import resolve
from pipeline.render.pictures import make_picture
from pipeline.stages import AsyncSegmenter, Segmenter
from pipeline.stream import Leave, Stream, StreamSettings
from pipeline.testing import (
    ListSink,
    ManualClock,
    ScriptedSource,
    StubSegmenter,
    make_frames,
    make_instances,
)
from workers.dispatch import Call, Member
from workers.lives import Limits
from workers.segment import SegmentWorker
from workers.stream import StreamWorker
from workers.supervisor import Supervisor
from workers.transport import Answer

LIMITS = Limits(poll_s=0.01, ping_timeout_s=20.0)
FRAMES = 40


class Loop:
    """An event loop in a thread, for the segment workers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end_tasks(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _end_tasks(self) -> None:
        """Killed workers leave tasks behind that nobody else ends."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class LocalWorker:
    """A worker in this process that can be killed: whoever waits for it gets an error."""

    def __init__(self, target: Any, loop: Loop) -> None:
        self.address = self
        self.dead = False
        self._target = target
        self._loop = loop
        self._open: set[Future[Any]] = set()
        self._door = threading.Lock()

    def call(self, method: str, *args: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._door:
            if self.dead:
                future.set_exception(ConnectionError("dead"))
                return future
            self._open.add(future)

        async def work() -> None:
            outcome = getattr(self._target, method)(*args)
            value = await outcome if asyncio.iscoroutine(outcome) else outcome
            with self._door:
                if future in self._open:
                    self._open.remove(future)
                    future.set_result(value)

        asyncio.run_coroutine_threadsafe(work(), self._loop.loop)
        return future

    def segment(self, source_id: str, images: list[NDArray[np.uint8]]) -> "Future[Answer]":
        return self.call("segment", source_id, images)

    def kill(self) -> None:
        with self._door:
            self.dead = True
            lost, self._open = self._open, set()
        for future in lost:
            future.set_exception(ConnectionError("killed"))

    def reason(self, error: BaseException) -> str:
        return f"died: {error}"


@dataclass(eq=False)
class Machines:
    """Starts workers in this process and remembers them."""

    loop: Loop
    model: Callable[[], Segmenter]
    segment_workers: int = 1
    stream_workers: int = 4
    before_frame: Callable[[str, int], object] = lambda source_id, index: None
    most_at_once: int = 0
    broken: str | None = None
    at_look: Callable[[], object] = lambda: None
    sinks: dict[str, list[ListSink]] = field(default_factory=dict)
    segments: list[LocalWorker] = field(default_factory=list)
    streams: list[LocalWorker] = field(default_factory=list)
    stream_targets: list[StreamWorker] = field(default_factory=list)

    def fault(self) -> str | None:
        self.at_look()
        return self.broken

    def start_segment(self, worker_id: str) -> LocalWorker:
        worker = SegmentWorker(self.model, worker_id=worker_id, max_batch=4, max_wait_s=0.0)
        self.segments.append(LocalWorker(worker, self.loop))
        return self.segments[-1]

    def start_stream(
        self, streams: Sequence[StreamPlan], *, spread: int, again: bool
    ) -> LocalWorker:
        worker = StreamWorker(
            streams=streams,
            build=self._build,
            connect=_connect,
            max_batch=4,
            max_wait_s=0.0,
            spread=spread,
        )
        self.most_at_once = max(self.most_at_once, 1 + sum(not w.dead for w in self.streams))
        self.stream_targets.append(worker)
        self.streams.append(LocalWorker(worker, self.loop))
        return self.streams[-1]

    def _build(self, plan: StreamPlan, segmenter: AsyncSegmenter, account: StreamAccount) -> Stream:
        sink = ListSink()
        self.sinks.setdefault(plan.id, []).append(sink)
        script: list[Any] = []
        for frame in make_frames(FRAMES, source_id=plan.id):
            script += [self._step(plan.id, frame.index), frame]
        return Stream(
            ScriptedSource(script, source_id=plan.id),
            segmenter,
            tracker=None,
            camera=None,
            sinks=[("list", sink)],
            run="r",
            settings=StreamSettings(window=8, buffer=2),
            account=account,
            make_picture=make_picture,
        )

    def _step(self, source_id: str, index: int) -> Callable[[], object]:
        return lambda: self.before_frame(source_id, index)


def _connect(
    address: Callable[[Member], Any], source_id: str
) -> Callable[[Call, list[NDArray[np.uint8]]], "Future[Answer]"]:
    return lambda call, images: address(call.member).segment(source_id, images)


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def stub() -> StubSegmenter:
    return StubSegmenter(lambda image: make_instances(size=image.shape[:2]))


def plan(*ids: str, **workers: Any) -> RunPlan:
    sources = [{"id": name, "url": f"{name}.mp4"} for name in ids]
    return resolve(parse({"sources": sources, "workers": workers}))


def run(
    supervisor: Supervisor,
    machines: Machines,
    *,
    stop: threading.Event | None = None,
    on_progress: Callable[[RunCounts], None] | None = None,
) -> Any:
    try:
        return supervisor.run(
            stop=stop or threading.Event(), abort=threading.Event(), on_progress=on_progress
        )
    finally:
        supervisor.close()
        for worker in machines.stream_targets:
            worker.obey(Leave("the test is over"), list(worker._streams))


def test_two_streams_get_every_frame_in_order_and_the_end_comes_in_the_order_of_the_plan(
    loop: Loop,
) -> None:
    machines = Machines(loop, stub)
    ends = run(Supervisor(plan("b", "a"), machines, limits=LIMITS), machines)
    assert [(end.source_id, end.exit_code) for end in ends] == [("b", 0), ("a", 0)]
    for name in ("a", "b"):
        (sink,) = machines.sinks[name]
        assert sink.indices == list(range(FRAMES))
    assert all(end.counts.balanced() for end in ends)


def test_a_segment_worker_that_dies_in_the_middle_loses_nothing_and_repeats_nothing(
    loop: Loop,
) -> None:
    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.segments[-1].kill()

    machines = Machines(loop, stub, before_frame=before_frame)
    supervisor = Supervisor(plan("cam"), machines, limits=LIMITS)
    (end,) = run(supervisor, machines)
    (sink,) = machines.sinks["cam"]
    assert sink.indices == list(range(FRAMES))
    assert (end.exit_code, end.counts.published, end.counts.failed) == (0, FRAMES, {})
    assert len(machines.segments) == 2
    assert supervisor.counts().workers[0].restarts == 1


def test_one_of_two_segment_workers_carries_on_while_the_other_is_replaced(loop: Loop) -> None:
    numbers = itertools.count()

    def model() -> Segmenter:
        if next(numbers) == 2:
            assert done.wait(20)  # the replacement loads until the run is over
        return stub()

    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.segments[0].kill()

    done = threading.Event()
    machines = Machines(loop, model, segment_workers=2, before_frame=before_frame)
    try:
        (end,) = run(Supervisor(plan("cam"), machines, limits=LIMITS), machines)
    finally:
        done.set()
    assert (end.exit_code, end.counts.published) == (0, FRAMES)


def test_a_stream_worker_that_dies_is_started_again_and_the_other_stream_does_not_notice(
    loop: Loop,
) -> None:
    killed = threading.Event()

    def before_frame(source_id: str, index: int) -> None:
        if source_id == "a" and index == 10 and not killed.is_set():
            killed.set()
            machines.streams[0].kill()
            machines.stream_targets[0].obey(Leave("as if it had died"), ["a"])

    machines = Machines(loop, stub, before_frame=before_frame)
    supervisor = Supervisor(plan("a", "b"), machines, limits=LIMITS)
    ends = run(supervisor, machines)
    assert [end.exit_code for end in ends] == [0, 0]
    assert machines.sinks["a"][-1].indices == list(range(FRAMES))
    assert len(machines.sinks["b"]) == 1
    assert supervisor.counts().stream_restarts == {"a": 1, "b": 0}


def test_streams_may_share_a_worker(loop: Loop) -> None:
    machines = Machines(loop, stub)
    shared = plan("a", "b", "c", streams_per_worker=2)
    ends = run(Supervisor(shared, machines, limits=LIMITS), machines)
    assert [(end.source_id, end.counts.published) for end in ends] == [
        ("a", FRAMES),
        ("b", FRAMES),
        ("c", FRAMES),
    ]
    assert [len(worker.streams) for worker in machines.stream_targets] == [2, 1]


def test_files_wait_for_their_turn_and_workers_that_are_done_go(loop: Loop) -> None:
    machines = Machines(loop, stub, stream_workers=2)
    ids = [f"file-{number}" for number in range(5)]
    seen: list[RunCounts] = []
    supervisor = Supervisor(plan(*ids), machines, limits=LIMITS)
    ends = run(supervisor, machines, on_progress=seen.append)
    assert [end.counts.published for end in ends] == [FRAMES] * 5
    assert [stream.state for stream in seen[0].streams[2:]] == ["queued"] * 3
    assert machines.most_at_once == 2
    assert all(worker.dead for worker in machines.streams)


def test_a_model_that_cannot_be_loaded_ends_the_run_in_its_own_words(loop: Loop) -> None:
    def model() -> Segmenter:
        raise ModelError("weights.pth: 81 classes, expected 91")

    machines = Machines(loop, model)
    with pytest.raises(ModelError, match=r"^weights\.pth: 81 classes, expected 91$"):
        run(Supervisor(plan("cam"), machines, limits=LIMITS), machines)
    assert machines.sinks == {}


def test_without_any_segment_worker_left_the_streams_end_and_say_why(loop: Loop) -> None:
    numbers = itertools.count()

    def model() -> Segmenter:
        if next(numbers):
            raise ModelError("the device is gone")
        return stub()

    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.segments[0].kill()

    machines = Machines(loop, model, before_frame=before_frame)
    (end,) = run(Supervisor(plan("cam"), machines, limits=LIMITS), machines)
    assert end.exit_code == 1
    assert end.outcome.reason == (
        "no segment worker is left: cannot load the model: the device is gone"
    )
    assert end.counts.balanced()


def test_told_to_stop_a_run_publishes_what_was_captured_and_ends_well(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()

    def before_frame(source_id: str, index: int) -> None:
        if index == 10:
            stop.set()
        elif index > 10:
            assert told.wait(20)

    told = threading.Event()
    machines = Machines(loop, stub, before_frame=before_frame)
    original = StreamWorker.obey

    def obeying(worker: StreamWorker, *command: Any) -> None:
        original(worker, *command)
        told.set()

    supervisor = Supervisor(plan("cam"), machines, limits=LIMITS)
    monkeypatch.setattr(StreamWorker, "obey", obeying)
    (end,) = run(supervisor, machines, stop=stop)
    (sink,) = machines.sinks["cam"]
    assert (end.stopped, end.exit_code) == (True, 0)
    assert end.why_stopped == "the run was told to stop"
    assert sink.indices == list(range(len(sink.indices)))
    assert 10 <= len(sink.indices) < FRAMES
    assert end.counts.captured == end.counts.published == len(sink.indices)
    assert len(sink.ends) == 1


def test_told_to_stop_while_the_model_loads_a_run_ends_at_once(loop: Loop) -> None:
    def model() -> Segmenter:
        stop.set()
        assert over.wait(20)
        return stub()

    stop, over = threading.Event(), threading.Event()
    machines = Machines(loop, model)
    try:
        (end,) = run(Supervisor(plan("cam"), machines, limits=LIMITS), machines, stop=stop)
    finally:
        over.set()
    assert (end.exit_code, end.counts.captured) == (0, 0)


def test_a_run_whose_machines_are_gone_ends_with_their_line(loop: Loop) -> None:
    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.broken = "the raylet of Ray was ended by signal 9"

    machines = Machines(loop, stub, before_frame=before_frame)
    with pytest.raises(MaskstreamError, match=r"^the raylet of Ray was ended by signal 9$"):
        run(Supervisor(plan("cam"), machines, limits=LIMITS), machines)


STILL = Limits(poll_s=0.01, ping_timeout_s=1e6, process_timeout_s=1e6, drain_timeout_s=60.0)
"""Only what the whole run decides by its clock."""


@pytest.mark.parametrize("drained_at_s", [10.0, 400.0])
def test_a_run_in_which_nothing_moves_is_not_healthy_and_its_drain_does_not_wait_for_ever(
    loop: Loop, drained_at_s: float
) -> None:
    numbers, clock, stop = itertools.count(), ManualClock(), threading.Event()
    loading, over = threading.Event(), threading.Event()
    healthy: dict[float, bool] = {}

    def model() -> Segmenter:
        if next(numbers):
            loading.set()
            assert over.wait(20)  # the replacement is never there
        return stub()

    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.segments[0].kill()

    def at_look() -> None:
        if not loading.is_set():
            clock.advance(0.05)
            return
        still_s = 5.0 * len(healthy)
        healthy[still_s] = supervisor.healthy
        if still_s >= drained_at_s:
            stop.set()
        clock.advance(5.0)

    machines = Machines(loop, model, before_frame=before_frame, at_look=at_look)
    supervisor = Supervisor(plan("cam"), machines, limits=STILL, clock=clock)
    try:
        (end,) = run(supervisor, machines, stop=stop)
    finally:
        over.set()
    assert end.stopped
    assert end.counts.balanced()
    assert healthy == {s: s < 300.0 or s > 400.0 for s in healthy}
    assert max(healthy) > drained_at_s + 60.0


def test_progress_ends_with_the_final_counts(loop: Loop) -> None:
    seen: list[RunCounts] = []
    machines = Machines(loop, stub)
    run(Supervisor(plan("cam"), machines, limits=LIMITS), machines, on_progress=seen.append)
    assert seen[0].streams[0].state == "starting"
    assert seen[-1].streams[0].state == "ended"
    assert seen[-1].streams[0].published == FRAMES
    assert seen[-1].workers[0].worker == "segment-0"
    assert seen[-1].workers[0].frames == FRAMES


def test_a_frame_that_fails_is_counted_and_the_others_are_published(loop: Loop) -> None:
    def find(image: NDArray[np.uint8]) -> Instances:
        if image[2, 5, 2] == 255 and image[2, 4, 2] != 255:  # the square of frame 5
            raise ValueError("no")
        return make_instances(size=image.shape[:2])

    machines = Machines(loop, lambda: StubSegmenter(find))
    (end,) = run(Supervisor(plan("cam"), machines, limits=LIMITS), machines)
    assert end.counts.failed["model_error"] == FRAMES // 8
    assert end.counts.published == FRAMES - FRAMES // 8
    assert end.counts.balanced()
