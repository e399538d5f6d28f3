"""What every model asks of a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SegmentFailed


def check_picture(image: NDArray[np.uint8]) -> None:
    """Refuse what no model can segment.

    Raises:
        SegmentFailed: cause `bad_picture`: it is not uint8 (H, W, 3), or has no pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise SegmentFailed(
            "bad_picture",
            f"expected uint8 of shape (height, width, 3), got {image.dtype} of shape {image.shape}",
        )
