"""detectron2's files of Cascade Mask R-CNN to a network with its weights."""

from __future__ import annotations

import re

import torch

from pipeline.models.cascade_mask_rcnn.layout import HEAD
from pipeline.models.cascade_mask_rcnn.network import cascade_mask_rcnn
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.detectron2.layout import background_first, called
from pipeline.models.mask_rcnn.detectron2.weights import body_in, rows_in
from pipeline.models.mask_rcnn.loading import Trained
from pipeline.models.mask_rcnn.weights import sizes_in
from pipeline.models.shared.detectron2 import is_extra
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.importing import Origin, held_in, import_weights


def load(name: str, file: WeightsFile) -> Trained:
    """A network with the weights of a file, in evaluation mode.

    Raises:
        ModelError: naming tensors that do not fit.
    """
    held = held_in(file)
    body, rows = body_in(held, file.origin), rows_in(held, HEAD, file.origin)
    with torch.device("meta"):
        network = cascade_mask_rcnn(body, rows - 1, **sizes_in(file))
    import_weights(network, held, origin_of, what=name, origin=file.origin, extra=is_extra)
    return Trained(network, DETECTRON2, rows)


def origin_of(own: str) -> Origin:
    """Where a tensor of ours comes from."""
    if found := re.match(r"roi_heads\.box_head\.(\d)\.fc([67])\.(\w+)$", own):
        return Origin(f"roi_heads.box_head.{found[1]}.fc{int(found[2]) - 5}.{found[3]}")
    if ".box_predictor." in own:
        return Origin(own, background_first) if ".cls_score." in own else Origin(own)
    return called(own)
