"""What OpenMMLab's layouts have in common: names of body and pyramid, and the numbers of a class.

Those of mmdet 1, which WXinlong/SOLO is written in, are the same. No torch: names alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MEAN_RGB, STD_RGB = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of values from 0 to 255."""

_BODIES = {
    ("backbone.layer3.5.conv3.weight", "backbone.layer3.6.conv3.weight"): "resnet50",
    ("backbone.layer3.22.conv3.weight", "backbone.layer3.23.conv3.weight"): "resnet101",
}
"""By a block that is there, and one that is not."""


def body_name(own: str) -> str | None:
    """What a tensor of torchvision's body or pyramid is called; None: it is of neither."""
    if found := re.match(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.0\.(\w+)$", own):
        kind = "lateral" if found[1] == "inner" else "fpn"
        return f"neck.{kind}_convs.{found[2]}.conv.{found[3]}"
    if own.startswith("backbone.body."):
        return "backbone." + own.removeprefix("backbone.body.")
    return None


def body_of(shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The body in a file: `resnet50` or `resnet101`; None: another one."""
    first = shapes.get("backbone.layer1.0.conv1.weight")
    if first is None or list(first) != [64, 64, 1, 1]:
        return None
    for (there, not_there), body in _BODIES.items():
        if there in shapes and not_there not in shapes:
            return body
    return None
