"""What detectron2's layouts have in common: names of body and pyramid, what is not weights, ids.

AdelaiDet's models are in this layout too. No torch: names and shapes alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

BODY = "backbone.bottom_up."
"""What the names of every body begin with."""
COCO_ROWS = 81
"""Of a class head of COCO's classes: 80 in the order of their ids, then the background."""
MEAN_BGR = (103.53, 116.28, 123.675)
"""Of values from 0 to 255."""
MSRA_STD = (1.0, 1.0, 1.0)
X101_STD = (57.375, 57.12, 58.395)
SHORT_SIDE, LONG_SIDE = 800, 1333

_EXTRA = re.compile(
    r"pixel_(mean|std)$|(proposal_generator\.)?anchor_generator\.cell_anchors\.\d+$"
)
_PARTS = (
    (r"^backbone\.body\.conv1\.", "backbone.bottom_up.stem.conv1."),
    (r"^backbone\.body\.bn1\.", "backbone.bottom_up.stem.conv1.norm."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
)


def is_extra(name: str) -> bool:
    """Whether it is in files of before 2021 beside the weights: constants of the configuration."""
    return _EXTRA.match(name) is not None


def is_detectron2(names: Iterable[str]) -> bool:
    """Whether tensors of these names are in its layout."""
    return any(name.startswith(BODY) for name in names)


def body_name(own: str) -> str | None:
    """What a tensor of torchvision's body or pyramid is called; None: it is of neither."""
    if found := re.match(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.0\.(\w+)$", own):
        kind = "lateral" if found[1] == "inner" else "output"
        return f"backbone.fpn_{kind}{int(found[2]) + 2}.{found[3]}"
    if not own.startswith("backbone.body."):
        return None
    for pattern, name in _PARTS:
        own = re.sub(pattern, name, own)
    return re.sub(
        r"^backbone\.body\.layer(\d)\.", lambda layer: f"{BODY}res{int(layer[1]) + 1}.", own
    )


def body_of(shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The body in a file: `resnet50`, `resnet101` or `resnext101_32x8d`; None: another one."""
    first = shapes.get(f"{BODY}res2.0.conv1.weight")
    if first is None or f"{BODY}res2.0.conv3.weight" not in shapes:
        return None
    if f"{BODY}res4.22.conv1.weight" not in shapes:
        return "resnet50"
    return "resnext101_32x8d" if first[0] == 256 else "resnet101"
