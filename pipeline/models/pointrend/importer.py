"""detectron2's files of PointRend to a network with its weights."""

from __future__ import annotations

import torch

from pipeline.errors import ModelError
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.detectron2.weights import body_in, rows_in
from pipeline.models.mask_rcnn.loading import Trained
from pipeline.models.mask_rcnn.weights import sizes_in
from pipeline.models.pointrend.head import PointRendHead
from pipeline.models.pointrend.layout import HEAD, recognise
from pipeline.models.pointrend.network import pointrend
from pipeline.models.pointrend.origins import origins
from pipeline.models.shared.detectron2 import is_extra
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.importing import held_in, import_weights


def load(name: str, file: WeightsFile) -> Trained:
    """A network with the weights of a file, in evaluation mode.

    Raises:
        ModelError: naming tensors that do not fit.
    """
    held = held_in(file)
    told = recognise({key: tensor.shape for key, tensor in held.items()})
    if told is not None and told != name:
        raise ModelError(f"weights {file.origin} do not fit {name}: they are those of {told}")
    body, rows = body_in(held, file.origin), rows_in(held, HEAD, file.origin)
    with torch.device("meta"):
        network = pointrend(body, rows - 1, **sizes_in(file))
    import_weights(network, held, origins(held), what=name, origin=file.origin, extra=is_extra)
    return Trained(network, DETECTRON2, rows, PointRendHead)
