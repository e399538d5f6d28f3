"""Workers that are played, on a clock that jumps: all of them but the processes and the pictures.

The supervisor, the places of workers, the dispatchers and the batches are the real ones.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pipeline import __version__
from pipeline.accounting import StreamCounts
from pipeline.batching import Batcher
from pipeline.config import parse
from pipeline.metrics.counts import WorkerCounts
from pipeline.plan import StreamPlan
from pipeline.plan.resolve import resolve
from pipeline.stages import ModelInfo
from pipeline.testing import ManualClock
from workers.dispatch import Call, Dispatcher
from workers.lives import Limits
from workers.members import Load, Member
from workers.segment import Loaded, SegmentReport
from workers.stream import Pool, StreamReport
from workers.supervisor import Supervisor

INFO = ModelInfo("played", {1: "thing"}, "")
FRAME_S = 0.04
LOAD_S = 15.0
MAX_BATCH = 8
WAIT_S = 0.01
LOOK_EVERY_S = 0.25
WINDOW = 4
"""Frames of a camera that may be under way; a newer one finds no room then."""


@dataclass(slots=True)
class Stopwatch:
    """Seconds of a core spent on something."""

    seconds: float = 0.0
    longest_s: float = 0.0

    def __call__(self, work: Callable[..., Any], *given: Any) -> Any:
        """Do it, with the watch running."""
        began = time.thread_time()
        answer = work(*given)
        took = time.thread_time() - began
        self.seconds += took
        self.longest_s = max(self.longest_s, took)
        return answer


@dataclass
class Events:
    """What will happen when; the clock jumps from one to the next."""

    clock: ManualClock = field(default_factory=ManualClock)
    queue: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        """Have something happen."""
        heapq.heappush(self.queue, (self.clock() + seconds, next(self.numbers), what))

    def run(self, until_s: float) -> None:
        """Let happen what does until then."""
        while self.queue and self.queue[0][0] <= until_s:
            at_s, _, what = heapq.heappop(self.queue)
            self.clock.advance(at_s - self.clock())
            what()
        self.clock.advance(until_s - self.clock())


class SegmentWorker:
    """All of a segment worker but the model."""

    node = ""
    gone: str | None = None

    def __init__(self, fleet: Fleet) -> None:
        self.address: Any = self
        self.dead = False
        self._fleet, self._events = fleet, fleet.events
        self._steps = self._waiting = self._reports = 0
        self._busy = False
        self._batcher: Batcher[tuple[StreamWorker, Call]] = Batcher(
            MAX_BATCH, WAIT_S, fleet.events.clock
        )
        self._open: dict[tuple[StreamWorker, int], int] = {}

    def call(self, method: str, *given: Any) -> Future[Any]:
        """What its place asks."""
        future: Future[Any] = Future()
        if self.dead:
            future.set_exception(ConnectionError("killed"))
        elif method == "load":
            loaded = Loaded(INFO, __version__, "node", self._load())
            self._events.after(LOAD_S, lambda: future.done() or future.set_result(loaded))
        elif method == "report":
            self._reports += 1
            counts = WorkerCounts("w", "ready", waiting=self._waiting)
            future.set_result(SegmentReport(counts, self._load(), 1, steps=self._steps))
        else:
            future.set_result(1)
        return future

    def take(self, sender: StreamWorker, call: Call) -> None:
        """A call has come."""
        if self.dead:
            sender.lost(call.call_id)
            return
        self._open[sender, call.call_id] = len(call.tickets)
        self._waiting += len(call.tickets)
        for ticket in call.tickets:
            self._batcher.add(sender.whose[ticket].name, [(sender, call)])
        self._go_on()

    def kill(self) -> None:
        """It is gone, with all it had."""
        self.dead = True
        lost, self._open = self._open, {}
        for sender, call_id in lost:
            sender.lost(call_id)

    def reason(self, error: BaseException) -> str:
        """Why a call failed."""
        return f"died: {error}"

    def _load(self) -> Load:
        return Load(self._waiting, FRAME_S, self._reports)

    def _go_on(self) -> None:
        if self._busy or self.dead:
            return
        if batch := self._batcher.take():
            self._busy = True
            self._events.after(len(batch) * FRAME_S, lambda: self._end(batch))
        elif (due_s := self._batcher.due_in()) is not None:
            self._events.after(due_s, self._go_on)

    def _end(self, batch: list[tuple[StreamWorker, Call]]) -> None:
        if self.dead:
            return
        self._busy = False
        self._steps += 1
        self._waiting -= len(batch)
        for sender, call in batch:
            self._open[sender, call.call_id] -= 1
            if not self._open[sender, call.call_id]:
                del self._open[sender, call.call_id]
                sender.answered(call, self._load())
        self._go_on()


@dataclass(eq=False)
class Camera:
    """A stream: a frame every second, as long as there is room for it."""

    name: str
    served: int = 0
    dropped: int = 0
    under_way: int = 0


class StreamWorker:
    """A stream worker as its place sees it."""

    node = ""
    gone: str | None = None

    def __init__(self, fleet: Fleet, streams: Sequence[StreamPlan], spread: int) -> None:
        self.address: Any = None
        self.cameras = [Camera(plan.id) for plan in streams]
        self.whose: dict[int, Camera] = {}
        """Of what is under way."""
        self._fleet, self._sent = fleet, 0
        self._captured_at: dict[int, float] = {}
        self._workers: Mapping[Member, SegmentWorker] = {}
        self.dispatcher = Dispatcher(
            max_batch=MAX_BATCH, max_wait_s=WAIT_S, spread=spread, clock=fleet.events.clock
        )
        fleet.cameras += self.cameras

    def call(self, method: str, *given: Any) -> Future[Any]:
        """What its place asks."""
        future: Future[Any] = Future()
        if method == "begin":
            self._know(given[1])
            for camera in self.cameras:
                self._fleet.events.after(self._fleet.random.random(), partial(self.capture, camera))
        if method == "report":
            self._know(given[0])
            future.set_result(self._report())
        else:
            future.set_result(None)
        return future

    def kill(self) -> None:
        """Nobody does."""

    def reason(self, error: BaseException) -> str:
        """Why a call failed."""
        return str(error)

    def capture(self, camera: Camera) -> None:
        """The next frame of a camera is there."""
        self._fleet.events.after(1.0, partial(self.capture, camera))
        if camera.under_way >= WINDOW:
            camera.dropped += 1
            return
        camera.under_way += 1
        self.whose[self._sent] = camera
        self._captured_at[self._sent] = self._fleet.events.clock()
        self.dispatcher.add(self._sent, stream=camera.name)
        self._sent += 1
        self._go_on()

    def answered(self, call: Call, load: Load) -> None:
        """Results are back."""
        if self.dispatcher.answered(call.call_id, load):
            now = self._fleet.events.clock()
            self._fleet.waits += [now - self._captured_at[ticket] for ticket in call.tickets]
            for ticket in call.tickets:
                self._settled(ticket).served += 1
        self._go_on()

    def lost(self, call_id: int) -> None:
        """A worker has died over it, or is not there to do it."""
        self._given_up(self.dispatcher.lost(call_id))
        self._fleet.events.after(WAIT_S, self._go_on)

    def _given_up(self, tickets: Sequence[int]) -> None:
        for ticket in tickets:
            self._settled(ticket).dropped += 1

    def _settled(self, ticket: int) -> Camera:
        del self._captured_at[ticket]
        camera = self.whose.pop(ticket)
        camera.under_way -= 1
        return camera

    def _know(self, pool: Pool) -> None:
        self._fleet.told_members += len(pool.loads)
        self._fleet.tellings += 1
        self._workers = pool.addresses
        self._given_up(self._fleet.telling(self.dispatcher.set_members, pool.loads))
        self._go_on()

    def _go_on(self) -> None:
        for call in self._fleet.deciding(self.dispatcher.calls):
            self._fleet.decided += 1
            self._workers[call.member].take(self, call)
        if (wake_s := self.dispatcher.wake_in()) is not None:
            self._fleet.events.after(max(wake_s, 1e-6), self._go_on)

    def _report(self) -> StreamReport:
        now = self._fleet.events.clock()
        owed = {member: now - since for member, since in self.dispatcher.owed_since().items()}
        counts = tuple(
            StreamCounts(
                camera.name, "streaming", captured=camera.served + camera.dropped,
                published=camera.served, dropped={"buffer_full": camera.dropped},
            )
            for camera in self.cameras
        )  # fmt: skip
        return StreamReport(counts, {}, owed, 1)


@dataclass
class Fleet:
    """All of it; also the `Machines` of its supervisor."""

    segment_workers: int
    each: int
    """Cameras in one stream worker."""
    stream_workers: int = 0
    events: Events = field(default_factory=Events)
    cameras: list[Camera] = field(default_factory=list)
    segments: list[SegmentWorker] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    """How long each frame took that was answered."""
    told_members: int = 0
    tellings: int = 0
    decided: int = 0
    deciding: Stopwatch = field(default_factory=Stopwatch)
    telling: Stopwatch = field(default_factory=Stopwatch)
    looking: Stopwatch = field(default_factory=Stopwatch)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def begin(self, cameras: int) -> None:
        """Start the supervisor; it looks from now on."""
        sources = [{"id": f"cam-{n}", "url": f"rtsp://10.0.0.1/{n}"} for n in range(cameras)]
        workers = {"streams_per_worker": self.each, "segment": self.segment_workers}
        values = {"model": {"name": "blob"}, "sources": sources, "workers": workers}
        self.supervisor = Supervisor(
            resolve(parse(values)), self, limits=Limits(), clock=self.events.clock
        )
        self.supervisor._crew.begin()
        self.look()

    def look(self) -> None:
        """What the supervisor does four times a second."""
        inside = self.deciding.seconds + self.telling.seconds
        self.looking(self.supervisor._look)
        self.looking.seconds -= self.deciding.seconds + self.telling.seconds - inside
        self.events.after(LOOK_EVERY_S, self.look)

    def forget(self) -> None:
        """Count from here on."""
        for watch in (self.deciding, self.telling, self.looking):
            watch.seconds = watch.longest_s = 0.0
        for camera in self.cameras:
            camera.served = 0
        self.waits.clear()
        self.told_members = self.tellings = self.decided = 0

    def start_segment(self, worker_id: str) -> SegmentWorker:
        """See `Machines`."""
        self.segments.append(SegmentWorker(self))
        return self.segments[-1]

    def start_stream(
        self, streams: Sequence[StreamPlan], *, spread: int, again: bool
    ) -> StreamWorker:
        """See `Machines`."""
        return StreamWorker(self, streams, spread)

    def fault(self) -> None:
        """See `Machines`."""

    def missing(self) -> None:
        """See `Machines`."""

    def ask_for(self, workers: int) -> None:
        """See `Machines`."""

    def room(self) -> dict[str, float]:
        """See `Machines`."""
        return {}

    def going(self) -> frozenset[str]:
        """See `Machines`."""
        return frozenset()
