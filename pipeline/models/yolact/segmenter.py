"""YOLACT on a device, for a `PictureSegmenter`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from pipeline.arrays import Ints, Size
from pipeline.instances import Instances
from pipeline.models.shared.devices import Placement
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.layers import conv_maker
from pipeline.models.shared.whole_picture import FinderMaker
from pipeline.models.yolact.dense import YolactDense
from pipeline.models.yolact.detections import detect
from pipeline.models.yolact.importer import load_network
from pipeline.models.yolact.network import Yolact
from pipeline.models.yolact.postprocess import find_instances
from pipeline.models.yolact.preprocess import SquareRule
from pipeline.models.yolact.priors import make_priors


def read(name: str, file: WeightsFile) -> tuple[int, FinderMaker]:
    """See `load_pictures`."""
    network = load_network(name, file)
    return network.num_classes - 1, partial(YolactFinder, network)


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
