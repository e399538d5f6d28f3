"""The Mask R-CNN family as a `Segmenter`: pictures of any sizes in, `Instances` out.

On a GPU, pictures of one bucket (padded size) go through the network together. On a CPU they go
one by one: together they would not be faster there, and so no picture's result can depend on its
neighbours, whatever the CPU's kernels do with a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Image, Size
from pipeline.errors import ConfigError, SegmentFailed
from pipeline.instances import Instances
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.fit import NEEDS, largest_batch
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.mask_rcnn.loading import Trained, load_any
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.files import WeightsFile, labels_for
from pipeline.models.shared.guard import OUT_OF_MEMORY, guarded
from pipeline.models.shared.pictures import check_picture
from pipeline.stages import ModelInfo

_log = logging.getLogger(__name__)


def load_mask_rcnn(
    name: str,
    file: WeightsFile,
    *,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float = 0.1,
    threads: int | None = None,
    max_batch: int = 8,
    read: Callable[[str, WeightsFile], Trained] = load_any,
) -> MaskRcnnSegmenter:
    """Load a network and build its engine; see `pipeline.models.load_segmenter`.

    `read` makes a network of a file; families built on this engine have their own.
    `threads` holds for torch and OpenCV in the whole process.
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
    placement = place(device, precision)
    loaded = read(name, file)
    labels = loaded.labels or labels_for(file, loaded.rows, loaded.dialect.coco_rows)
    info = ModelInfo(name, dict(labels), file.sha256)
    engine = Engine(
        loaded.network,
        placement,
        score_threshold=score_threshold,
        dialect=loaded.dialect,
        last_head=loaded.last_head,
    )
    return MaskRcnnSegmenter(engine, info, max_batch=max_batch, free_bytes=_free(placement))


