"""A whole run with real workers in this process: the plain classes, a loop and some threads."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.accounting import StreamAccount, StreamCounts
from pipeline.assemble import PlannedSinks
from pipeline.config import parse
from pipeline.events.kept import KeptEvents
from pipeline.metrics.counts import RunCounts
from pipeline.picture import Picture
from pipeline.plan import ModelPlan, RunPlan, StreamPlan
from pipeline.plan.resolve import resolve
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.runner import LocalRun
from pipeline.runtime import Serving
from pipeline.stages import AsyncSegmenter, Segmenter
from pipeline.stream import End, Leave, Stream, StreamSettings
from pipeline.testing import (
    ListSink,
    ScriptedSource,
    StubSegmenter,
    make_frames,
    make_instances,
)
from workers.lives import Limits
from workers.members import Member
from workers.segment import SegmentWorker
from workers.sender import Send
from workers.stream import StreamWorker
from workers.supervisor import Supervisor
from workers.transport import Answer, Pictures

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

    node = ""
    gone: str | None = None

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
            try:
                outcome = getattr(self._target, method)(*args)
                value = await outcome if asyncio.iscoroutine(outcome) else outcome
            except Exception as error:  # noqa: BLE001 - told to whoever called
                self._settle(future, partial(future.set_exception, error))
            else:
                self._settle(future, partial(future.set_result, value))

        asyncio.run_coroutine_threadsafe(work(), self._loop.loop)
        return future

    def _settle(self, future: "Future[Any]", settle: Callable[[], object]) -> None:
        with self._door:
            if future in self._open:
                self._open.remove(future)
                settle()

    def segment(self, pictures: Pictures) -> "Future[Answer]":
        return self.call("segment", pictures)

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
    other: Callable[..., Segmenter] = field(default=lambda *_: stub())
    """Makes the segmenter of a model that comes while the run goes on."""
    segment_workers: int = 1
    stream_workers: int = 4
    before_frame: Callable[[str, int], object] = lambda source_id, index: None
    most_at_once: int = 0
    broken: str | None = None
    at_look: Callable[[], object] = lambda: None
    live: set[str] = field(default_factory=set)
    asked: list[int] = field(default_factory=list)
    sinks: dict[str, list[ListSink]] = field(default_factory=dict)
    segments: list[LocalWorker] = field(default_factory=list)
    streams: list[LocalWorker] = field(default_factory=list)
    stream_targets: list[StreamWorker] = field(default_factory=list)

    def fault(self) -> str | None:
        self.at_look()
        return self.broken

    def missing(self) -> str | None:
        return None

    def ask_for(self, workers: int) -> None:
        self.asked.append(workers)

    def room(self) -> dict[str, float]:
        return {}

    def going(self) -> frozenset[str]:
        return frozenset()

    def start_segment(self, worker_id: str) -> LocalWorker:
        worker = SegmentWorker(self.model, worker_id=worker_id, max_batch=4, max_wait_s=0.0)
        self.segments.append(LocalWorker(worker, self.loop))
        return self.segments[-1]

    def bring(self, model: ModelPlan, weights: Any) -> Callable[[str], LocalWorker]:
        def start(worker_id: str) -> LocalWorker:
            load = partial(self.other, model, weights)
            worker = SegmentWorker(load, worker_id=worker_id, max_batch=4, max_wait_s=0.0)
            self.segments.append(LocalWorker(worker, self.loop))
            return self.segments[-1]

        return start

    def adopt(self, model: ModelPlan) -> None:
        """All models take what there is."""

    def start_stream(
        self, streams: Sequence[StreamPlan], *, spread: int, again: bool
    ) -> LocalWorker:
        worker = StreamWorker(
            streams=streams,
            build=self.build,
            connect=_connect,
            max_batch=4,
            max_wait_s=0.0,
            spread=spread,
        )
        self.most_at_once = max(self.most_at_once, 1 + sum(not w.dead for w in self.streams))
        self.stream_targets.append(worker)
        self.streams.append(LocalWorker(worker, self.loop))
        return self.streams[-1]

    def build(self, plan: StreamPlan, segmenter: AsyncSegmenter, account: StreamAccount) -> Stream:
        maker = PlannedSinks(plan, segmenter)
        sink = ListSink()
        self.sinks.setdefault(plan.id, []).append(sink)
        script: list[Any] = []
        for frame in make_frames(FRAMES, source_id=plan.id):
            script += [self._step(plan.id, frame.index), frame]
        stream = Stream(
            ScriptedSource(script, source_id=plan.id, live=plan.id in self.live),
            segmenter,
            tracker=None,
            camera=None,
            sinks=[("list", sink), *(maker.open(plan.sinks) if plan.source.live else ())],
            maker=maker,
            run="r",
            settings=StreamSettings(window=8, buffer=FRAMES if plan.id in self.live else 2),
            account=account,
            make_picture=make_picture,
        )
        if plan.watched:
            stream.keep(cast("KeptEvents", Noted()))
        return stream

    def _step(self, source_id: str, index: int) -> Callable[[], object]:
        return lambda: self.before_frame(source_id, index)


class Noted:
    """Keeps the index of every result as what happened."""

    def __init__(self) -> None:
        self._seen: list[str] = []

    def see(self, result: FrameResult, picture: Picture) -> None:
        self._seen.append(str(result.index))

    def since(self, key: str | None) -> tuple[str, ...]:
        return tuple(self._seen[0 if key is None else 1 + self._seen.index(key) :])


def _connect(address: Callable[[Member], Any]) -> Send:
    return lambda call, pictures: address(call.member).segment(pictures)


def stub() -> StubSegmenter:
    return StubSegmenter(lambda image: make_instances(size=image.shape[:2]))


@dataclass(eq=False)
class Lab:
    """What a test of a run needs; `FRAMES` frames a stream."""

    loop: Loop
    frames: int = FRAMES

    def stub(self) -> StubSegmenter:
        return stub()

    def machines(self, model: Callable[[], Segmenter] | None = None, **options: Any) -> Machines:
        return Machines(self.loop, model or stub, **options)

    def plan(self, *ids: str, **workers: Any) -> RunPlan:
        sources = [{"id": name, "url": f"{name}.mp4"} for name in ids]
        return resolve(parse({"sources": sources, "workers": workers}))

    def supervisor(
        self, plan: RunPlan, machines: Machines, *, limits: Limits = LIMITS, **options: Any
    ) -> Supervisor:
        return Supervisor(plan, machines, limits=limits, **options)

    def run(
        self,
        supervisor: Supervisor,
        machines: Machines,
        *,
        stop: threading.Event | None = None,
        on_progress: Callable[[RunCounts], None] | None = None,
    ) -> tuple[End, ...]:
        try:
            return supervisor.run(
                stop=stop or threading.Event(), abort=threading.Event(), on_progress=on_progress
            )
        finally:
            supervisor.close()
            for worker in machines.stream_targets:
                worker.obey(Leave("the test is over"), list(worker._streams))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Makes plans, machines and supervisors, and runs them."""
    loop = Loop()
    yield Lab(loop)
    loop.close()


