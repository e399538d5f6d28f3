"""Where our tensors are in detectron2's files, and how rows of classes are put in order.

Its class head has the background last, its box and mask heads have no row for it; torchvision's
modules and the engine have it first.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.models.shared.detectron2 import body_name
from pipeline.models.shared.importing import Origin

_NAMES = (
    (r"^rpn\.head\.conv\.0\.0\.", "proposal_generator.rpn_head.conv."),
    (r"^rpn\.head\.cls_logits\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"^rpn\.head\.bbox_pred\.", "proposal_generator.rpn_head.anchor_deltas."),
    (r"^roi_heads\.box_head\.fc([67])\.", lambda fc: f"roi_heads.box_head.fc{int(fc[1]) - 5}."),
    (
        r"^roi_heads\.mask_head\.(\d)\.0\.",
        lambda conv: f"roi_heads.mask_head.mask_fcn{int(conv[1]) + 1}.",
    ),
    (r"^roi_heads\.mask_predictor\.conv5_mask\.", "roi_heads.mask_head.deconv."),
    (r"^roi_heads\.mask_predictor\.mask_fcn_logits\.", "roi_heads.mask_head.predictor."),
)


def called(own: str) -> Origin:
    """Where a tensor of a Mask R-CNN comes from, by torchvision's name."""
    name = body_name(own)
    if name is not None:
        return Origin(name)
    name = own
    for pattern, theirs in _NAMES:
        name = re.sub(pattern, theirs, name)
    if ".cls_score." in own:
        return Origin(name, background_first)
    if ".box_predictor.bbox_pred." in own:
        return Origin(name, with_rows(4))
    if ".mask_fcn_logits." in own:
        return Origin(name, with_rows(1))
    return Origin(name)


def background_first(tensor: Tensor) -> Tensor:
    """The last row before the others."""
    return tensor.roll(1, 0)


def with_rows(count: int) -> Callable[[Tensor], Tensor]:
    """Rows of zeros before the others, for the background, which nothing is read of."""
    return lambda tensor: torch.cat([tensor.new_zeros(count, *tensor.shape[1:]), tensor])
