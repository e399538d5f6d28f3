"""`PictureSegmenter`: a network that sees whole pictures, as a `Segmenter`.

On a GPU, pictures of one padded size go through the network together. On a CPU they go one by one:
together they would not be faster there, and so no picture's result can depend on its neighbours.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Image, Size
from pipeline.errors import ConfigError, SegmentFailed
from pipeline.instances import Instances
from pipeline.models.shared.devices import Placement
from pipeline.models.shared.guard import OUT_OF_MEMORY, guarded
from pipeline.models.shared.input_rule import InputRule
from pipeline.models.shared.pictures import check_picture
from pipeline.stages import ModelInfo

_log = logging.getLogger(__name__)


class Finder(Protocol):
    """A network on its device, and what becomes of its outputs."""

    @property
    def placement(self) -> Placement:
        """Device and precision."""

    @property
    def input_rule(self) -> InputRule:
        """What the network sees of a picture."""

    def find(self, pixels: Tensor, pictures: Sequence[tuple[Size, Size]]) -> list[Instances]:
        """Run; `pictures` are each one's (height, width) within `pixels`, and of its own."""


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


class PictureSegmenter:
    """Runs a finder; stateless, one calling thread at a time.

    Args:
        finder: the network on its device.
        info: what the records say about it.
        max_batch: most pictures in one pass on a GPU.
    """

    def __init__(self, finder: Finder, info: ModelInfo, *, max_batch: int = 8) -> None:
        self._finder: Finder | None = finder
        self._info = info
        self._per_pass = max_batch if finder.placement.device.type == "cuda" else 1
        self._seen: Counter[Size] = Counter()
        self._room: dict[Size, int] = {}
        """Pictures in one pass by padded size, where fewer fit."""

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
        finder = self._running()
        results: dict[int, Instances] = {}
        for bucket, rows in self._passes(finder, images):
            some = [images[row] for row in rows]
            results.update(zip(rows, self._fitted(finder, bucket, some), strict=True))
            self._seen[bucket] += len(rows)
        return [results[row] for row in range(len(images))]

    def close(self) -> None:
        """Release the network's memory. Safe to call twice."""
        on_gpu = self._finder is not None and self._finder.placement.device.type == "cuda"
        self._finder = None
        if on_gpu:
            torch.cuda.empty_cache()

    def _running(self) -> Finder:
        if self._finder is None:
            raise SegmentFailed("closed", "the segmenter was closed")
        return self._finder

    def _passes(self, finder: Finder, images: Sequence[Image]) -> Iterator[tuple[Size, list[int]]]:
        """Rows that go through the network together."""
        buckets: dict[Size, list[int]] = {}
        for row, image in enumerate(images):
            check_picture(image)
            padded = finder.input_rule.padded((image.shape[0], image.shape[1]))
            buckets.setdefault(padded, []).append(row)
        for bucket, rows in buckets.items():
            per_pass = self._room.get(bucket, self._per_pass)
            for first in range(0, len(rows), per_pass):
                yield bucket, rows[first : first + per_pass]

    def _fitted(self, finder: Finder, bucket: Size, images: list[Image]) -> list[Instances]:
        """Pictures of one padded size, halved where they do not fit."""
        try:
            return guarded(partial(_run, finder, images), images, finder.placement.device)
        except SegmentFailed as failure:
            if failure.cause != OUT_OF_MEMORY or len(images) == 1:
                raise
            half = len(images) // 2
            _log.warning("%s; %d at a time from now on", failure.detail, half)
        self._room[bucket] = half
        found = []
        for first in range(0, len(images), half):
            found += self._fitted(finder, bucket, images[first : first + half])
        return found


def _run(finder: Finder, images: list[Image]) -> list[Instances]:
    rule, placement = finder.input_rule, finder.placement
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    with torch.inference_mode():
        pixels = rule.prepare(images, placement.dtype, placement.device)
        return finder.find(pixels, [(rule.resized(size), size) for size in sizes])
