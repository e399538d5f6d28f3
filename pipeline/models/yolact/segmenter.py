"""YOLACT as a `Segmenter`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from pipeline.arrays import Ints, Size
from pipeline.instances import Instances
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.files import WeightsFile, labels_for
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.models.shared.layers import conv_maker
from pipeline.models.shared.whole_picture import PictureSegmenter, check_options
from pipeline.models.yolact.dense import YolactDense
from pipeline.models.yolact.detections import detect
from pipeline.models.yolact.importer import load_network
from pipeline.models.yolact.network import Yolact
from pipeline.models.yolact.postprocess import find_instances
from pipeline.models.yolact.preprocess import SquareRule
from pipeline.models.yolact.priors import make_priors
from pipeline.stages import ModelInfo


def load_yolact(
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
    network = load_network(name, file)
    labels = dict(labels_for(file, network.num_classes, len(COCO_LABELS) + 1))
    finder = YolactFinder(network, placement, np.array(sorted(labels)), score_threshold)
    return PictureSegmenter(finder, ModelInfo(name, labels, file.sha256), max_batch=max_batch)


class YolactFinder:
    """A network on its device, and what becomes of its outputs; a `Finder`.

    Args:
        network: in evaluation mode; its weights are copied.
        placement: where it runs.
        ids: class ids by row of the class head, background left out.
        threshold: a score has to be above it.
    """

    def __init__(
        self, network: Yolact, placement: Placement, ids: Ints, threshold: float = 0.0
    ) -> None:
        self.placement = placement
        self.input_rule = SquareRule.of(network.design)
        self._dense = YolactDense(network, conv_maker(placement.device, placement.dtype))
        self._priors = make_priors(network.design).to(placement.device)
        self._maskiou = (
            network.maskiou_net.to(placement.device) if network.design.rescored else None
        )
        self._ids, self._threshold = ids, threshold

    def find(self, pixels: Tensor, pictures: Sequence[tuple[Size, Size]]) -> list[Instances]:
        """See `Finder`."""
        outputs = self._dense(pixels)
        # where masks are scored anew, what is below may still come above
        threshold = self._threshold if self._maskiou is None else 0.0
        results = []
        for row, (_, size) in enumerate(pictures):
            found = detect(
                outputs.boxes[row],
                outputs.logits[row],
                outputs.coefficients[row],
                self._priors,
                threshold,
            )
            results.append(
                find_instances(
                    found, outputs.prototypes[row], size, self._ids, self._threshold, self._maskiou
                )
            )
        return results
