"""A picture as JPEG, no wider than it is wanted."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST_SIDE = 65500
"""Pixels; what a JPEG holds."""


def jpeg(image: NDArray[np.uint8], *, width: int | None = None, quality: int = 80) -> bytes:
    """Encode a picture.

    Args:
        image: uint8 (H, W, 3) BGR.
        width: pixels at most, at least 1; None: as it is. It is never made larger.
        quality: 1 to 100.

    Raises:
        ValueError: a side is longer than `LONGEST_SIDE`.
    """
    height, wide = image.shape[:2]
    if width is not None and width < wide:
        size = width, max(1, round(height * width / wide))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if max(image.shape[:2]) > LONGEST_SIDE:
        raise ValueError(f"a JPEG holds {LONGEST_SIDE} pixels a side, got {image.shape[:2]}")
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
