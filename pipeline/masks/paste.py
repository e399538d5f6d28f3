"""From RoI probabilities and boxes straight to toggles, as torchvision pastes them.

Pixel-equal to its `paste_masks_in_image(..., padding=1) > 0.5`; see `bilinear.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints, Singles, Size
from pipeline.masks.bilinear import HALF, Lines, enlarged_toggles
from pipeline.masks.runs import from_toggles, gathered, portions

_COLUMNS_AT_A_TIME = 1 << 15


def paste_toggles(probabilities: Singles, boxes: Singles, size: Size) -> Ints:
    """Sorted toggles of N masks (see `pipeline.masks.runs`).

    Args:
        probabilities: (N, M, M) finite.
        boxes: (N, 4) xyxy in pixels of the picture, finite; they may reach out of it.
        size: (height, width) of the picture.
    """
    n, taps = len(probabilities), probabilities.shape[-1] + 2
    padded = np.zeros((n, taps, taps), np.float32)
    padded[:, 1:-1, 1:-1] = probabilities.transpose(0, 2, 1)
    x0, y0, x1, y1 = _expanded(boxes, np.float32(taps / (taps - 2)))
    return enlarged_toggles(padded, _lines(x0, x1, size[1]), _lines(y0, y1, size[0]), size)


def some_at_a_time(
    toggles_of: Callable[[Singles, Singles, Size], Ints],
    probabilities: Singles,
    boxes: Singles,
    size: Size,
) -> tuple[NDArray[np.uint32], Ints]:
    """Counts and offsets of N masks; their toggles, twice as large and more, are never all there.

    Args:
        toggles_of: `paste_toggles`, or what takes the same.
        probabilities: see there.
        boxes: see there.
        size: see there.
    """

    def counts() -> Iterator[NDArray[np.uint32]]:
        sides = np.clip(boxes[:, [0, 2]], 0, size[1]).astype(np.int64)
        for some in portions(sides[:, 1] - sides[:, 0] + 1, _COLUMNS_AT_A_TIME):
            toggles = toggles_of(probabilities[some], boxes[some], size)
            found, offsets = from_toggles(toggles, some.stop - some.start, size)
            yield from (found[first:behind] for first, behind in pairwise(offsets.tolist()))

    return gathered(counts())


def regions(probabilities: Singles, boxes: Singles) -> tuple[Singles, Singles]:
    """Probabilities (N, M, M) and boxes (N, 4) as arrays.

    Raises:
        ValueError: wrong shapes, or a value that is not finite.
    """
    probabilities = np.asarray(probabilities, np.float32)
    boxes = np.asarray(boxes, np.float32)
    n = len(boxes)
    square = probabilities.ndim == 3 and probabilities.shape[1] == probabilities.shape[2] > 0
    if boxes.shape != (n, 4) or not square or len(probabilities) != n:
        raise ValueError(
            "Masks.paste needs probabilities (N, M, M) and boxes (N, 4), "
            f"got {probabilities.shape} and {boxes.shape}"
        )
    if not (np.isfinite(boxes).all() and np.isfinite(probabilities).all()):
        raise ValueError("Masks.paste: probabilities and boxes must be finite")
    return probabilities, boxes


def _lines(low: Ints, high: Ints, limit: int) -> Lines:
    first = np.maximum(low, 0)
    return Lines(low, np.maximum(high - low + 1, 1), first, np.minimum(high + 1, limit))


def _expanded(boxes: Singles, scale: np.float32) -> list[Ints]:
    """Expand as torchvision's `expand_boxes` does, step by step in float32, and truncate."""
    x0, y0, x1, y1 = boxes.T
    half_w, half_h = (x1 - x0) * HALF * scale, (y1 - y0) * HALF * scale
    x, y = (x1 + x0) * HALF, (y1 + y0) * HALF
    return [edge.astype(np.int64) for edge in (x - half_w, y - half_h, x + half_w, y + half_h)]
