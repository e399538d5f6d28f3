"""`SegmentWorker`: one model on one device, fed by all streams. A plain class without Ray.

Calls arrive on an event loop and wait there for `pipeline.runtime.Serving`, whose thread runs the
model. What goes wrong with one frame is that frame's outcome, never an exception of the call: an
exception means the worker itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from pipeline._version import __version__
from pipeline.clock import Clock
from pipeline.errors import MaskstreamError
from pipeline.metrics.counts import GpuUse, WorkerCounts
from pipeline.runtime import Serving
from pipeline.runtime.device import Segmented
from pipeline.runtime.serving import Loader
from pipeline.stages import ModelInfo
from pipeline.turns import EQUAL, Turn
from workers.logs import Line, LogTail
from workers.members import Load
from workers.transport import Answer, Pictures, pack

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


class SegmentWorker:
    """Joins the frames of all callers into batches and runs the model on them.

    Args:
        loader: called at once, in the one thread that will run the model.
        worker_id: names it in counts and logs.
        max_batch: frames in one batch.
        max_wait_s: how long the first frame of a batch waits for others.
        gpu: says how busy the device is.
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
        gpu: Callable[[], GpuUse | None] = lambda: None,
        tail: LogTail | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._tail = tail or LogTail()
        self._worker_id = worker_id
        # How long a picture takes must be known: without an idea of it no deadline would fit.
        self._serving = Serving(
            loader,
            trial=[np.zeros((*TRIAL_SIZE, 3), np.uint8)],
            max_batch=max_batch,
            max_wait_s=max_wait_s,
            gpu=gpu,
            clock=clock,
        )
        self._clock = clock
        self._reports = 0
        self._has_one_alone = False

    async def load(self) -> Loaded | Refused:
        """Wait until the model is loaded and timed; called once, before anything else.

        What is wrong with model or device is an answer, not an exception: every replacement of
        this worker would say the same.
        """
        try:
            info = await asyncio.wrap_future(self._serving.ready)
        except MaskstreamError as error:
            return Refused(str(error).partition("\n")[0], error.exit_code)
        return Loaded(info, __version__, socket.gethostname(), self._load())

    async def segment(
        self, pictures: Pictures, *, turn: Turn = EQUAL, alone: bool = False
    ) -> Answer:
        """Segment pictures of streams that claim the same; returns when all of them are done.

        Args:
            pictures: by stream, which take turns; uint8 (H, W, 3) BGR, possibly read-only.
            turn: what each of these streams may claim.
            alone: these have ended workers, one of them perhaps this one: batch them with nobody,
                and leave them where another such call is here, which might take them along.
        """
        if not alone:
            return await self._segmented(pictures, turn, alone=False)
        if self._has_one_alone:
            return Answer(None, self._load())
        self._has_one_alone = True
        try:
            return await self._segmented(pictures, turn, alone=True)
        finally:
            self._has_one_alone = False

    async def _segmented(self, pictures: Pictures, turn: Turn, *, alone: bool) -> Answer:
        arrived_s = self._clock()
        asked = [(stream, image) for stream, images in pictures.items() for image in images]
        futures = self._serving.segment(asked, turn=turn, alone=alone)
        found = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        outcomes = cast("list[Segmented]", found)  # it raises nothing else
        sizes = [(image.shape[0], image.shape[1]) for _, image in asked]
        return Answer(pack(outcomes, sizes), self._load(), self._clock() - arrived_s)

    def alive(self) -> int:
        """The process, as soon as it is there; safe from another thread than the loop's."""
        return os.getpid()

    def report(self) -> SegmentReport:
        """Counts and health; safe from another thread than the loop's."""
        device = self._serving.device
        self._reports += 1
        return SegmentReport(
            counts=self._serving.counts(self._worker_id),
            load=self._load(),
            pid=os.getpid(),
            steps=device.steps,
            broken=device.broken,
            lines=self._tail.take(),
        )

    async def close(self) -> None:
        """Fail what waits, finish what is on the device and release the model."""
        await asyncio.to_thread(self._serving.close)

    def _load(self) -> Load:
        return Load(self._serving.waiting, self._serving.device.seconds_per_frame, self._reports)
