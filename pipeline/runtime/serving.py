"""`Serving`: the thread around a model, which joins the frames of all streams into batches.

While the device has as many batches as it can, or has some and no full one waits, the oldest is
ended; anything less than full waits for company meanwhile. What goes wrong with one frame is the
answer to that frame.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from pipeline.arrays import Image
from pipeline.attempt import BUG
from pipeline.batching import Batcher
from pipeline.clock import Clock
from pipeline.errors import MaskstreamError, SegmentFailed, in_one_line
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.leaving import ended_at_exit
from pipeline.metrics.counts import GpuUse, WorkerCounts
from pipeline.runtime.device import Device, Segmented
from pipeline.stages import ModelInfo, Segmenter
from pipeline.turns import EQUAL, Turn

log = logging.getLogger(__name__)

Loader: TypeAlias = Callable[[], Segmenter]
"""Makes the segmenter, warmed up; may take minutes, raises `MaskstreamError` for the user."""


@dataclass(slots=True, eq=False)
class _Job:
    image: Image
    future: Future[Instances] = field(default_factory=Future)

    def settle(self, outcome: Segmented) -> None:
        if isinstance(outcome, SegmentFailed):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Serving:
    """An `AsyncSegmenter` around a model in this process.

    Args:
        load: called at once, in the one thread that runs the model and closes it.
        trial: pictures on which the model is tried out and timed before it is ready.
        max_batch: frames in one batch.
        max_wait_s: how long the first frame of a batch waits for others.
        gpu: says how busy the device is; from any thread, at once.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        load: Loader,
        *,
        trial: Sequence[Image] = (),
        max_batch: int = 8,
        max_wait_s: float = 0.01,
        gpu: Callable[[], GpuUse | None] = lambda: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._gpu = gpu
        self.ready: Future[ModelInfo] = Future()
        """Resolved when the model is there, or with what `load` raised."""
        self.ready.set_running_or_notify_cancel()  # who waits for it may leave, it stays
        self.device = Device(clock)
        """What runs the model; to be read, from any thread."""
        self.waiting = 0
        """Frames accepted and not answered."""
        self._max_batch = max_batch
        self._batcher: Batcher[_Job] = Batcher(max_batch, max_wait_s, clock)
        self._alone: deque[_Job] = deque()
        self._under_way: deque[list[_Job]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._why_closed = SegmentFailed("closed", "the segmenter is closed")
        self._thread = threading.Thread(
            target=self._run, args=(load, trial), name="segment", daemon=True
        )
        self._thread.start()
        ended_at_exit(self)

    @property
    def info(self) -> ModelInfo:
        """The model's; waits until it is there."""
        return self.ready.result()

    def submit(self, frames: Sequence[Frame], *, turn: Turn = EQUAL) -> list[Future[Instances]]:
        """Let frames wait for the next batch; one future a frame, resolved exactly once."""
        pictures = [(frame.source_id, frame.image) for frame in frames]
        return self.segment(pictures, turn=turn)

    def segment(
        self, pictures: Sequence[tuple[str, Image]], *, turn: Turn = EQUAL, alone: bool = False
    ) -> list[Future[Instances]]:
        """`submit` for pictures with the ids of their streams; `alone`: each is its own batch."""
        jobs = [_Job(image) for _, image in pictures]
        with self._changed:
            closed = self._closed
            if not closed:
                for (source_id, _), job in zip(pictures, jobs, strict=True):
                    job.future.set_running_or_notify_cancel()  # nobody else may resolve it
                    if alone:
                        self._alone.append(job)
                    else:
                        self._batcher.add(source_id, [job], turn)
                self.waiting += len(jobs)
                self._changed.notify()
        if closed:
            _refuse(jobs, self._why_closed)
        return [job.future for job in jobs]

    def close(self) -> None:
        """Fail what still waits, end what the model has, release it and end the thread."""
        self.leave()
        self._thread.join()

    def leave(self) -> None:
        """As `close`; does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread, False when it still runs."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def counts(self, worker_id: str) -> WorkerCounts:
        """What went through the model so far, under this name."""
        return WorkerCounts(
            worker=worker_id,
            state="lost" if self._closed else "ready" if self.ready.done() else "starting",
            waiting=self.waiting,
            batches=dict(self.device.batches),
            failed=dict(self.device.failed),
            busy_s=self.device.busy_s,
            buckets=self.device.buckets,
            gpu=self._gpu(),
        )

    def _run(self, load: Loader, trial: Sequence[Image]) -> None:
        try:
            if self._loaded(load, trial):
                self._work()
        except BaseException as error:
            log.exception("the model does what no model should")
            self.device.broken = in_one_line(error)
            self._why_closed = SegmentFailed(BUG, self.device.broken)
        finally:
            self._end()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            if batch:
                self._under_way.append(batch)
                self.device.begin([job.image for job in batch])
            else:
                self._settle(self._under_way[0], self.device.end())
                self._under_way.popleft()

    def _end(self) -> None:
        """Whatever happened, nobody waits for an answer that does not come."""
        try:
            self.device.close()
        except BaseException as error:  # noqa: BLE001 - it is over either way
            log.warning("closing the model failed: %s", in_one_line(error))
        with self._changed:
            self._closed = True
            under_way = [job for batch in self._under_way for job in batch if not job.future.done()]
            left = [*under_way, *self._alone, *self._batcher.clear()]
            self._alone.clear()
            self._under_way.clear()
            self.waiting = 0
        _refuse(left, self._why_closed)

    def _loaded(self, load: Loader, trial: Sequence[Image]) -> bool:
        try:
            segmenter = load()
            self.device.use(segmenter, trial)
            if not isinstance(info := segmenter.info, ModelInfo):
                raise TypeError(f"Segmenter.info must be ModelInfo, got {type(info).__name__}")
        except Exception as error:  # noqa: BLE001 - raised where somebody waits for the model
            self.ready.set_exception(error)
            return False
        except BaseException as error:  # noqa: BLE001 - would end who waits, without a word
            text = f"loading the model left the process: {in_one_line(error)}"
            self.ready.set_exception(MaskstreamError(text))
            return False
        self.ready.set_result(info)
        return True

    def _next(self) -> list[_Job] | None:
        """The batch to begin now; an empty one: end the oldest under way; None: it is over."""
        with self._changed:
            while not self._closed:
                if (batch := self._due()) or self._under_way:
                    return batch
                self._changed.wait(self._batcher.due_in())
        return [] if self._under_way else None

    def _due(self) -> list[_Job]:
        if self._alone:
            return [] if self._under_way else [self._alone.popleft()]
        if not self._under_way:
            return self._batcher.take()
        full = len(self._batcher) >= self._max_batch
        return self._batcher.take() if full and len(self._under_way) < self.device.depth else []

    def _settle(self, batch: list[_Job], outcomes: list[Segmented]) -> None:
        with self._changed:
            self.waiting -= len(batch)
        for job, outcome in zip(batch, outcomes, strict=True):
            job.settle(outcome)


def _refuse(jobs: Sequence[_Job], why: SegmentFailed) -> None:
    for job in jobs:
        job.settle(why)
