"""Where our tensors are in published files; what only knows a file is in `layout`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pipeline.models.mask_rcnn.detectron2.layout import called
from pipeline.models.shared.importing import Origin


def of_detectron2(own: str) -> Origin:
    """Where a tensor of ours comes from."""
    if found := re.match(r"roi_heads\.keypoint_head\.(\d+)\.(\w+)$", own):
        return Origin(f"roi_heads.keypoint_head.conv_fcn{int(found[1]) // 2 + 1}.{found[2]}")
    if found := re.match(r"roi_heads\.keypoint_predictor\.kps_score_lowres\.(\w+)$", own):
        return Origin(f"roi_heads.keypoint_head.score_lowres.{found[1]}")
    return called(own)


def of_torchvision(held: Iterable[str]) -> Callable[[str], Origin]:
    """Where a tensor of ours comes from, in a file with these names."""
    names = set(held)

    def origin_of(own: str) -> Origin:
        older = re.sub(r"_blocks\.(\d)\.0\.", r"_blocks.\1.", own)
        older = re.sub(r"^rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", older)
        return Origin(older if older in names else own)

    return origin_of
