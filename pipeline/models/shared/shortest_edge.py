"""detectron2's resize: the short side to a length, the long side at most another; antialiased.

The sizes are its own, rounded half up; the pixels are Pillow's bilinear ones of 8 bits, which
average over all source pixels where a picture gets smaller. AdelaiDet's models use it too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.arrays import Size


def resized(size: Size, shorter: int, longest: int) -> Size:
    """(height, width) after the resize, each at least 1.

    Args:
        size: (height, width) before it.
        shorter: what the short side becomes, unless
        longest: the long side would be longer than this.
    """
    scale = shorter / min(size)
    height, width = (shorter, scale * size[1]) if size[0] < size[1] else (scale * size[0], shorter)
    if max(height, width) > longest:
        scale = longest / max(height, width)
        height, width = height * scale, width * scale
    return max(1, int(height + 0.5)), max(1, int(width + 0.5))


def resize(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A picture uint8 (H, W, 3) in another size, channels as they are."""
    if image.shape[:2] == size:
        return image
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))
