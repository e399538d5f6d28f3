"""A file of any layout of the family to a network, and to the rules its weights were trained by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from pipeline.errors import ModelError
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.detectron2.weights import load_mask_rcnn
from pipeline.models.mask_rcnn.engine.dialect import TORCHVISION, Dialect
from pipeline.models.mask_rcnn.engine.last_head import LastHead
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.mask_rcnn.layout import recognise
from pipeline.models.mask_rcnn.weights import load_network, sizes_in
from pipeline.models.shared.detectron2 import is_detectron2
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.importing import held_in


@dataclass(frozen=True)
class Trained:
    """A network, and what the engine has to know beside it."""

    network: GeneralizedRCNN
    """In fp32, in evaluation mode."""
    dialect: Dialect
    rows: int
    """Of its class head, background included."""
    last_head: Callable[..., LastHead] = MaskHead
    labels: Mapping[int, str] | None = None
    """By class id; None: as the file says, or COCO's."""


def load_any(name: str, file: WeightsFile) -> Trained:
    """The network `name` with the weights of `file`, in fp32, in evaluation mode.

    Raises:
        ModelError: the weights do not fit the network, or hold a value that is not finite.
    """
    held = held_in(file)
    if not is_detectron2(held):
        return _loaded(load_network(name, file, held), TORCHVISION)
    told = recognise({key: tensor.shape for key, tensor in held.items()})
    if told is not None and told != name:
        raise ModelError(f"weights {file.origin} do not fit {name}: they are those of {told}")
    return _loaded(load_mask_rcnn(name, held, file.origin, **sizes_in(file)), DETECTRON2)


def _loaded(network: MaskRCNN, dialect: Dialect) -> Trained:
    return Trained(network, dialect, network.roi_heads.box_predictor.cls_score.out_features)
