"""A model in this process behind the contract of a remote one."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from pipeline.attempt import attempt
from pipeline.batching import Batcher, isolate
from pipeline.clock import Clock
from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.leaving import ended_at_exit
from pipeline.metrics.counts import WorkerCounts
from pipeline.stages import Measured, ModelInfo, Segmenter


class LocalSegmenter:
    """An `AsyncSegmenter` around a model in this process: one thread that batches and segments.

    Args:
        segmenter: used by the thread alone; not closed here.
        max_batch: frames in one batch.
        max_wait_s: how long the first frame of a batch waits for others.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        max_batch: int = 8,
        max_wait_s: float = 0.01,
        clock: Clock = time.monotonic,
    ) -> None:
        self._segmenter = segmenter
        self._clock = clock
        self._batcher: Batcher[tuple[Frame, Future[Instances]]] = Batcher(
            max_batch, max_wait_s, clock
        )
        self._changed = threading.Condition()
        self._closed = False
        self._batches: Counter[int] = Counter()
        self._failed: Counter[str] = Counter()
        self._busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name="segment", daemon=True)
        self._thread.start()
        ended_at_exit(self)

    @property
    def info(self) -> ModelInfo:
        """The model's."""
        return self._segmenter.info

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        """Let frames wait for the next batch; one future a frame, resolved exactly once."""
        items: list[tuple[Frame, Future[Instances]]] = [(frame, Future()) for frame in frames]
        with self._changed:
            closed = self._closed
            if not closed:
                for frame, future in items:
                    future.set_running_or_notify_cancel()
                    self._batcher.add(frame.source_id, [(frame, future)])
                self._changed.notify()
        if closed:
            _fail(items, SegmentFailed("closed", "the segmenter is closed"))
        return [future for _, future in items]

    def close(self) -> None:
        """Fail what still waits and end the thread; the batch in the model is finished first."""
        self.leave()
        self._thread.join()

    def leave(self) -> None:
        """Let the thread end after the batch in the model; does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread, False when it still runs."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def counts(self) -> WorkerCounts:
        """What went through the model so far."""
        model = self._segmenter
        with self._changed:
            return WorkerCounts(
                worker="local",
                state="lost" if self._closed else "ready",
                waiting=len(self._batcher),
                batches=dict(self._batches),
                failed=dict(self._failed),
                busy_s=self._busy_s,
                buckets=len(model.buckets) if isinstance(model, Measured) else 0,
            )

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            began = self._clock()
            found = self._segment([frame for frame, _ in batch])
            with self._changed:
                self._busy_s += self._clock() - began
                self._batches[len(batch)] += 1
                self._failed.update(one.cause for one in found if isinstance(one, SegmentFailed))
            for (_, future), one in zip(batch, found, strict=True):
                if isinstance(one, SegmentFailed):
                    future.set_exception(one)
                else:
                    future.set_result(one)
        with self._changed:
            left = self._batcher.clear()
        _fail(left, SegmentFailed("closed", "the segmenter was closed before it came to this"))

    def _next_batch(self) -> list[tuple[Frame, Future[Instances]]] | None:
        """Wait for a batch; None once closed."""
        with self._changed:
            while not self._closed:
                if batch := self._batcher.take():
                    return batch
                self._changed.wait(self._batcher.due_in())
        return None

    def _segment(self, frames: list[Frame]) -> list[Instances | SegmentFailed]:
        return isolate(self._attempt, [frame.image for frame in frames], SegmentFailed)

    def _attempt(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        return attempt(lambda: self._segmenter.segment(images), images)


def _fail(items: Sequence[tuple[Frame, Future[Instances]]], error: SegmentFailed) -> None:
    for _, future in items:
        future.set_exception(error)
