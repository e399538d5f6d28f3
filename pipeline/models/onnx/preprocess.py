"""A picture as an exported model wants it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Image, Size
from pipeline.models.onnx.layout import ExportLayout


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """One picture, ready for the network."""

    pixels: NDArray[np.float32]
    """(1, 3, H, W), or (3, H, W) where the input has no batch."""
    padded: Size
    """(height, width) of the input."""
    kept: Size
    """Rows and columns of it that show the picture."""


def feed(image: Image, layout: ExportLayout, shape: tuple[int | None, ...]) -> Feed:
    """Resize, pad and normalise (H, W, 3) BGR.

    Args:
        image: the picture.
        layout: of the model.
        shape: of the input, sides that are open are None.
    """
    height, width = shape[-2:]
    open_size = layout.size or (image.shape[0], image.shape[1])
    wanted = (height or open_size[0], width or open_size[1])
    kept = _inner(image, wanted) if layout.fit == "letterbox" else wanted
    if (height, width) == (None, None) and layout.fit == "picture" and layout.size is None:
        kept = wanted = (image.shape[0], image.shape[1])
    if kept != image.shape[:2]:
        image = np.asarray(cv2.resize(image, (kept[1], kept[0])), np.uint8)
    pixels = image[..., ::-1] if layout.colours == "rgb" else image
    padded = np.full((*wanted, 3), layout.pad, np.float32)
    padded[: kept[0], : kept[1]] = pixels
    padded -= np.array(layout.mean, np.float32)
    padded /= np.array(layout.std, np.float32)
    planes = np.ascontiguousarray(padded.transpose(2, 0, 1))
    return Feed(planes[None] if len(shape) == 4 else planes, wanted, kept)


def _inner(image: Image, wanted: Size) -> Size:
    """The largest size of the picture's own shape that fits."""
    height, width = image.shape[:2]
    scale = min(wanted[0] / height, wanted[1] / width)
    return max(1, round(height * scale)), max(1, round(width * scale))
