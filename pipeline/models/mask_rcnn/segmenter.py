"""The Mask R-CNN family as a `Segmenter`: pictures of any sizes in, `Instances` out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Image, Size
from pipeline.instances import Instances
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.fit import NEEDS, largest_batch
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.mask_rcnn.loading import Trained, load_any
from pipeline.models.shared.bucketed import BucketedSegmenter, check_options
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.files import WeightsFile, labels_for
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
    check_options(threads, score_threshold, max_batch)
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


class MaskRcnnSegmenter(BucketedSegmenter[Engine, Found]):
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
        super().__init__(engine, info, engine.buckets, max_batch=max_batch)
        self._ids = ids_of_rows(info.labels, engine.rows)
        self._free_bytes = free_bytes

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

    def _padded(self, runner: Engine, size: Size) -> Size:
        return runner.input_rules.padded(size)

    def _run(self, runner: Engine, images: list[Image]) -> list[Found]:
        return runner.run(images)

    def _forget(self, runner: Engine) -> None:
        runner.forget()

    def _first_room(self, runner: Engine, bucket: Size) -> int:
        if self._free_bytes is None or self._info.name not in NEEDS:
            return self._per_pass
        precision = runner.placement.precision
        fits = largest_batch(
            self._info.name, bucket, precision, self._free_bytes,
            threshold=runner.score_threshold, depth=runner.depth, loaded=True,
        )  # fmt: skip
        if fits < self._per_pass:
            self._room[bucket] = max(1, fits)
            _log.warning(
                "%d pictures of %dx%d go together in %.1f GB of GPU memory, not %d",
                fits, *bucket, self._free_bytes / 1e9, self._per_pass,
            )  # fmt: skip
        return min(self._per_pass, max(1, fits))

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
