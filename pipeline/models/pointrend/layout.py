"""What a file of PointRend is told by, new or old; where our tensors are in it says `origins`."""

from __future__ import annotations

import re

from pipeline.models.shared.detectron2 import body_of
from pipeline.models.shared.family import Shapes

HEAD = "roi_heads.box_predictor.cls_score.weight"
POINTS = "roi_heads.mask_head.point_head.predictor.weight"
_OLDER = (
    (r"\.mask_head\.point_head\.", ".mask_point_head."),
    (r"\.mask_head\.coarse_head\.fc", ".mask_coarse_head.coarse_mask_fc"),
    (r"\.mask_head\.coarse_head\.", ".mask_coarse_head."),
)


def older(name: str) -> str:
    """What a tensor was called before heads stood in one another."""
    for pattern, before in _OLDER:
        name = re.sub(pattern, before, name)
    return name


def recognise(shapes: Shapes) -> str | None:
    """The model a file is of; None: it is no PointRend."""
    ours = HEAD in shapes and (POINTS in shapes or older(POINTS) in shapes)
    body = body_of(shapes) if ours else None
    return None if body is None else f"pointrend_{body}_fpn"
