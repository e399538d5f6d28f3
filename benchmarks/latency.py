"""A segmenter of fixed latency in real segment workers: what is measured is everything else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.models import WeightsFile
from pipeline.stages import ModelInfo, Segmenter
from pipeline.testing import make_instances
from workers import actors

INFO = ModelInfo("fixed latency", {1: "thing"}, "")


class FixedLatency:
    """Sleeps for so long a frame, and finds one thing in each.

    Args:
        frame_s: seconds a frame, in batches, too.
    """

    info = INFO

    def __init__(self, frame_s: float) -> None:
        self._frame_s = frame_s

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """Takes no core for it."""
        time.sleep(self._frame_s * len(images))
        return [make_instances(1, size=image.shape[:2]) for image in images]

    def close(self) -> None:
        """There is nothing to release."""


class FixedLatencyActor(actors.SegmentActor):
    """A segment worker with that model, whatever its plan says; the frame's time is its name."""

    frame_s = 0.1

    def __init__(self, spec: actors.SegmentSpec, weights: WeightsFile | None) -> None:
        def load(spec: actors.SegmentSpec, weights: WeightsFile | None) -> Segmenter:
            return FixedLatency(self.frame_s)

        actors._load = load
        super().__init__(spec, weights)


@contextmanager
def fixed_latency(frame_s: float) -> Iterator[None]:
    """Segment workers that are started meanwhile take so long a frame."""
    before = actors.SegmentActor
    actors.SegmentActor = type(  # type: ignore[misc, assignment]
        "SegmentActor", (FixedLatencyActor,), {"frame_s": frame_s}
    )
    try:
        yield
    finally:
        actors.SegmentActor = before  # type: ignore[misc]
