"""Public doubles: sources that follow a script, sinks that remember, clocks that stand still.

For this project's tests and for yours; exact masks come from the `blob` model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, TypeAlias

import numpy as np

from pipeline.accounting import StreamCounts
from pipeline.arrays import Image
from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import ModelInfo, Outcome, Position, Status, StreamEnd

INFO = ModelInfo("blob", {1: "red", 2: "green"}, "")


class Pause(Enum):
    """Steps of a `ScriptedSource` that wait."""

    UNTIL_STOPPED = auto()
    """Until somebody calls `stop`."""


Step: TypeAlias = Frame | Exception | Callable[[], object] | Pause
"""A frame is yielded, an exception raised, anything else called (to wait for an event, say)."""


class ManualClock:
    """A clock that moves only when told to; safe from any thread."""

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """The time, seconds."""
        with self._lock:
            return self._now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now_s += seconds


def make_frame(
    index: int = 0,
    *,
    source_id: str = "cam",
    epoch: int = 0,
    pts_s: float | None = None,
    size: tuple[int, int] = (12, 16),
) -> Frame:
    """A grey picture with one red square that moves with `index`, 10 frames a second.

    Args:
        index: of the frame.
        source_id: of the frame.
        epoch: of the frame.
        pts_s: None: `index` / 10.
        size: (height, width), at least 12 × 16.
    """
    image = np.full((*size, 3), 40, np.uint8)
    x = index % (size[1] - 8)
    image[2:10, x : x + 8] = (0, 0, 255)
    return Frame(source_id, epoch, index, index / 10 if pts_s is None else pts_s, image)


def make_frames(count: int, *, source_id: str = "cam", start: int = 0) -> list[Frame]:
    """`count` frames of one epoch."""
    return [make_frame(start + i, source_id=source_id) for i in range(count)]


def make_instances(
    count: int = 1, *, size: tuple[int, int] = (12, 16), score: float = 0.9, class_id: int = 1
) -> Instances:
    """`count` equal instances: a 4 × 4 square in the top left corner."""
    dense = np.zeros((count, *size), bool)
    dense[:, :4, :4] = True
    return Instances(
        boxes=np.tile(np.array([[0, 0, 4, 4]], np.float32), (count, 1)),
        scores=np.full(count, score, np.float32),
        class_ids=np.full(count, class_id, np.int64),
        masks=Masks.from_dense(dense),
    )


def make_end(outcome: Outcome | None = None, **counts: Any) -> StreamEnd:
    """How a stream of `cam` ended.

    Args:
        outcome: None: complete, every frame captured was decoded.
        counts: of `StreamCounts`.
    """
    told = StreamCounts(**{"source_id": "cam", "state": "streaming", **counts})
    complete = Outcome(Status.COMPLETE, None, told.captured, told.captured)
    return StreamEnd("run", outcome or complete, told)


class ScriptedSource:
    """A source that does what a script says.

    `start` skips to the frame it names, as a file does; after `stop` no further step is made.

    Args:
        script: frames to yield, exceptions to raise, functions to call between.
        source_id: of the source.
        live: whether frames may be dropped.
        outcome: how it ends; None: complete, with the number of frames given.
    """

    def __init__(
        self,
        script: Iterable[Step],
        *,
        source_id: str = "cam",
        live: bool = False,
        outcome: Outcome | None = None,
    ) -> None:
        self.source_id = source_id
        self.live = live
        self.decode_errors = 0
        self.reconnects = 0
        self.skipped: dict[str, int] = {}
        self.started_at: Position | None = None
        """What `frames` was given."""
        self._script = list(script)
        self._outcome = outcome
        self._given = 0
        self._stopped = threading.Event()

    @property
    def outcome(self) -> Outcome:
        """As given, else complete, or incomplete when it was stopped before its end."""
        if self._outcome is not None:
            return self._outcome
        total = sum(isinstance(step, Frame) for step in self._script)
        if self._given < total and not self.live:
            return Outcome(Status.INCOMPLETE, "stopped", self._given, total)
        return Outcome(Status.COMPLETE, None, self._given, total)

    @property
    def stopped(self) -> bool:
        """Whether somebody called `stop`."""
        return self._stopped.is_set()

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """Follow the script."""
        self.started_at = start
        first = 0 if start is None else start["index"]
        for step in self._script:
            if self._stopped.is_set():
                return
            if isinstance(step, Exception):
                raise step
            if step is Pause.UNTIL_STOPPED:
                self._stopped.wait()
                continue
            if not isinstance(step, Frame):
                step()
                continue
            self._given += 1
            if step.index >= first:
                yield step

    def stop(self) -> None:
        """Make no further step."""
        self._stopped.set()


@dataclass(eq=False)
class ListSink:
    """A sink that remembers.

    Its position is the number of its results; `resume` cuts back to it. As with files, results
    that are there already are replaced at the first write unless they are resumed.

    Args:
        errors: what to raise instead of accepting, by number of the call to `write`, from 0.
        on_write: called with every result before it is accepted.
    """

    errors: Mapping[int, Exception] = field(default_factory=dict)
    on_write: Callable[[FrameResult], object] | None = None
    results: list[FrameResult] = field(default_factory=list)
    ends: list[StreamEnd] = field(default_factory=list)
    flushes: int = 0
    closes: int = 0
    calls: int = 0
    _began: bool = False

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Remember the result."""
        call, self.calls = self.calls, self.calls + 1
        if call in self.errors:
            raise self.errors[call]
        if self.on_write is not None:
            self.on_write(result)
        if not self._began:
            self._began = True
            self.results.clear()
        self.results.append(result)

    def flush(self) -> Position:
        """How many there are."""
        self.flushes += 1
        return {"count": len(self.results)}

    def resume(self, position: Position) -> None:
        """Forget the later ones, and any end."""
        self._began = True
        del self.results[position["count"] :]
        self.ends.clear()

    def finish(self, end: StreamEnd) -> None:
        """Remember how it ended."""
        self.ends.append(end)

    def close(self) -> None:
        """Count the call."""
        self.closes += 1

    @property
    def indices(self) -> list[int]:
        """Frame numbers in the order of arrival."""
        return [result.index for result in self.results]


