"""`PictureSegmenter`: a network that sees whole pictures, as a `Segmenter`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Image, Ints, Size
from pipeline.instances import Instances
from pipeline.models.shared.bucketed import BucketedSegmenter, OnDevice, check_options
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.files import WeightsFile, labels_for
from pipeline.models.shared.input_rule import InputRule
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.stages import ModelInfo


class Finder(OnDevice, Protocol):
    """A network on its device, and what becomes of its outputs."""

    @property
    def input_rule(self) -> InputRule:
        """What the network sees of a picture."""

    def find(self, pixels: Tensor, pictures: Sequence[tuple[Size, Size]]) -> list[Instances]:
        """Run; `pictures` are each one's (height, width) within `pixels`, and of its own."""


FinderMaker: TypeAlias = Callable[[Placement, Ints, float], Finder]
"""Of a device, class ids by row of the class head, and what a score has to be above."""


@dataclass(frozen=True, slots=True)
class PictureFinder:
    """Any network whose outputs are decoded one picture after another; a `Finder`."""

    placement: Placement
    input_rule: InputRule
    network: Callable[[Tensor], Any]
    """From (B, 3, H, W) to its outputs."""
    decode: Callable[[Any, int, Size, Size], Instances]
    """Of outputs, which picture, its (height, width) within the input, and of its own."""

    def find(self, pixels: Tensor, pictures: Sequence[tuple[Size, Size]]) -> list[Instances]:
        """See `Finder`."""
        outputs = self.network(pixels)
        return [
            self.decode(outputs, row, inner, size) for row, (inner, size) in enumerate(pictures)
        ]


def load_pictures(
    name: str,
    file: WeightsFile,
    read: Callable[[str, WeightsFile], tuple[int, FinderMaker]],
    *,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float = 0.1,
    threads: int | None = None,
    max_batch: int = 8,
) -> PictureSegmenter:
    """Load a network; see `pipeline.models.load_segmenter`.

    `read` makes of a file the rows of its class head, background left out, and what makes its
    finder.
    """
    check_options(threads, score_threshold, max_batch)
    placement = place(device, precision)
    rows, make = read(name, file)
    labels = dict(labels_for(file, rows + 1, len(COCO_LABELS) + 1))
    finder = make(placement, np.array(sorted(labels)), score_threshold)
    return PictureSegmenter(finder, ModelInfo(name, labels, file.sha256), max_batch=max_batch)


class PictureSegmenter(BucketedSegmenter[Finder, Instances]):
    """Runs a finder; stateless, one calling thread at a time.

    Args:
        finder: the network on its device.
        info: what the records say about it.
        max_batch: most pictures in one pass on a GPU.
    """

    def __init__(self, finder: Finder, info: ModelInfo, *, max_batch: int = 8) -> None:
        self._count: Counter[Size] = Counter()
        super().__init__(finder, info, self._count, max_batch=max_batch)

    def _padded(self, runner: Finder, size: Size) -> Size:
        return runner.input_rule.padded(size)

    def _run(self, runner: Finder, images: list[Image]) -> list[Instances]:
        rule, placement = runner.input_rule, runner.placement
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        with torch.inference_mode():
            pixels = rule.prepare(images, placement.dtype, placement.device)
            found = runner.find(pixels, [(rule.resized(size), size) for size in sizes])
        self._count[rule.padded(sizes[0])] += len(images)
        return found

    def _known(self, found: Instances) -> Instances:
        return found