class MaskRcnnSegmenter:
    """Runs an engine; stateless, one calling thread at a time.

    Args:
        engine: the network on its device.
        info: what the records say about it.
        max_batch: most pictures in one pass on a GPU.
        free_bytes: of its memory, with the weights loaded: fewer pictures go together where they
            would not fit. None: found out by trying.
    """

    def __init__(
        self,
        engine: Engine,
        info: ModelInfo,
        *,
        max_batch: int = 8,
        free_bytes: int | None = None,
    ) -> None:
        self._engine: Engine | None = engine
        self._info = info
        self._ids = ids_of_rows(info.labels, engine.rows)
        self._per_pass = max_batch if engine.placement.device.type == "cuda" else 1
        self._free_bytes = free_bytes
        self._seen = engine.buckets
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

    @property
    def depth(self) -> int:
        """Batches that may be under way at once, see `begin`."""
        return self._running().depth

    def warm_up(self, size: Size = (720, 1280)) -> None:
        """Run on black pictures of `size`, so that the first real batches are not the slow ones.

        Every lane records, and every kernel is compiled, those for masks too.

        Raises:
            SegmentFailed: the device cannot do even one of them.
        """
        engine = self._running()
        black = [np.zeros((*size, 3), np.uint8)] * self._per_pass
        for _ in range(self.depth):
            for bucket, rows in self._passes(engine, black):
                some = black[: len(rows)]
                self._fitted(engine, bucket, some, partial(engine.rehearse, some))

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        """Segment pictures; see `pipeline.stages.Segmenter`.

        Where the memory of a device does not suffice for a batch, it is halved, and fewer pictures
        of that padded size go together from then on.

        Raises:
            SegmentFailed: with cause `bad_picture` (not uint8 (H, W, 3), or no pixels),
                `out_of_memory` (not even one picture fits) or `model_error`.
        """
        engine = self._running()
        results: dict[int, Instances] = {}
        for bucket, rows in self._passes(engine, images):
            some = [images[row] for row in rows]
            found = self._fitted(engine, bucket, some, partial(engine.run, some))
            results.update(zip(rows, map(self._known, found), strict=True))
        return [results[row] for row in range(len(images))]

    def begin(self, images: Sequence[Image]) -> Callable[[], list[Instances]]:
        """Put pictures on a GPU and return at once; calling what is returned waits for the results.

        Up to `depth` batches may have begun and not ended. What does not fit into memory is halved
        when it ends.

        Raises:
            SegmentFailed: with cause `bad_picture`; all else is raised by the function returned.
        """
        engine = self._running()
        passes = []
        for bucket, rows in self._passes(engine, images):
            some = [images[row] for row in rows]
            passes.append((bucket, rows, some, engine.submit(some)))

        def end() -> list[Instances]:
            results: dict[int, Instances] = {}
            for bucket, rows, some, under_way in passes:
                found = self._fitted(engine, bucket, some, under_way.result)
                results.update(zip(rows, map(self._known, found), strict=True))
            return [results[row] for row in range(len(images))]

        return end

    def close(self) -> None:
        """Release the network's memory. Safe to call twice."""
        if self._engine is not None and self._engine.placement.device.type == "cuda":
            self._engine = None
            torch.cuda.empty_cache()
        self._engine = None

    def _running(self) -> Engine:
        if self._engine is None:
            raise SegmentFailed("closed", "the segmenter was closed")
        return self._engine

    def _passes(self, engine: Engine, images: Sequence[Image]) -> Iterator[tuple[Size, list[int]]]:
        """Rows that go through the network together: of one bucket, and as many as fit."""
        buckets: dict[Size, list[int]] = {}
        for row, image in enumerate(images):
            check_picture(image)
            size = (image.shape[0], image.shape[1])
            buckets.setdefault(engine.input_rules.padded(size), []).append(row)
        for bucket, rows in buckets.items():
            per_pass = self._room.get(bucket) or self._first_room(engine, bucket)
            for first in range(0, len(rows), per_pass):
                yield bucket, rows[first : first + per_pass]

    def _first_room(self, engine: Engine, bucket: Size) -> int:
        """Pictures of a padded size in the first pass."""
        if self._free_bytes is None or self._info.name not in NEEDS:
            return self._per_pass
        precision = engine.placement.precision
        fits = largest_batch(
            self._info.name, bucket, precision, self._free_bytes,
            threshold=engine.score_threshold, depth=engine.depth, loaded=True,
        )  # fmt: skip
        if fits < self._per_pass:
            self._room[bucket] = max(1, fits)
            _log.warning(
                "%d pictures of %dx%d go together in %.1f GB of GPU memory, not %d",
                fits, *bucket, self._free_bytes / 1e9, self._per_pass,
            )  # fmt: skip
        return min(self._per_pass, max(1, fits))

    def _fitted(
        self, engine: Engine, bucket: Size, images: list[Image], run: Callable[[], list[Found]]
    ) -> list[Found]:
        """`run` pictures of one bucket, halved where they do not fit."""
        try:
            return guarded(run, images, engine.placement.device)
        except SegmentFailed as failure:
            if failure.cause != OUT_OF_MEMORY or len(images) == 1:
                raise
            half = len(images) // 2
            _log.warning("%s; %d at a time from now on", failure.detail, half)
        engine.forget()
        self._room[bucket] = half
        found = []
        for first in range(0, len(images), half):
            some = images[first : first + half]
            found += self._fitted(engine, bucket, some, partial(engine.run, some))
        return found

    def _known(self, found: Found) -> Instances:
        """Without ids that have no name: rows of the class head the data set does not use."""
        found = replace(found, classes=self._ids[found.classes])
        named = np.isin(found.classes, list(self._info.labels))
        return (found if named.all() else found[named]).instances()


def ids_of_rows(labels: Mapping[int, str], rows: int) -> NDArray[np.int64]:
    """(rows,) the id of each row of a class head; the background, and any without a name: its own.

    Where there are as many names as classes, the rows are in the order of the ids; the class head
    of torchvision's COCO weights has rows for ids without a name instead.
    """
    if len(labels) == rows - 1:
        return np.array([0, *sorted(labels)], np.int64)
    return np.arange(rows, dtype=np.int64)


def _free(placement: Placement) -> int | None:
    """Bytes of a GPU nobody holds."""
    if placement.device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(placement.device)
    return int(free)
