"""detectron2's layers as torchvision's modules, to hold weights and settings for the engine."""

from __future__ import annotations

import math
from typing import Any

import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from pipeline.models.shared.detectron2 import (
    LONG_SIDE,
    MEAN_BGR,
    MSRA_STD,
    SHORT_SIDE,
    X101_STD,
)
from pipeline.models.shared.resnet import frozen_fpn

_SIZES = (32, 64, 128, 256, 512)
_RATIOS = (0.5, 1.0, 2.0)


def settings(body: str, min_size: int = SHORT_SIDE, max_size: int = LONG_SIDE) -> dict[str, Any]:
    """What torchvision's networks are told: input and anchors of a body's published models."""
    return {
        "min_size": min_size,
        "max_size": max_size,
        "image_mean": MEAN_BGR,
        "image_std": X101_STD if body.startswith("resnext") else MSRA_STD,
        "rpn_anchor_generator": anchors(),
    }


def mask_rcnn(body: str, classes: int, **sizes: int) -> MaskRCNN:
    """A Mask R-CNN without weights.

    Args:
        body: `resnet50`, `resnet101` or `resnext101_32x8d`.
        classes: without the background.
        sizes: `min_size` and `max_size`, where they are not the published ones.
    """
    strides_first = not body.startswith("resnext")
    backbone = frozen_fpn(body, stride_in_1x1=strides_first)
    return MaskRCNN(backbone, num_classes=classes + 1, **settings(body, **sizes))


def anchors() -> AnchorGenerator:
    """Around the corner of each cell, not rounded to whole pixels as torchvision's are."""
    generator = AnchorGenerator(tuple((size,) for size in _SIZES), (_RATIOS,) * len(_SIZES))
    generator.cell_anchors = [torch.tensor(_around(size), device="cpu") for size in _SIZES]
    return generator


def _around(size: int) -> list[list[float]]:
    widths = [math.sqrt(size**2 / ratio) for ratio in _RATIOS]
    return [[-w / 2, -w * r / 2, w / 2, w * r / 2] for w, r in zip(widths, _RATIOS, strict=True)]