class StubSegmenter:
    """A `Segmenter` that finds what a function says, one call at a time.

    Args:
        find: from a picture to its instances; it may raise, or wait.
        info: of the model.
    """

    def __init__(self, find: Callable[[Image], Instances], *, info: ModelInfo = INFO) -> None:
        self.info = info
        self.batches: list[int] = []
        """Sizes of the batches so far."""
        self.closed = False
        self._find = find

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        """Ask the function for each picture."""
        self.batches.append(len(images))
        return [self._find(image) for image in images]

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class ManualSegmenter:
    """An `AsyncSegmenter` whose answers are given by the test; safe from any thread.

    Args:
        on_submit: called after every `submit`, with nothing locked.
        info: of the model.
    """

    def __init__(
        self, *, on_submit: Callable[[], object] | None = None, info: ModelInfo = INFO
    ) -> None:
        self.info = info
        self.submits: list[list[int]] = []
        """Frame numbers of each call of `submit`."""
        self._on_submit = on_submit
        self._open: dict[int, Future[Instances]] = {}
        self._frames: dict[int, Frame] = {}
        self._changed = threading.Condition()

    @property
    def waiting(self) -> list[int]:
        """Numbers of the frames without an answer, oldest first."""
        with self._changed:
            return list(self._open)

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        """Keep the frames."""
        futures: list[Future[Instances]] = []
        with self._changed:
            self.submits.append([frame.index for frame in frames])
            for frame in frames:
                future: Future[Instances] = Future()
                self._open[frame.index] = future
                self._frames[frame.index] = frame
                futures.append(future)
            self._changed.notify_all()
        if self._on_submit is not None:
            self._on_submit()
        return futures

    def wait_for(self, *indices: int) -> None:
        """Wait until these frames have been submitted."""
        with self._changed:
            self._changed.wait_for(lambda: set(indices) <= set(self._open))

    def answer(self, index: int, found: Instances | None = None) -> None:
        """Resolve a frame; without `found`, one instance."""
        future, frame = self._take(index)
        future.set_result(make_instances(size=frame.size) if found is None else found)

    def fail(self, index: int, cause: str = "poison") -> None:
        """Let a frame fail."""
        self._take(index)[0].set_exception(SegmentFailed(cause))

    def close(self) -> None:
        """Fail what is open."""
        for index in self.waiting:
            self.fail(index, "closed")

    def _take(self, index: int) -> tuple[Future[Instances], Frame]:
        with self._changed:
            return self._open.pop(index), self._frames.pop(index)
