"""Boxes as masks, for instances nothing more is known of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Size
from pipeline.masks.masks import Masks
from pipeline.masks.runs import cancel_pairs, from_toggles, spread, stride


def rectangles(boxes: NDArray[np.float32], size: Size) -> Masks:
    """The pixels whose centres are in the boxes (N, 4) xyxy, in a picture of (height, width)."""
    height, width = size
    first = np.maximum(np.ceil(boxes[:, :2] - 0.5), 0).astype(np.int64)
    behind = np.minimum(np.floor(boxes[:, 2:] - 0.5) + 1, [width, height]).astype(np.int64)
    wide, tall = np.maximum(behind - first, 0).T
    owner, column = spread(first[:, 0], np.where(tall > 0, wide, 0))
    origin = owner * stride(size) + column * height
    edges = np.stack([origin + first[owner, 1], origin + behind[owner, 1]], axis=1)
    toggles = cancel_pairs(edges.reshape(-1))
    return Masks(size, *from_toggles(toggles, len(boxes), size))
