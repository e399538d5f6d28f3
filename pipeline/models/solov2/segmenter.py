"""SOLOv2 as a `Segmenter`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Size
from pipeline.instances import Instances
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.files import WeightsFile, labels_for
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.models.shared.whole_picture import PictureSegmenter, check_options
from pipeline.models.solov2.dense import SoloDense
from pipeline.models.solov2.importer import ImportedSolo, import_solov2
from pipeline.models.solov2.postprocess import find_instances
from pipeline.stages import ModelInfo


def load_solov2(
    name: str,
    file: WeightsFile,
    *,
    device: str = "auto",
    precision: str = "auto",
    score_threshold: float = 0.1,
    threads: int | None = None,
    max_batch: int = 8,
) -> PictureSegmenter:
    """Load a network; see `pipeline.models.load_segmenter`."""
    check_options(threads, score_threshold, max_batch)
    placement = place(device, precision)
    imported = import_solov2(name, file)
    rows = imported.network.design.classes
    labels = dict(labels_for(file, rows + 1, len(COCO_LABELS) + 1))
    finder = SoloFinder(imported, placement, np.array(list(labels)), score_threshold)
    return PictureSegmenter(finder, ModelInfo(name, labels, file.sha256), max_batch=max_batch)


class SoloFinder:
    """A network on its device, and what becomes of its outputs; a `Finder`.

    Args:
        imported: the network.
        placement: where it runs.
        ids: class ids by row of the class head.
        threshold: a score has to be above it.
    """

    def __init__(
        self,
        imported: ImportedSolo,
        placement: Placement,
        ids: NDArray[np.int64],
        threshold: float = 0.0,
    ) -> None:
        self.placement = placement
        self.input_rule = imported.input_rule
        self._dense = SoloDense(imported.network, placement.device, placement.dtype)
        self._ids, self._threshold = ids, threshold

    def find(self, pixels: Tensor, pictures: Sequence[tuple[Size, Size]]) -> list[Instances]:
        """See `Finder`."""
        outputs = self._dense(pixels)
        return [
            find_instances(outputs, row, inner, size, self._ids, self._threshold)
            for row, (inner, size) in enumerate(pictures)
        ]
