"""`SegmentWorker`: one model on one device, fed by all streams. A plain class without Ray.

Calls arrive on an event loop; their frames wait together in a `Batcher`, and one thread runs the
model. While a batch is on the device a full next one is queued behind it, so that the device never
waits for the loop; anything less than full waits for company instead. What goes wrong with one
frame is that frame's outcome, never an exception of the call: an exception means the worker itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline._version import __version__
from pipeline.batching import Batcher, isolate
from pipeline.clock import Clock
from pipeline.errors import MaskstreamError, SegmentFailed
from pipeline.instances import Instances
from pipeline.metrics.counts import WorkerCounts
from pipeline.stages import ModelInfo, Segmenter
from workers.dispatch import Load
from workers.logs import Line, LogTail
from workers.transport import Answer, pack

log = logging.getLogger(__name__)

BUG = "model_error"
"""Cause of frames on which the model raised what no model should."""
TRIAL_SIZE = (72, 128)
"""Networks bring pictures to a size of their own, so a small one costs what others cost."""
MAX_BUGS = 3
"""Batches in a row that may fail in ways nobody foresaw before the worker asks to be replaced."""

Image: TypeAlias = NDArray[np.uint8]
Outcome: TypeAlias = Instances | SegmentFailed


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """What a segment worker says of itself when asked."""

    counts: WorkerCounts
    load: Load
    pid: int
    busy_for_s: float = 0.0
    """How long the batch on the device has been there."""
    broken: str | None = None
    """Why it should be replaced, one line."""
    lines: Sequence[Line] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is there."""

    info: ModelInfo
    version: str
    """Of this project, where the worker runs."""
    node: str
    load: Load


@dataclass(frozen=True, slots=True)
class Refused:
    """The model cannot be loaded, here or anywhere."""

    text: str
    """One line for the user."""
    exit_code: int


Loader: TypeAlias = Callable[[], Segmenter]
"""Makes the segmenter, warmed up; may take minutes, raises `MaskstreamError` for the user."""


@dataclass(slots=True, eq=False)
class _Job:
    image: Image
    done: asyncio.Future[Outcome]


