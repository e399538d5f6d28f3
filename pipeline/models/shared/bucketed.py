"""`BucketedSegmenter`: what segmenters whose network runs on a device have in common.

On a GPU, pictures of one bucket (padded size) go through the network together. On a CPU they go
one by one: together they would not be faster there, and so no picture's result can depend on its
neighbours, whatever the CPU's kernels do with a batch.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

import cv2
import numpy as np
import torch

from pipeline.arrays import Image, Size
from pipeline.errors import ConfigError, SegmentFailed
from pipeline.instances import Instances
from pipeline.models.shared.devices import Placement
from pipeline.models.shared.guard import OUT_OF_MEMORY, guarded
from pipeline.models.shared.pictures import check_picture
from pipeline.stages import ModelInfo

_log = logging.getLogger(__name__)


class OnDevice(Protocol):
    """A network on its device."""

    @property
    def placement(self) -> Placement:
        """Device and precision."""


R = TypeVar("R", bound=OnDevice)
F = TypeVar("F")
"""What the network says of one picture."""


def check_options(threads: int | None, score_threshold: float, max_batch: int) -> None:
    """Refuse numbers that make no sense; `threads` hold for torch and OpenCV in this process.

    Raises:
        ConfigError: naming the number.
    """
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"threads: expected at least 1, got {threads}")
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    if not 0.0 <= score_threshold <= 1.0:
        raise ConfigError(f"score_threshold: expected 0 to 1, got {score_threshold}")
    if max_batch < 1:
        raise ConfigError(f"max_batch: expected at least 1, got {max_batch}")


class BucketedSegmenter(ABC, Generic[R, F]):
    """Runs a network; stateless, one calling thread at a time.

    Args:
        runner: the network on its device.
        info: what the records say about it.
        seen: pictures so far by padded size, counted by whoever runs them.
        max_batch: most pictures in one pass on a GPU.
    """

    def __init__(
        self, runner: R, info: ModelInfo, seen: Mapping[Size, int], *, max_batch: int = 8
    ) -> None:
        self._runner: R | None = runner
        self._info = info
        self._per_pass = max_batch if runner.placement.device.type == "cuda" else 1
        self._seen = seen
        self._room: dict[Size, int] = {}
        """Pictures in one pass by padded size, where fewer fit than `max_batch`."""

    @property
    def info(self) -> ModelInfo:
        """Name, labels and digest of the weights."""
        return self._info

    @property
    def placement(self) -> Placement:
        """Device and precision."""
        return self._running().placement

    @property
    def buckets(self) -> dict[Size, int]:
        """Pictures so far by padded size (height, width)."""
        return dict(self._seen)

    def warm_up(self, size: Size = (720, 1280)) -> None:
        """Run on black pictures of `size`, so that the first real ones are not the slow ones.

        Raises:
            SegmentFailed: the device cannot do even one of them.
        """
        self.segment([np.zeros((*size, 3), np.uint8)] * self._per_pass)

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        """Segment pictures; see `pipeline.stages.Segmenter`.

        Where the memory of a device does not suffice for a batch, it is halved, and fewer pictures
        of that padded size go together from then on.

        Raises:
            SegmentFailed: with cause `bad_picture` (not uint8 (H, W, 3), or no pixels),
                `out_of_memory` (not even one picture fits) or `model_error`.
        """
        runner = self._running()
        results: dict[int, Instances] = {}
        for bucket, rows in self._passes(runner, images):
            some = [images[row] for row in rows]
            found = self._fitted(runner, bucket, some, partial(self._run, runner, some))
            results.update(zip(rows, map(self._known, found), strict=True))
        return [results[row] for row in range(len(images))]

    def close(self) -> None:
        """Release the network's memory. Safe to call twice."""
        on_gpu = self._runner is not None and self._runner.placement.device.type == "cuda"
        self._runner = None
        if on_gpu:
            torch.cuda.empty_cache()

    # ---------------------------------------------------------------- what a family says

    @abstractmethod
    def _padded(self, runner: R, size: Size) -> Size:
        """(height, width) of the bucket of a picture."""

    @abstractmethod
    def _run(self, runner: R, images: list[Image]) -> list[F]:
        """Pictures of one bucket through the network."""

    @abstractmethod
    def _known(self, found: F) -> Instances:
        """What is answered about one picture."""

    def _first_room(self, runner: R, bucket: Size) -> int:
        """Pictures of a padded size in the first pass."""
        return self._per_pass

    def _forget(self, runner: R) -> None:
        """A batch did not fit: let go of what was made for so many pictures."""

    # ---------------------------------------------------------------- passes

    def _running(self) -> R:
        if self._runner is None:
            raise SegmentFailed("closed", "the segmenter was closed")
        return self._runner

    def _passes(self, runner: R, images: Sequence[Image]) -> Iterator[tuple[Size, list[int]]]:
        """Rows that go through the network together: of one bucket, and as many as fit."""
        buckets: dict[Size, list[int]] = {}
        for row, image in enumerate(images):
            check_picture(image)
            padded = self._padded(runner, (image.shape[0], image.shape[1]))
            buckets.setdefault(padded, []).append(row)
        for bucket, rows in buckets.items():
            per_pass = self._room.get(bucket) or self._first_room(runner, bucket)
            for first in range(0, len(rows), per_pass):
                yield bucket, rows[first : first + per_pass]

    def _fitted(
        self, runner: R, bucket: Size, images: list[Image], run: Callable[[], list[F]]
    ) -> list[F]:
        """`run` pictures of one bucket, halved where they do not fit."""
        try:
            return guarded(run, images, runner.placement.device)
        except SegmentFailed as failure:
            if failure.cause != OUT_OF_MEMORY or len(images) == 1:
                raise
            half = len(images) // 2
            _log.warning("%s; %d at a time from now on", failure.detail, half)
        self._forget(runner)
        self._room[bucket] = half
        found = []
        for first in range(0, len(images), half):
            some = images[first : first + half]
            found += self._fitted(runner, bucket, some, partial(self._run, runner, some))
        return found
