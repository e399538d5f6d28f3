"""`SegmentWorker`: one model on one device, fed by all streams. A plain class without Ray.

Calls arrive on an event loop; their frames wait together in a `Batcher`, and one thread runs the
model (`workers.device`). While the device has as many batches as it can, a full next one is queued
behind them, so that it never waits for the loop; anything less than full waits for company instead.
What goes wrong with one frame is that frame's outcome, never an exception of the call: an exception
means the worker itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pipeline._version import __version__
from pipeline.arrays import Image
from pipeline.batching import Batcher
from pipeline.clock import Clock
from pipeline.errors import MaskstreamError, SegmentFailed
from pipeline.metrics.counts import WorkerCounts
from pipeline.stages import ModelInfo, Segmenter
from workers.device import Device, Segmented
from workers.dispatch import Load
from workers.logs import Line, LogTail
from workers.transport import Answer, pack

TRIAL_SIZE = (72, 128)
"""Networks bring pictures to a size of their own, so a small one costs what others cost."""


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """What a segment worker says of itself when asked."""

    counts: WorkerCounts
    load: Load
    pid: int
    steps: int = 0
    """Calls of the model that have ended; grows as long as the worker works."""
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
    done: asyncio.Future[Segmented]


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
        self._worker_id = worker_id
        self._max_batch = max_batch
        self._batcher: Batcher[_Job] = Batcher(max_batch, max_wait_s, clock)
        self._alone: deque[_Job] = deque()
        self._device = Device(clock)
        self._closed = False
        self._news = asyncio.Event()
        self._server: asyncio.Task[None] | None = None
        self._running = 0
        self._waiting = 0
        self._reports = 0

    async def load(self) -> Loaded | Refused:
        """Load the model and time it; called once, before anything else.

        What is wrong with model or device is an answer, not an exception: every replacement of
        this worker would say the same.
        """
        loop = asyncio.get_running_loop()
        try:
            info = await loop.run_in_executor(self._device.thread, self._load_and_try_out)
        except MaskstreamError as error:
            return Refused(str(error), error.exit_code)
        except SystemExit as error:  # it would end the loop, and with it every answer
            return Refused(f"loading the model left the process: SystemExit: {error}", 1)
        return Loaded(info, __version__, socket.gethostname(), self._load())

    def _load_and_try_out(self) -> ModelInfo:
        """How long a picture takes must be known: without an idea of it no deadline would fit."""
        segmenter = self._loader()
        self._device.use(segmenter, [np.zeros((*TRIAL_SIZE, 3), np.uint8)])
        return segmenter.info

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
        if self._closed:
            self._fail(jobs)
        else:
            self._queue(source_id, jobs, alone)
        outcomes = await asyncio.gather(*(job.done for job in jobs))
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        return Answer(pack(outcomes, sizes), self._load())

    def _queue(self, source_id: str, jobs: list[_Job], alone: bool) -> None:
        if alone:
            self._alone.extend(jobs)
        else:
            self._batcher.add(source_id, jobs)
        self._waiting += len(jobs)
        if self._server is None:
            self._server = asyncio.get_running_loop().create_task(self._serve())
        self._news.set()

    def alive(self) -> int:
        """The process, as soon as it is there; safe from another thread than the loop's."""
        return os.getpid()

    def report(self) -> SegmentReport:
        """Counts and health; safe from another thread than the loop's."""
        device = self._device
        self._reports += 1
        return SegmentReport(
            counts=WorkerCounts(
                worker=self._worker_id,
                state="ready",
                waiting=self._waiting,
                batches=dict(device.batches),
                failed=dict(device.failed),
                busy_s=device.busy_s,
                buckets=device.buckets,
            ),
            load=self._load(),
            pid=os.getpid(),
            steps=device.steps,
            broken=device.broken,
            lines=self._tail.take(),
        )

    async def close(self) -> None:
        """Fail what waits, finish what is on the device and release the model."""
        self._closed = True
        if self._server is not None:
            self._server.cancel()
            await asyncio.wait([self._server])
        self._fail([*self._alone, *self._batcher.clear()])
        self._alone.clear()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._device.thread, self._device.close)
        self._device.thread.shutdown(wait=False)

    @staticmethod
    def _fail(jobs: Sequence[_Job]) -> None:
        for job in jobs:
            if not job.done.done():  # the caller may have been cancelled
                job.done.set_result(SegmentFailed("closed", "the worker is closing"))

    def _load(self) -> Load:
        return Load(self._waiting, self._device.seconds_per_frame, self._reports)

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
        if self._running <= self._device.depth and len(self._batcher) >= self._max_batch:
            return self._batcher.take()
        return []

    def _start(self, batch: list[_Job]) -> None:
        loop = asyncio.get_running_loop()
        self._running += 1

        def settle(outcomes: list[Segmented]) -> None:
            loop.call_soon_threadsafe(self._settle, batch, outcomes)

        self._device.run([job.image for job in batch], settle)

    def _settle(self, batch: list[_Job], outcomes: list[Segmented]) -> None:
        self._running -= 1
        self._waiting -= len(batch)
        for job, outcome in zip(batch, outcomes, strict=True):
            if not job.done.done():  # the caller may have been cancelled
                job.done.set_result(outcome)
        self._news.set()
