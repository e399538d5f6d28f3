"""As many segment workers as there should be, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline import __version__
from pipeline.metrics.counts import WorkerCounts
from pipeline.stages import ModelInfo
from pipeline.testing import ManualClock
from workers.crew import Crew
from workers.lives import Limits
from workers.members import Load
from workers.scaler import Autoscaler
from workers.segment import Loaded, SegmentReport
from workers.slots import SegmentSlot

INFO = ModelInfo("blob", {1: "red"}, "")
FRAME_S = 0.1


@dataclass(eq=False)
class Worker:
    """Loads at once, and has as many frames waiting as the test says."""

    node: str = ""
    gone: str | None = None
    waiting: int = 0
    done: int = 0
    reports: int = 0
    killed: bool = False

    @property
    def address(self) -> Any:
        return self

    def call(self, method: str, *given: Any) -> Future[Any]:
        self.reports += method == "report"
        load = Load(self.waiting, FRAME_S, self.reports)
        counts = WorkerCounts("w", "ready", batches={1: self.done} if self.done else {})
        answers = {
            "alive": 1,
            "load": Loaded(INFO, __version__, "host", load),
            "report": SegmentReport(counts, load, 1, steps=self.done),
        }
        future: Future[Any] = Future()
        future.set_result(answers[method])
        return future

    def kill(self) -> None:
        self.killed = True

    def reason(self, error: BaseException) -> str:
        return str(error)


@dataclass(eq=False)
class Lab:
    """A crew on machines of one worker each; also those machines."""

    least: int = 1
    most: int = 4
    clock: ManualClock = field(default_factory=ManualClock)
    workers: list[Worker] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    dropped: int = 0
    segment_workers: int = 1
    named: int = 0

    def __post_init__(self) -> None:
        scaler = Autoscaler(self.least, self.most, clock=self.clock) if self.most else None
        machines: Any = self
        self.crew = Crew(machines, self.slots, scaler, 8, lambda: self.dropped, self.clock)
        self.crew.begin()

    def slots(self, count: int) -> list[SegmentSlot]:
        first, self.named = self.named, self.named + count
        return [self.slot(f"segment-{number}") for number in range(first, self.named)]

    def slot(self, name: str) -> SegmentSlot:
        return SegmentSlot(
            name,
            self.start,
            limits=Limits(),
            batch_timeout_s=60.0,
            max_batch=8,
            wake=lambda: None,
            clock=self.clock,
        )

    def start(self) -> Worker:
        self.workers.append(Worker(f"node-{len(self.workers)}"))
        return self.workers[-1]

    def ask_for(self, workers: int) -> None:
        self.asked.append(workers)

    def going(self) -> Collection[str]:
        return self.away

    def last(self, seconds: int, *, rate: int = 0) -> None:
        """Time goes by; each worker does its part of what comes in."""
        for tick in range(4 * seconds):
            there = [worker for worker in self.workers if not worker.killed]
            for worker in there:
                worker.done += (tick % 4 == 0) * rate // len(there)
            self.clock.advance(0.25)
            self.crew.step({})

    @property
    def states(self) -> list[str]:
        return [place.counts().state for place in self.crew.places]


def test_it_begins_with_the_least_and_asks_for_room_for_them() -> None:
    lab = Lab(least=2)
    lab.last(5)
    assert (lab.states, lab.asked) == (["ready", "ready"], [2])


def test_without_bounds_there_are_as_many_as_the_machines_are_good_for() -> None:
    lab = Lab(most=0)
    lab.last(1)
    assert lab.states == ["ready"]
    lab.segment_workers = 3
    lab.last(1)
    assert (lab.states, lab.asked) == (["ready"] * 3, [1])


def test_the_machines_hear_of_a_place_that_became_free_on_one_that_goes() -> None:
    lab = Lab(most=0, segment_workers=2)
    lab.last(1)
    lab.away, lab.segment_workers = {"node-1"}, 1
    lab.last(1)
    assert (lab.states, lab.asked) == (["ready", "leaving"], [2])
    lab.last(5)
    assert (lab.states, lab.asked) == (["ready", "resting"], [2, 1])


def test_more_work_brings_workers_and_less_of_it_lets_them_go() -> None:
    lab = Lab()
    lab.last(60, rate=8)
    assert lab.states == ["ready"]
    lab.last(120, rate=36)
    assert (lab.states, lab.asked[-1]) == (["ready"] * 4, 4)
    lab.last(400, rate=4)
    assert (lab.states, lab.asked[-1]) == (["ready"] + ["resting"] * 3, 1)
    assert [worker.killed for worker in lab.workers] == [False, True, True, True]


def test_who_comes_back_takes_a_place_there_was_and_what_was_counted_stays() -> None:
    lab = Lab()
    lab.last(120, rate=36)
    lab.last(400, rate=4)
    before = sum(place.counts().frames for place in lab.crew.places)
    lab.last(120, rate=36)
    assert lab.states == ["ready"] * 4
    assert [place.member.generation for place in lab.crew.places] == [0, 1, 1, 1]
    assert sum(place.counts().frames for place in lab.crew.places) >= before


def test_frames_that_were_dropped_because_nobody_had_time_count_as_work() -> None:
    lab = Lab()
    for _ in range(60):
        lab.dropped += 20
        lab.last(1, rate=10)
    assert lab.states == ["ready"] * 3


def test_what_waits_in_workers_counts_as_work_beyond_the_batches_they_are_at() -> None:
    lab = Lab()
    lab.last(60, rate=8)
    lab.workers[0].waiting = 8
    lab.last(10)
    assert lab.states == ["ready"]
    lab.workers[0].waiting = 308
    lab.last(3)
    assert len(lab.states) >= 3


def test_who_is_on_a_machine_that_goes_leaves_it_and_another_comes_at_once() -> None:
    lab = Lab(least=2)
    lab.last(5)
    lab.away = {"node-0"}
    lab.last(1)
    assert lab.states == ["leaving", "ready", "ready"]
    lab.last(5)
    assert lab.states == ["resting", "ready", "ready"]
    assert [worker.node for worker in lab.workers if not worker.killed] == ["node-1", "node-2"]


def test_who_is_not_ready_goes_first_and_then_the_newest() -> None:
    lab = Lab()
    lab.last(120, rate=36)
    order = [place.member.worker_id for place in lab.crew._last_first()]
    assert order == ["segment-3", "segment-2", "segment-1", "segment-0"]
    lab.crew.places[1].lose("died")
    assert lab.crew._last_first()[0].member.worker_id == "segment-1"


def test_nobody_else_is_asked_for_as_long_as_nothing_changes() -> None:
    lab = Lab()
    lab.last(300, rate=8)
    assert lab.asked == [1]


@pytest.mark.parametrize("number", range(2))
def test_places_keep_their_order(number: int) -> None:
    lab = Lab(least=1 + number)
    lab.last(60, rate=36)
    assert [p.member.worker_id for p in lab.crew.places] == [
        f"segment-{n}" for n in range(len(lab.crew.places))
    ]
