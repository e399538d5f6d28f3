"""Maps of a whole picture, seen from further away, to toggles at the picture's own size."""

from __future__ import annotations

import numpy as np

from pipeline.arrays import Ints, Singles, Size
from pipeline.masks.bilinear import Lines, enlarged_toggles


def resize_toggles(probabilities: Singles, windows: Ints, size: Size) -> Ints:
    """Sorted toggles of N masks (see `pipeline.masks.runs`).

    Args:
        probabilities: (N, h, w) finite, of the whole picture.
        windows: (N, 4) xyxy in pixels of the maps, ends exclusive: what lies outside counts as 0.
        size: (height, width) of the picture.
    """
    height, width = probabilities.shape[1:]
    x0, y0, x1, y1 = windows.T
    inside = _within(x0, x1, width)[:, :, None] & _within(y0, y1, height)[:, None, :]
    maps = np.where(inside, probabilities.transpose(0, 2, 1), np.float32(0))
    columns, rows = _lines(x0, x1, width, size[1]), _lines(y0, y1, height, size[0])
    return enlarged_toggles(np.ascontiguousarray(maps), columns, rows, size)


def _within(
    low: Ints, behind: Ints, length: int
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    at = np.arange(length)
    return (at >= low[:, None]) & (at < behind[:, None])


def _lines(low: Ints, behind: Ints, taps: int, limit: int) -> Lines:
    """The lines a window has a share in, and one more at either end against rounding."""
    scale = limit / taps
    first = np.floor((low - 0.5) * scale - 0.5).astype(np.int64) - 1
    last = np.ceil((behind + 0.5) * scale - 0.5).astype(np.int64) + 1
    nothing = behind <= low
    return Lines(
        np.zeros(len(low), np.int64),
        np.full(len(low), limit, np.int64),
        np.clip(first, 0, limit),
        np.where(nothing, 0, np.clip(last + 1, 0, limit)),
    )
