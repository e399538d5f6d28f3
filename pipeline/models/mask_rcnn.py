"""The Mask R-CNN family as a `Segmenter`: pictures of any sizes in, `Instances` out.

On a GPU, pictures of one bucket (padded size) go through the network together. On a CPU they go
one by one: together they would not be faster there, and so no picture's result can depend on its
neighbours, whatever the CPU's kernels do with a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SegmentFailed
from pipeline.instances import Instances
from pipeline.models.devices import Placement, place
from pipeline.models.engine.engine import Engine
from pipeline.models.files import WeightsFile, labels_for
from pipeline.models.found import Found, check_picture
from pipeline.models.weights import load_network
from pipeline.stages import ModelInfo

Image = NDArray[np.uint8]


def load_mask_rcnn(
    name: str,
    file: WeightsFile,
    *,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float = 0.1,
    threads: int | None = None,
    max_batch: int = 8,
) -> MaskRcnnSegmenter:
    """Load a network and build its engine; see `pipeline.models.load_segmenter`.

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
    network = load_network(name, file)
    classes = network.roi_heads.box_predictor.cls_score.out_features
    info = ModelInfo(name, dict(labels_for(file, classes)), file.sha256)
    engine = Engine(network, placement, score_threshold=score_threshold)
    return MaskRcnnSegmenter(engine, info, max_batch=max_batch)


class MaskRcnnSegmenter:
    """Runs an engine; stateless, one calling thread at a time.

    Args:
        engine: the network on its device.
        info: what the records say about it.
        max_batch: most pictures in one pass on a GPU.
    """

    def __init__(self, engine: Engine, info: ModelInfo, *, max_batch: int = 8) -> None:
        self._engine: Engine | None = engine
        self._info = info
        self._per_pass = max_batch if engine.placement.device.type == "cuda" else 1

    @property
    def info(self) -> ModelInfo:
        """Name, labels and digest of the weights."""
        return self._info

    @property
    def placement(self) -> Placement:
        """Device and precision."""
        return self._running().placement

    @property
    def buckets(self) -> dict[tuple[int, int], int]:
        """Pictures so far by padded size (height, width)."""
        return dict(self._running().buckets)

    def warm_up(self, size: tuple[int, int] = (720, 1280)) -> None:
        """Run once on black pictures of `size`, so that the first real batch is not the slow one.

        Raises:
            SegmentFailed: the device cannot do even that.
        """
        black = np.zeros((*size, 3), np.uint8)
        self.segment([black] * self._per_pass)

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        """Segment pictures; see `pipeline.stages.Segmenter`.

        Raises:
            SegmentFailed: with cause `bad_picture` (not uint8 (H, W, 3), or no pixels),
                `out_of_memory` (fewer pictures may fit) or `model_error`.
        """
        engine = self._running()
        results: dict[int, Instances] = {}
        for rows in self._passes(engine, images):
            for row, found in zip(rows, _guarded(engine, [images[i] for i in rows]), strict=True):
                results[row] = self._known(found)
        return [results[row] for row in range(len(images))]

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

    def _passes(self, engine: Engine, images: Sequence[Image]) -> Iterator[list[int]]:
        """Rows that go through the network together: one bucket, at most `max_batch`."""
        buckets: dict[tuple[int, int], list[int]] = {}
        for row, image in enumerate(images):
            check_picture(image)
            size = (image.shape[0], image.shape[1])
            buckets.setdefault(engine.input_rules.padded(size), []).append(row)
        for rows in buckets.values():
            for first in range(0, len(rows), self._per_pass):
                yield rows[first : first + self._per_pass]

    def _known(self, found: Found) -> Instances:
        """Without ids that have no name: rows of the class head the data set does not use."""
        named = np.isin(found.classes, list(self._info.labels))
        return (found if named.all() else found[named]).instances()


def _guarded(engine: Engine, images: list[Image]) -> list[Found]:
    """Run, with what can go wrong on a device turned into `SegmentFailed`."""
    try:
        return engine.run(images)
    except (RuntimeError, MemoryError, cv2.error) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        out_of_memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or (
            "allocate memory" in text or "Insufficient memory" in text
        )
        if out_of_memory:
            height, width = images[0].shape[:2]
            text = f"{len(images)} pictures of {height}x{width}: {text}{_memory(engine)}"
        raise SegmentFailed("out_of_memory" if out_of_memory else "model_error", text) from error


def _memory(engine: Engine) -> str:
    device = engine.placement.device
    if device.type != "cuda":
        return ""
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    return f" ({free / 2**30:.1f} of {total / 2**30:.1f} GiB free after releasing the batch)"
