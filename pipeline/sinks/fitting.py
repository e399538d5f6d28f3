"""Pictures of any size in a video of one."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


def even(size: Sequence[int]) -> tuple[int, int]:
    """The next size (height, width) that 4:2:0 can have."""
    height, width = size
    return height + height % 2, width + width % 2


def fit(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture of another size brought to `size` (height, width), both even.

    One row or column too few is repeated; anything else is scaled as a whole, black around it.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    if even((height, width)) == size:
        edge = cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        return np.asarray(edge, np.uint8)
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[top : top + inner[0], left : left + inner[1]] = cv2.resize(
        pixels, (inner[1], inner[0]), interpolation=method
    )
    return canvas
