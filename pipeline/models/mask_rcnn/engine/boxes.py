"""Box arithmetic in float32: decoding of deltas and clipping, step by step as torchvision does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST_GROWTH = math.log(1000.0 / 16)
"""Deltas of width and height are cut here before `exp`."""


def decode(deltas: Tensor, boxes: Tensor, weights: Tensor) -> Tensor:
    """Apply deltas (..., 4) to boxes (..., 4) xyxy; float32.

    Args:
        deltas: shifts of the centre and logarithms of the growth, times `weights`.
        boxes: anchors or proposals.
        weights: (4,) of the box coder, on the device of the deltas.
    """
    size = boxes[..., 2:] - boxes[..., :2]
    centre = boxes[..., :2] + 0.5 * size
    shift = deltas[..., :2] / weights[:2]
    growth = (deltas[..., 2:] / weights[2:]).clamp(max=LARGEST_GROWTH)
    centre = shift * size + centre
    half = 0.5 * (torch.exp(growth) * size)
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Cut boxes (B, ..., 4) to their pictures.

    Args:
        boxes: xyxy.
        sizes: (B, 2) height and width of each picture, float32.
    """
    limits = sizes.flip(1).repeat(1, 2).view(-1, *(1,) * (boxes.dim() - 2), 4)
    return torch.minimum(boxes.clamp(min=0), limits)


def large_enough(boxes: Tensor, smallest: float) -> Tensor:
    """Which boxes (..., 4) have both sides at least `smallest`."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= smallest).all(dim=-1)
