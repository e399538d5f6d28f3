"""What a file of Cascade Mask R-CNN is told by, from names and shapes alone."""

from __future__ import annotations

from pipeline.models.shared.detectron2 import body_of
from pipeline.models.shared.family import Shapes

HEAD = "roi_heads.box_predictor.0.cls_score.weight"
_ALL = (HEAD, "roi_heads.box_head.2.fc1.weight", "roi_heads.mask_head.mask_fcn1.weight")


def recognise(shapes: Shapes) -> str | None:
    """The model a file of detectron2's is of; None: it is no Cascade Mask R-CNN."""
    body = body_of(shapes) if all(name in shapes for name in _ALL) else None
    return None if body is None else f"cascade_mask_rcnn_{body}_fpn"
