"""torch's bilinear resize of float pictures, by numpy: corners not aligned, nothing averaged.

torch's own last digits depend on the number of threads; these do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Size


def resize_float(pixels: NDArray[Any], size: Size) -> NDArray[np.float32]:
    """Scale a picture (H, W, C) to `size` (height, width).

    The coordinates are float32, as torchvision computes them in its `GeneralizedRCNNTransform`.
    """
    above, below, share = _taps(pixels.shape[0], size[0])
    rows = _mixed(pixels[above], pixels[below], share[:, None, None])
    left, right, share = _taps(pixels.shape[1], size[1])
    return _mixed(rows[:, left], rows[:, right], share[:, None])


def _mixed(
    first: NDArray[Any], second: NDArray[Any], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    result: NDArray[np.float32] = first * (np.float32(1) - share) + second * share
    return result


def _taps(given: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Any]:
    """Along one axis: both source lines of every line, and the share of the second; in float32."""
    scale = np.float32(given) / np.float32(wanted)
    centre = np.arange(wanted, dtype=np.float32) + np.float32(0.5)
    # torch's kernel is compiled to a fused multiply-subtract: one rounding
    at = (centre.astype(np.float64) * scale - 0.5).astype(np.float32).clip(min=0)
    first = np.minimum(at.astype(np.int64), given - 1)
    return first, np.minimum(first + 1, given - 1), at - first.astype(np.float32)
