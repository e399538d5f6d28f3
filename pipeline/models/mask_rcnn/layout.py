"""What a state dict is of, told from names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.errors import ModelError
from pipeline.models.shared.detectron2 import body_of, is_detectron2

_HEAD = "roi_heads.box_predictor.cls_score.weight"
_KEYPOINTS = "roi_heads.keypoint_predictor.kps_score_lowres.weight"
_OF_DETECTRON2 = ("roi_heads.box_head.fc1.weight", "roi_heads.mask_head.mask_fcn1.weight")


def count_classes(shapes: Mapping[str, Sequence[int]], origin: str) -> int:
    """Rows of the class head, background included.

    Raises:
        ModelError: there is no such head.
    """
    if not shapes.get(_HEAD):
        raise ModelError(
            f"weights {origin}: no {_HEAD} among {len(shapes)} tensors; expected the parameters of "
            "torchvision's MaskRCNN or detectron2's"
        )
    return shapes[_HEAD][0]


def recognise(shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The architecture a state dict of a Mask R-CNN belongs to; None: it is of none."""
    if is_detectron2(shapes):
        body = body_of(shapes)
        ours = body is not None and all(name in shapes for name in (_HEAD, *_OF_DETECTRON2))
        return f"maskrcnn_{body}_fpn" if ours else None
    if not shapes.get(_HEAD) or _KEYPOINTS in shapes:
        return None
    if "backbone.body.layer1.0.conv3.weight" not in shapes:
        return "maskrcnn_resnet18_fpn"
    if "rpn.head.conv.1.0.weight" in shapes:
        return "maskrcnn_resnet50_fpn_v2"
    if "backbone.body.layer3.22.conv1.weight" not in shapes:
        return "maskrcnn_resnet50_fpn"
    wide = list(shapes["backbone.body.layer1.0.conv1.weight"])[:1] == [256]
    return "maskrcnn_resnext101_32x8d_fpn" if wide else "maskrcnn_resnet101_fpn"
