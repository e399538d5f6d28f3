"""How alike boxes are: overlap and height, each a (T, N) matrix, track by detection."""

from __future__ import annotations

import numpy as np

from pipeline.arrays import Floats


def box_iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of xyxy boxes (T, 4) and (N, 4), as (T, N)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    span = np.minimum(a[:, None, 2:], b[None, :, 2:])
    span -= low
    np.maximum(span, 0.0, out=span)
    inside = span[..., 0] * span[..., 1]
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union = area_a[:, None] + area_b
    union -= inside
    np.maximum(union, 1e-9, out=union)
    inside /= union
    return np.asarray(inside)


def height_ratio(a: Floats, b: Floats) -> Floats:
    """Smaller over larger height of (T,) and (N,), as (T, N) in (0, 1]."""
    column = a[:, None]
    return np.asarray(np.minimum(column, b) / np.maximum(np.maximum(column, b), 1e-9))
