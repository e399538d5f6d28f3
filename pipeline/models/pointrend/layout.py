"""What a file of PointRend is told by, and where our tensors are in it, new or old."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pipeline.models.mask_rcnn.detectron2.layout import called
from pipeline.models.shared.detectron2 import body_of
from pipeline.models.shared.family import Shapes
from pipeline.models.shared.importing import Origin

HEAD = "roi_heads.box_predictor.cls_score.weight"
_POINTS = "roi_heads.mask_head.point_head.predictor.weight"
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
    ours = HEAD in shapes and (_POINTS in shapes or older(_POINTS) in shapes)
    body = body_of(shapes) if ours else None
    return None if body is None else f"pointrend_{body}_fpn"


def origins(held: Iterable[str]) -> Callable[[str], Origin]:
    """Where a tensor of ours comes from, in a file with these names."""
    rename = older if older(_POINTS) in set(held) else str

    def origin_of(own: str) -> Origin:
        return Origin(rename(own)) if ".mask_head." in own else called(own)

    return origin_of
