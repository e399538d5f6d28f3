"""Masks as small boolean pictures: cut out of the runs, and back into runs."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints, Size
from pipeline.masks.runs import cancel_pairs

MaskCrop: TypeAlias = tuple[int, int, NDArray[np.bool_]]
"""Where its first pixel lies (x, y), and its pixels (h, w)."""


def paint(toggles: Ints, height: int, width: int) -> NDArray[np.bool_]:
    """A picture (height, width) from toggles that count from its first pixel; C-contiguous."""
    marks = np.empty(len(toggles) + 2, np.int64)
    marks[0], marks[1:-1], marks[-1] = 0, toggles, height * width
    states = np.zeros(len(toggles) + 1, bool)
    states[1::2] = True
    columns = np.repeat(states, marks[1:] - marks[:-1]).reshape(width, height)
    return np.ascontiguousarray(columns.T)


def crop(toggles: Ints, box: tuple[int, int, int, int], height: int) -> NDArray[np.bool_]:
    """One mask, its toggles counted from the picture's first pixel, cut to its tight box."""
    x0, y0, x1, y1 = box
    inner = toggles.copy()
    inner[1::2] -= 1  # the last pixel of a piece has a place in the crop, the one behind may not
    column, row = np.divmod(inner, height)
    inner = (column - x0) * (y1 - y0) + row - y0
    inner[1::2] += 1
    # pieces that meet at a crop's border were one piece or touch; paint() does not care
    return paint(inner, y1 - y0, x1 - x0)


def toggles_of(crop: MaskCrop, size: Size) -> Ints:
    """Sorted toggles of a mask `(x0, y0, mask)`; what lies outside of the picture is cut off."""
    x, y, mask = crop
    height, width = size
    inside = mask[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    h, w = inside.shape
    edges = np.zeros((h + 1, w), bool)  # between a row and the one above it
    edges[:h] = inside
    edges[1:] ^= inside
    found, column = np.nonzero(edges)
    at: Ints = (column + max(x, 0)) * height + found + max(y, 0)
    at.sort()
    return cancel_pairs(at)