class SegmentWorker:
    """Joins the frames of all callers into batches and runs the model on them.

    Args:
        loader: called by `load`, in the one thread that will run the model.
        worker_id: names it in counts and logs.
        max_batch: frames in one batch.
        max_wait_s: how long the first frame of a batch waits for others.
        tail: what this process logs.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        loader: Loader,
        *,
        worker_id: str,
        max_batch: int,
        max_wait_s: float,
        tail: LogTail | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._tail = tail or LogTail()
        self._loader = loader
        self._segmenter: Segmenter | None = None
        self._worker_id = worker_id
        self._max_batch = max_batch
        self._clock = clock
        self._batcher: Batcher[_Job] = Batcher(max_batch, max_wait_s, clock)
        self._alone: deque[_Job] = deque()
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._news = asyncio.Event()
        self._server: asyncio.Task[None] | None = None
        self._running = 0
        self._waiting = 0
        self._batches: Counter[int] = Counter()
        self._failed: Counter[str] = Counter()
        self._busy_s = 0.0
        self._began: float | None = None
        self._seconds_per_frame = 0.0
        self._bugs = 0
        self._broken: str | None = None

    async def load(self) -> Loaded | Refused:
        """Load the model and time it; called once, before anything else.

        What is wrong with model or device is an answer, not an exception: every replacement of
        this worker would say the same.
        """
        loop = asyncio.get_running_loop()
        try:
            self._segmenter = await loop.run_in_executor(self._device, self._loader)
            await loop.run_in_executor(self._device, self._try_out, self._segmenter)
        except MaskstreamError as error:
            return Refused(str(error), error.exit_code)
        return Loaded(self._segmenter.info, __version__, socket.gethostname(), self._load())

    def _try_out(self, segmenter: Segmenter) -> None:
        """How long one picture takes: without an idea of it no deadline would fit slow devices."""
        began = self._clock()
        segmenter.segment([np.zeros((*TRIAL_SIZE, 3), np.uint8)])
        self._seconds_per_frame = self._clock() - began

    async def segment(
        self, source_id: str, images: Sequence[Image], *, alone: bool = False
    ) -> Answer:
        """Segment the pictures of one stream; returns when all of them are done.

        Args:
            source_id: streams take turns.
            images: uint8 (H, W, 3) BGR, possibly read-only.
            alone: batch these with nobody.
        """
        loop = asyncio.get_running_loop()
        jobs = [_Job(image, loop.create_future()) for image in images]
        if alone:
            self._alone.extend(jobs)
        else:
            self._batcher.add(source_id, jobs)
        self._waiting += len(jobs)
        if self._server is None:
            self._server = loop.create_task(self._serve())
        self._news.set()
        outcomes = await asyncio.gather(*(job.done for job in jobs))
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        return Answer(pack(outcomes, sizes), self._load())

    def report(self) -> SegmentReport:
        """Counts and health; safe from another thread than the loop's."""
        began = self._began
        return SegmentReport(
            counts=WorkerCounts(
                worker=self._worker_id,
                state="ready",
                waiting=self._waiting,
                batches=dict(self._batches),
                failed=dict(self._failed),
                busy_s=self._busy_s,
            ),
            load=self._load(),
            pid=os.getpid(),
            busy_for_s=0.0 if began is None else self._clock() - began,
            broken=self._broken,
            lines=self._tail.take(),
        )

    async def close(self) -> None:
        """Fail what waits, finish the batch on the device and release the model."""
        if self._server is not None:
            self._server.cancel()
        for job in [*self._alone, *self._batcher.clear()]:
            job.done.set_result(SegmentFailed("closed", "the worker is closing"))
        self._alone.clear()
        loop = asyncio.get_running_loop()
        if self._segmenter is not None:
            await loop.run_in_executor(self._device, self._segmenter.close)
        self._device.shutdown(wait=False)

    def _load(self) -> Load:
        return Load(self._waiting, self._seconds_per_frame)

    async def _serve(self) -> None:
        """Hand batches to the device for ever."""
        while True:
            self._news.clear()
            if batch := self._next_batch():
                self._start(batch)
                continue
            due_s = None if self._running else self._batcher.due_in()
            try:
                await asyncio.wait_for(self._news.wait(), due_s)
            except TimeoutError:
                continue

    def _next_batch(self) -> list[_Job]:
        if self._alone:
            return [] if self._running else [self._alone.popleft()]
        if self._running == 0:
            return self._batcher.take()
        if self._running == 1 and len(self._batcher) >= self._max_batch:
            return self._batcher.take()
        return []

    def _start(self, batch: list[_Job]) -> None:
        loop = asyncio.get_running_loop()
        self._running += 1
        work = loop.run_in_executor(self._device, self._run, [job.image for job in batch])

        def settle(done: asyncio.Future[list[Outcome]]) -> None:
            self._running -= 1
            self._waiting -= len(batch)
            for job, outcome in zip(batch, done.result(), strict=True):
                if not job.done.done():  # the caller may have been cancelled
                    job.done.set_result(outcome)
            self._news.set()

        work.add_done_callback(settle)

    def _run(self, images: list[Image]) -> list[Outcome]:
        """One batch on the device; a frame that fails twice has failed."""
        self._began = began = self._clock()
        try:
            outcomes: list[Outcome] = isolate(self._attempt, images, SegmentFailed)
            if len(images) == 1 and isinstance(outcomes[0], SegmentFailed):
                outcomes = list(isolate(self._attempt, images, SegmentFailed))
        finally:
            took = self._clock() - began
            self._began = None
        self._batches[len(images)] += 1
        self._busy_s += took
        self._seconds_per_frame += 0.2 * (took / len(images) - self._seconds_per_frame)
        failed = [o for o in outcomes if isinstance(o, SegmentFailed)]
        self._failed.update(failure.cause for failure in failed)
        self._judge([f for f in failed if f.cause == BUG], len(images))
        return outcomes

    def _attempt(self, images: Sequence[Image]) -> Sequence[Instances]:
        assert self._segmenter is not None, "`load` comes first"  # noqa: S101 - a bug of ours
        try:
            found = self._segmenter.segment(images)
        except SegmentFailed:
            raise
        except Exception as error:
            if len(images) == 1:  # what failed in company is tried again
                log.exception("the model failed on a frame")
            text = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise SegmentFailed(BUG, text) from error
        return found

    def _judge(self, bugs: list[SegmentFailed], frames: int) -> None:
        """A device that fails everything stays broken until its process is gone."""
        self._bugs = self._bugs + 1 if len(bugs) == frames else 0
        if self._bugs >= MAX_BUGS:
            self._broken = f"the model failed {self._bugs} batches running: {bugs[0].detail}"
