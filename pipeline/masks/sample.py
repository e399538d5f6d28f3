"""From RoI probabilities and boxes straight to toggles, as detectron2 pastes them.

Probabilities are sampled bilinearly at the centres of the picture's pixels, zeros around them
(`grid_sample`), and kept where they are `>= 0.5`; see `bilinear.py`.
"""

from __future__ import annotations

import numpy as np

from pipeline.arrays import Ints, Singles, Size
from pipeline.masks.bilinear import HALF, Axis, fused, rasterised, spread_out


def sampled_toggles(probabilities: Singles, boxes: Singles, size: Size) -> Ints:
    """Sorted toggles of N masks (see `pipeline.masks.runs`).

    Args:
        probabilities: (N, M, M) in [0, 1]: what is outside of the box is below a half.
        boxes: (N, 4) xyxy in pixels of the picture, each with an area.
        size: (height, width) of the picture.
    """
    n, taps = len(probabilities), probabilities.shape[-1] + 2
    padded = np.zeros((n, taps, taps), np.float32)
    padded[:, 1:-1, 1:-1] = probabilities.transpose(0, 2, 1)
    x0, y0, x1, y1 = boxes.T
    across, down = _centres(x0, x1, taps, size[1]), _centres(y0, y1, taps, size[0])
    return rasterised(padded, across, down, None, size)


def _centres(low: Singles, high: Singles, taps: int, limit: int) -> Axis:
    """Lines whose centres are in the box, weighed in the float32 steps of `grid_sample`."""
    first = np.maximum(np.ceil(low - HALF), 0).astype(np.int64)
    behind = np.minimum(np.floor(high - HALF) + 1, limit).astype(np.int64)
    owner, line, starts = spread_out(first, behind)
    width = high - low
    share = (line.astype(np.float32) + HALF - low[owner]) / width[owner]
    around = share * np.float32(2) - np.float32(1)  # -1 and 1 at the edges
    at = fused(around + np.float32(1), np.float32((taps - 2) / 2), -HALF)
    before = np.floor(at)
    weight1 = at - before
    tap_width = width.astype(np.float64) / (taps - 2)
    return Axis(
        owner,
        line,
        before.astype(np.int64) + 1,
        np.float32(1) - weight1,
        weight1,
        starts,
        length=tap_width * taps,
        ahead=low.astype(np.float64) - tap_width - first,
    )
