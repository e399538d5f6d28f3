"""Files of Keypoint R-CNN, detectron2's and torchvision's, to a network with its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torchvision.models.detection import KeypointRCNN

from pipeline.errors import ModelError
from pipeline.models.keypoint_rcnn.head import KeypointHead
from pipeline.models.keypoint_rcnn.layout import HEAD, points_in, recognise
from pipeline.models.keypoint_rcnn.origins import of_detectron2, of_torchvision
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.detectron2.network import settings
from pipeline.models.mask_rcnn.detectron2.weights import body_in, rows_in
from pipeline.models.mask_rcnn.engine.dialect import TORCHVISION
from pipeline.models.mask_rcnn.loading import Trained
from pipeline.models.mask_rcnn.weights import sizes_in
from pipeline.models.shared.detectron2 import is_detectron2, is_extra
from pipeline.models.shared.files import WeightsFile, setting
from pipeline.models.shared.importing import Held, Origin, held_in, import_weights, is_counter
from pipeline.models.shared.resnet import frozen_fpn

PERSON = {1: "person"}


def load(name: str, file: WeightsFile) -> Trained:
    """A network with the weights of a file, in evaluation mode.

    Raises:
        ModelError: naming tensors that do not fit.
    """
    held = held_in(file)
    shapes = {key: tensor.shape for key, tensor in held.items()}
    told = recognise(shapes)
    if told is not None and told != name:
        raise ModelError(f"weights {file.origin} do not fit {name}: they are those of {told}")
    origin_of: Callable[[str], Origin]
    rows, points = rows_in(held, HEAD, file.origin), points_in(shapes)
    if is_detectron2(held):
        body = body_in(held, file.origin)
        with torch.device("meta"):
            network = _network(body, not body.startswith("resnext"), 1e-5, rows, points, {
                **settings(body), **sizes_in(file),
            })  # fmt: skip
        origin_of, dialect = of_detectron2, DETECTRON2
    else:
        body = name.removeprefix("keypointrcnn_").removesuffix("_fpn")
        with torch.device("meta"):
            network = _network(body, False, _eps(held, file), rows, points, sizes_in(file))
        origin_of, dialect = of_torchvision(held), TORCHVISION
    import_weights(network, held, origin_of, what=name, origin=file.origin, extra=is_extra)
    labels = PERSON if rows == 2 and file.labels is None else None
    return Trained(network, dialect, rows, KeypointHead, labels)


def _network(
    body: str, strides_first: bool, eps: float, rows: int, points: int, more: dict[str, Any]
) -> KeypointRCNN:
    backbone = frozen_fpn(body, eps=eps, stride_in_1x1=strides_first)
    return KeypointRCNN(backbone, num_classes=rows, num_keypoints=points, **more)


def _eps(held: Held, file: WeightsFile) -> float:
    """Of the norms: those published were trained with 0, others with 1e-5 and count batches."""
    stored = setting(file, "norm_eps", least=0, most=1)
    if stored is not None:
        return stored
    return 1e-5 if any(is_counter(name) for name in held) else 0.0
