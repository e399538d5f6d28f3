"""What a state dict is of, told from names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pipeline.errors import ModelError

T = TypeVar("T")

_HEAD = "roi_heads.box_predictor.cls_score.weight"


def state_dict(value: Any, kind: type[T], origin: str) -> dict[str, T]:
    """What was saved, out of the usual wrappings, under torchvision's names.

    Raises:
        ModelError: there is anything in it that is not of that kind.
    """
    for wrapper in ("model", "state_dict"):
        if isinstance(value, Mapping) and isinstance(value.get(wrapper), Mapping):
            value = value[wrapper]
    if not isinstance(value, Mapping) or not all(isinstance(v, kind) for v in value.values()):
        raise ModelError(f"weights {origin}: no state dict inside; save `model.state_dict()`")
    return {str(key).removeprefix("module."): entry for key, entry in value.items()}


def count_classes(shapes: Mapping[str, Sequence[int]], origin: str) -> int:
    """Rows of the class head, background included.

    Raises:
        ModelError: there is no such head.
    """
    if not shapes.get(_HEAD):
        hint = (
            "this is detectron2's layout, which cannot be read"
            if any(key.startswith("backbone.bottom_up.") for key in shapes)
            else "expected the parameters of torchvision's MaskRCNN"
        )
        raise ModelError(f"weights {origin}: no {_HEAD} among {len(shapes)} tensors; {hint}")
    return shapes[_HEAD][0]


def guess_name(shapes: Mapping[str, Sequence[int]], origin: str) -> str:
    """The architecture a state dict belongs to.

    Raises:
        ModelError: it is no torchvision Mask R-CNN.
    """
    count_classes(shapes, origin)
    if "backbone.body.layer1.0.conv3.weight" not in shapes:
        return "maskrcnn_resnet18_fpn"
    if "rpn.head.conv.1.0.weight" in shapes:
        return "maskrcnn_resnet50_fpn_v2"
    if "backbone.body.layer3.22.conv1.weight" not in shapes:
        return "maskrcnn_resnet50_fpn"
    wide = shapes["backbone.body.layer1.0.conv1.weight"][0] == 256
    return "maskrcnn_resnext101_32x8d_fpn" if wide else "maskrcnn_resnet101_fpn"
