"""Whole runs on a clock that jumps: real dispatchers, real places of workers, slow devices.

Hours pass in a second, so what needs hours to go wrong can be tried: many streams on a device that
is slow, and workers that freeze in any way there is.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline import __version__
from pipeline.batching import Batcher
from pipeline.metrics.counts import WorkerCounts
from pipeline.stages import ModelInfo
from pipeline.testing import ManualClock
from workers.dispatch import Call, Dispatcher
from workers.lives import Limits, Owed
from workers.members import Load, Member
from workers.segment import Loaded, SegmentReport
from workers.slots import SegmentSlot

INFO = ModelInfo("blob", {1: "red"}, "")
BATCH_TIMEOUT_S = 60.0
PING_S = Limits().ping_timeout_s
WAIT_S = 0.01


@dataclass
class Events:
    """What will happen when; the clock jumps from one to the next."""

    clock: ManualClock = field(default_factory=ManualClock)
    queue: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        heapq.heappush(self.queue, (self.clock() + seconds, next(self.numbers), what))

    def run(self, until: Callable[[], bool], *, at_most_s: float) -> None:
        while not until():
            at_s, _, what = heapq.heappop(self.queue)
            assert at_s < at_most_s, f"still not over after {at_most_s:.0f} s"
            self.clock.advance(at_s - self.clock())
            what()


class Worker:
    """A segment worker as its place and its streams see it; all of it but the model."""

    node = ""
    gone: str | None = None

    def __init__(self, run: Run) -> None:
        self.address: Any = self
        self.dead = False
        self.frozen = self.hanging = self.deaf = False
        self.steps = self.waiting = self.reports = 0
        self._run = run
        self._busy = False
        self._batcher: Batcher[tuple[Stream, Call, int]] = Batcher(
            run.max_batch, WAIT_S, run.events.clock
        )
        self._left: dict[tuple[Stream, int], int] = {}

    def call(self, method: str, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if method == "load":
            loaded = Loaded(INFO, __version__, "node", self._load())
            self._run.events.after(self._run.load_s, lambda: future.set_result(loaded))
        elif not self.frozen:
            self.reports += 1
            counts = WorkerCounts("w", "ready")
            future.set_result(SegmentReport(counts, self._load(), 1, steps=self.steps))
        return future

    def take(self, stream: Stream, call: Call) -> None:
        if self.dead:
            stream.lost(call)
            return
        self._left[stream, call.call_id] = len(call.tickets)
        if self.frozen or self.deaf:
            return
        self._batcher.add(str(stream.number), [(stream, call, t) for t in call.tickets])
        self.waiting += len(call.tickets)
        self._go_on()

    def kill(self) -> None:
        if not self.dead:
            self.dead = True
            self._run.kills.append(self._run.events.clock())

    def reason(self, error: BaseException) -> str:
        return "died"

    def _load(self) -> Load:
        return Load(self.waiting, self._run.frame_s, self.reports)

    def _go_on(self) -> None:
        if self._busy or self.dead or self.frozen or self.hanging:
            return
        if batch := self._batcher.take():
            self._busy = True
            self._run.events.after(len(batch) * self._run.frame_s, lambda: self._end(batch))
        elif (due_s := self._batcher.due_in()) is not None:
            self._run.events.after(due_s, self._go_on)

    def _end(self, batch: list[tuple[Stream, Call, int]]) -> None:
        if self.dead or self.frozen or self.hanging:
            return
        self._busy = False
        self.steps += 1
        self.waiting -= len(batch)
        for stream, call, _ in batch:
            self._left[stream, call.call_id] -= 1
            if self._left[stream, call.call_id] == 0:
                stream.answered(call, self._load())
        self._go_on()


class Stream:
    """A file: as many frames under way as its window holds, until all are answered."""

    def __init__(self, run: Run, number: int, frames: int, window: int) -> None:
        self.number = number
        self.results: list[int] = []
        self._run = run
        self._frames, self._window, self._sent = frames, window, 0
        self.dispatcher = Dispatcher(
            max_batch=run.max_batch, max_wait_s=WAIT_S, spread=number, clock=run.events.clock
        )

    @property
    def over(self) -> bool:
        return len(self.results) >= self._frames

    def set_members(self, loads: dict[Member, Load]) -> None:
        assert self.dispatcher.set_members(loads) == []
        self.go_on()

    def go_on(self) -> None:
        while self._sent < min(self._frames, len(self.results) + self._window):
            self.dispatcher.add(self._sent)
            self._sent += 1
        for call in self.dispatcher.calls():
            self._run.workers[call.member].take(self, call)
        if (wake_s := self.dispatcher.wake_in()) is not None:
            self._run.events.after(max(wake_s, 1e-6), self.go_on)

    def answered(self, call: Call, load: Load) -> None:
        if self.dispatcher.answered(call.call_id, load):
            self.results += call.tickets
        self.go_on()

    def lost(self, call: Call) -> None:
        assert self.dispatcher.lost(call.call_id) == []


@dataclass
class Run:
    """Some streams on some segment workers."""

    streams: int
    frame_s: float
    max_batch: int
    workers_count: int = 1
    frames: int = 0
    load_s: float = 15.0
    poll_s: float = 0.25
    events: Events = field(default_factory=Events)
    kills: list[float] = field(default_factory=list)
    workers: dict[Member, Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        window = 2 * self.max_batch
        self.frames = self.frames or 3 * window
        self.readers = [Stream(self, n, self.frames, window) for n in range(self.streams)]
        self._owed: dict[Member, list[Owed]] = {}
        self.slots = [self._slot(n) for n in range(self.workers_count)]
        self._members: dict[Member, Load] = {}
        self.events.after(0.0, self._look)
        self.events.after(0.0, self._tell)

    @property
    def ideal_s(self) -> float:
        return self.load_s + self.streams * self.frames * self.frame_s / self.workers_count

    def finish(self, *, at_most_s: float) -> float:
        """Run to the end; every frame was answered exactly once."""
        self.events.run(lambda: all(s.over for s in self.readers), at_most_s=at_most_s)
        for stream in self.readers:
            assert sorted(stream.results) == list(range(self.frames))
        return self.events.clock()

    def _slot(self, number: int) -> SegmentSlot:
        return SegmentSlot(
            f"segment-{number}",
            lambda: Worker(self),
            limits=Limits(poll_s=self.poll_s),
            batch_timeout_s=BATCH_TIMEOUT_S,
            max_batch=self.max_batch,
            wake=lambda: None,
            clock=self.events.clock,
        )

    def _look(self) -> None:
        """What the supervisor does with its segment workers."""
        for slot in self.slots:
            slot.step(self._owed.get(slot.place[0], ()))
        self.events.after(self.poll_s, self._look)
        loads = {}
        for slot in self.slots:
            if slot.ready:
                member, loads[member], self.workers[member] = slot.place
        changed = loads.keys() != self._members.keys()
        self._members = loads
        if changed:
            self._tell_all()

    def _tell(self) -> None:
        """What the supervisor does with its stream workers, the more seldom the more there are."""
        self._tell_all()
        self.events.after(self.poll_s * max(1.0, self.streams / 10), self._tell)

    def _tell_all(self) -> None:
        now, self._owed = self.events.clock(), {}
        for stream in self.readers:
            stream.set_members(self._members)
            for member, since_s in stream.dispatcher.owed_since().items():
                self._owed.setdefault(member, []).append(Owed(since_s, now))


def seldom(frame_s: float, max_batch: int) -> float:
    """A pause between looks that keeps a long run short in this process."""
    return min(20.0, max(0.25, frame_s * max_batch / 4))


@pytest.mark.parametrize("max_batch", [1, 8, 32])
@pytest.mark.parametrize("frame_s", [0.05, 0.7, 1.8, 10.0])
@pytest.mark.parametrize("streams", [1, 2, 8, 32, 64])
def test_a_worker_that_works_is_never_killed_however_many_streams_wait_for_it(
    streams: int, frame_s: float, max_batch: int
) -> None:
    run = Run(streams, frame_s, max_batch, frames=2 * max_batch, poll_s=seldom(frame_s, max_batch))

    took_s = run.finish(at_most_s=2 * run.ideal_s + 100)

    assert run.kills == []
    assert took_s <= 1.03 * run.ideal_s + 2 * run.poll_s


def test_the_frames_of_many_streams_are_spread_evenly_over_several_workers() -> None:
    run = Run(24, 1.8, 8, workers_count=3, frames=64, poll_s=seldom(1.8, 8))

    took_s = run.finish(at_most_s=2 * run.ideal_s)

    assert run.kills == []
    assert took_s <= 1.05 * run.ideal_s


def freeze(worker: Worker) -> None:
    """Its process stands still."""
    worker.frozen = True


def hang(worker: Worker) -> None:
    """It answers questions, but the batch on its device never ends."""
    worker.hanging = True


def go_deaf(worker: Worker) -> None:
    """It answers questions, but calls do not reach it any more."""
    worker.deaf = True


@pytest.mark.parametrize("streams", [1, 24])
@pytest.mark.parametrize(("frame_s", "max_batch"), [(0.05, 8), (1.8, 8), (10.0, 1)])
@pytest.mark.parametrize("fault", [freeze, hang, go_deaf])
def test_a_worker_that_no_longer_works_is_replaced_within_its_deadline_and_a_second(
    fault: Callable[[Worker], None], frame_s: float, max_batch: int, streams: int
) -> None:
    run = Run(streams, frame_s, max_batch, frames=4 * max_batch)
    at_s = run.load_s + 1.5 * max_batch * frame_s
    broken_at: list[float] = []

    def break_it() -> None:
        fault(worker := run.workers[Member("segment-0", 0)])
        idle = fault is go_deaf and worker.waiting  # it still ends what it has
        broken_at.append(run.events.clock() + idle * frame_s)

    run.events.after(at_s, break_it)
    run.events.run(lambda: bool(run.kills), at_most_s=3000)
    run.poll_s = seldom(frame_s, max_batch)
    run.finish(at_most_s=3 * run.ideal_s + 3000)

    batch_s = BATCH_TIMEOUT_S + 3 * max_batch * frame_s
    deadline_s = batch_s if fault is hang else PING_S
    (killed_at_s,) = run.kills
    # A stream says what it is owed with its next report.
    told_s = 0.25 * max(1.0, streams / 10) if fault is go_deaf else 0.0
    assert killed_at_s - broken_at[0] <= deadline_s + 1.0 + told_s


def test_a_worker_without_work_is_never_stuck() -> None:
    run = Run(1, 1.0, 4, frames=4)
    run.finish(at_most_s=100)

    run.events.run(lambda: run.events.clock() > 2000, at_most_s=3000)

    assert run.kills == []
