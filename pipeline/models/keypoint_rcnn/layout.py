"""What a file of Keypoint R-CNN is told by; where our tensors are in it say `origins`.

There are detectron2's layout and two of torchvision: that of its published file, older than its
modules' names of today, and that of today.
"""

from __future__ import annotations

from pipeline.models.shared.detectron2 import body_of, is_detectron2
from pipeline.models.shared.family import Shapes

HEAD = "roi_heads.box_predictor.cls_score.weight"
_OF_DETECTRON2 = "roi_heads.keypoint_head.score_lowres.weight"
_OF_TORCHVISION = "roi_heads.keypoint_predictor.kps_score_lowres.weight"


def recognise(shapes: Shapes) -> str | None:
    """The model a file is of; None: it is no Keypoint R-CNN."""
    if is_detectron2(shapes):
        body = body_of(shapes) if _OF_DETECTRON2 in shapes else None
        return None if body is None else f"keypointrcnn_{body}_fpn"
    if _OF_TORCHVISION not in shapes or "backbone.body.layer1.0.conv3.weight" not in shapes:
        return None
    deep = "backbone.body.layer3.22.conv1.weight" in shapes
    return "keypointrcnn_resnet101_fpn" if deep else "keypointrcnn_resnet50_fpn"


def points_in(shapes: Shapes) -> int:
    """How many points an instance has; 0: there is no such head."""
    shape = shapes.get(_OF_DETECTRON2) or shapes.get(_OF_TORCHVISION) or ()
    return shape[1] if len(shape) == 4 else 0
