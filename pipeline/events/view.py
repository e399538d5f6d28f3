"""Which frame shows a track best: whole before cut off by the edge, then large and sharp."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.events.sighting import Sighting

Box: TypeAlias = tuple[float, float, float, float]
"""xyxy in pixels of the source picture."""
Show: TypeAlias = Callable[[NDArray[np.uint8], Box], bytes]
"""Makes a JPEG of what is in a box of a picture (H, W, 3) BGR."""

_BETTER = 1.1
"""A view has to be better by this factor: a few are taken of a track, not one a frame."""
_EVEN = 100.0
"""Variance of the Laplacian, grey levels squared, at which sharpness counts half."""
_LONGEST = 256
"""Pixels of a crop's longer side that are looked at, at most."""


@dataclass(frozen=True, slots=True)
class View:
    """How well a track is to be seen in a frame."""

    frame: int
    pts_s: float
    score: float
    box: Box
    cut: bool
    """It reaches the edge of the picture, so a part of it may lie outside."""
    quality: float
    """Side of a square of the mask's area, pixels, times the sharpness from 0 to 1; 2 decimals."""
    jpeg: str | None = None
    """The view itself, base64; None: it was not asked for."""

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        told = {**asdict(self), "box": list(self.box)}
        if self.jpeg is None:
            del told["jpeg"]
        return told

    def shown(self, image: NDArray[np.uint8], show: Show) -> View:
        """The same with its picture."""
        return replace(self, jpeg=b64encode(show(image, self.box)).decode("ascii"))

    @staticmethod
    def of(record: Mapping[str, Any]) -> View:
        """What `record` gave."""
        x1, y1, x2, y2 = record["box"]
        return View(**{**record, "box": (x1, y1, x2, y2)})


def better_view(sighting: Sighting, image: NDArray[np.uint8], best: View | None) -> View | None:
    """The view of this sighting, where it is clearly better than the best one so far; else None.

    Args:
        sighting: of the track.
        image: uint8 (H, W, 3) BGR, the picture it is in.
        best: None for the first view.
    """
    side, cut = math.sqrt(int(sighting.mask.areas()[0])), _is_cut(sighting, image)
    if best is not None and cut and not best.cut:
        return None
    needed = 0.0 if best is None or (best.cut and not cut) else _BETTER * best.quality
    if side < needed:  # however sharp
        return None
    quality = round(side * sharpness(crop(image, sighting.box)), 2)
    if quality < needed:
        return None
    return View(sighting.frame, sighting.pts_s, sighting.score, sighting.box, cut, quality)


def sharpness(pixels: NDArray[np.uint8]) -> float:
    """From 0, evenly grey, to 1; the variance of the Laplacian as in Pech-Pacheco et al., 2000.

    Args:
        pixels: uint8 (h, w, 3); of larger ones every second, third, ... row and column counts.
    """
    step = -(-max(pixels.shape[:2]) // _LONGEST)
    grey = pixels[::step, ::step].mean(axis=2, dtype=np.float32)
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    variance = float(np.var(around - 4 * inner, dtype=np.float64))
    return variance / (variance + _EVEN)


def crop(image: NDArray[np.uint8], box: Box, *, margin: float = 0.0) -> NDArray[np.uint8]:
    """The pixels of a box, a view of at least one pixel.

    Args:
        image: (H, W, ...).
        box: xyxy in pixels.
        margin: this share of the longer side more on each side, as far as there is picture.
    """
    x1, y1, x2, y2 = window(image.shape[:2], box, margin=margin)
    return image[y1:y2, x1:x2]


def window(size: tuple[int, ...], box: Box, *, margin: float) -> tuple[int, int, int, int]:
    """The whole pixels of a box with its margin, xyxy, inside a picture of `size`."""
    height, width = size
    x1, y1, x2, y2 = box
    more = margin * max(x2 - x1, y2 - y1)
    left, top = max(0, math.floor(x1 - more)), max(0, math.floor(y1 - more))
    left, top = min(left, width - 1), min(top, height - 1)
    right, bottom = min(width, math.ceil(x2 + more)), min(height, math.ceil(y2 + more))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _is_cut(sighting: Sighting, image: NDArray[np.uint8]) -> bool:
    height, width = image.shape[:2]
    x1, y1, x2, y2 = sighting.box
    return x1 < 1 or y1 < 1 or x2 > width - 1 or y2 > height - 1
