"""Overlap of boxes and masks as the official tools compute it: boxes in float64, masks exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from pipeline.arrays import Floats
from pipeline.evaluation.judged import EPS


def corners(boxes: Floats) -> Floats:
    """(N, 4) x, y, width, height to xyxy."""
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def box_iou(a: Floats, b: Floats) -> Floats:
    """IoU of xyxy boxes (G, 4) and (R, 4), (G, R); 0 where a box has no area."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    span = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - low, 0)
    inside: Floats = span[..., 0] * span[..., 1]
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union = area_a[:, None] + area_b[None] - inside
    good = (area_a > EPS)[:, None] & (area_b > EPS)[None] & (union > EPS)
    return np.divide(inside, union, out=np.zeros_like(inside), where=good)


Rles = Sequence[Mapping[str, Any]]


def mask_iou(a: Rles, b: Rles) -> Floats:
    """IoU of COCO RLE masks, (len(a), len(b))."""
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    return np.asarray(coco_mask.iou(list(a), list(b), [0] * len(b)), np.float64)


def mask_share(a: Rles, region: Rles) -> Floats:
    """What share of each mask lies inside the union of `region`, (len(a),)."""
    if not len(a) or not len(region):
        return np.zeros(len(a))
    union = coco_mask.merge(list(region), intersect=False)
    return np.asarray(coco_mask.iou(list(a), [union], [1]), np.float64)[:, 0]


def union(masks: Rles) -> list[Mapping[str, Any]]:
    """All masks as one; none if there are none."""
    return [coco_mask.merge(list(masks), intersect=False)] if masks else []


def shared_pixels(masks: Rles) -> int:
    """How many pixels masks of one picture have in common, counted once per further mask."""
    if len(masks) < 2:
        return 0
    # One by one: pycocotools refuses lists of more than 255 here.
    total = sum(int(coco_mask.area(mask)) for mask in masks)
    return total - int(coco_mask.area(coco_mask.merge(list(masks), intersect=False)))