@dataclass(eq=False)
class Going:
    """A run that goes on in a thread, whichever executor carries it out."""

    lab: Lab
    local: bool
    hold: dict[str, int] = field(default_factory=dict)
    """At which frame a source waits until it may go on."""
    arrived: defaultdict[str, threading.Event] = field(
        default_factory=lambda: defaultdict(threading.Event)
    )
    may_go: defaultdict[str, threading.Event] = field(
        default_factory=lambda: defaultdict(threading.Event)
    )
    live: set[str] = field(default_factory=set)
    """Sources that are cameras."""
    control: Any = None
    machines: Any = None
    other: Callable[..., Segmenter] = field(default=lambda *_: stub())

    def begin(self, *ids: str, stay: bool = False, watched: bool = False) -> None:
        """Start a run of these, in a thread."""
        self.machines = self.lab.machines(
            before_frame=self._before_frame, live=self.live, other=self.other
        )
        plan = self.lab.plan(*ids)
        streams = (replace(self.planned(one), watched=watched) for one in plan.streams)
        plan = replace(plan, streams=tuple(streams))
        if self.local:
            self._serving = Serving(stub, max_batch=4, max_wait_s=0.0)
            self.control = LocalRun(
                plan, self._serving, stay=stay, build=self.machines.build, load=self.other
            )
        else:
            self.control = self.lab.supervisor(plan, self.machines, stay=stay)
        self.stop, self.abort = threading.Event(), threading.Event()
        self._ends: list[tuple[End, ...]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def planned(self, stream: StreamPlan) -> StreamPlan:
        """As the plan of a camera, where it is to be one."""
        return replace(stream, source=replace(stream.source, live=stream.id in self.live))

    def end(self) -> list[End]:
        """How the streams that are left ended."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "the run does not end"
        return list(self._ends[0])

    def close(self) -> None:
        """Leave nothing behind, also where a test failed."""
        if self.control is None:
            return
        self.abort.set()
        for event in self.may_go.values():
            event.set()
        self._thread.join(20)
        if self.local:
            self._serving.close()
        for worker in self.machines.stream_targets:
            worker.obey(Leave("the test is over"), list(worker._streams))

    def counts(self, source_id: str) -> StreamCounts:
        """Of one stream, now."""
        (found,) = (one for one in self.control.counts().streams if one.source_id == source_id)
        return found

    def until(self, seen: Callable[[], object]) -> None:
        """Wait until something can be seen; nothing tells of it."""
        tick = threading.Event()
        for _ in range(4000):
            if seen():
                return
            tick.wait(0.005)
        raise AssertionError("it never came")

    def _run(self) -> None:
        try:
            self._ends.append(self.control.run(stop=self.stop, abort=self.abort))
        finally:
            self.control.close()

    def _before_frame(self, source_id: str, index: int) -> None:
        if self.hold.get(source_id) == index:
            self.arrived[source_id].set()
            assert self.may_go[source_id].wait(20)


@pytest.fixture(params=["local", "supervisor"])
def going(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Going]:
    """A run under control, in one process and on workers."""
    made = Going(lab, local=request.param == "local")
    yield made
    made.close()


@pytest.fixture
def added(tmp_path: Path) -> Callable[..., StreamPlan]:
    """The plan of one stream more, as a service resolves it; its source is a file that is there."""

    def make(source_id: str, *sinks: str, **source: Any) -> StreamPlan:
        path = tmp_path / f"{source_id}.mp4"
        path.write_bytes(b"no video, but a file")
        values = {"sources": [{"id": source_id, "url": str(path), **source}], "sinks": list(sinks)}
        return resolve(parse({**values, "run": {"resume": False}})).streams[0]

    return make
