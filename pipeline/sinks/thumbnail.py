"""The best view of a track as a small JPEG, for events that carry it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.events.view import Box, crop

MARGIN = 0.1
"""Share of the box's longer side around it, as `crops:` has by default."""
QUALITY = 85


def thumbnail(image: NDArray[np.uint8], box: Box, *, longest: int) -> bytes:
    """The pixels of a box and a margin around it, made smaller where they are too large.

    Args:
        image: uint8 (H, W, 3) BGR.
        box: xyxy in pixels.
        longest: pixels of the longer side, at most.
    """
    pixels = crop(image, box, margin=MARGIN)
    height, width = pixels.shape[:2]
    if (scale := longest / max(height, width)) < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()
