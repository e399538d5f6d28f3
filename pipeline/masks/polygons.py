"""Outlines of masks along the edges of their pixels.

A ring's corners are pixel corners, so the area inside is exactly the mask, and filling the rings
by the even-odd rule gives back every pixel. Pixels that only touch at a corner are separate parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Polygon:
    """One connected part of a mask."""

    outer: Ints
    """(K, 2) x, y of the corners, in pixels, clockwise as seen on the screen, not closed."""
    holes: list[Ints]
    """Rings of the same kind, anticlockwise."""


def trace(mask: NDArray[np.bool_], x0: int, y0: int) -> list[Polygon]:
    """The parts of a mask (h, w) whose upper left pixel lies at (x0, y0) of the picture."""
    if not mask.any():
        return []
    corners, directions, following = _sides(np.pad(mask, 1))
    parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)[1]
    outer: dict[int, Ints] = {}
    holes: dict[int, list[Ints]] = {}
    for ring in _rings(following.tolist()):
        points = corners[ring]
        x, y = points.T
        # the mask's pixel to the right of the first side says which part the ring belongs to
        direction = int(directions[ring[0]])
        part = int(parts[y[0] - (direction in (2, 3)), x[0] - (direction in (1, 2))])
        placed = points + np.array([x0, y0])
        if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0:
            outer[part] = placed
        else:
            holes.setdefault(part, []).append(placed)
    return [Polygon(outer[part], holes.get(part, [])) for part in sorted(outer)]


def _sides(padded: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
    """The straight sides of all outlines, the mask always on the right hand.

    Args:
        padded: the mask in a frame of one empty pixel.

    Returns:
        (S, 2) x, y where each side begins; (S,) direction, 0 to the right, 1 down, 2 to the left,
        3 up; (S,) which side follows.
    """
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    leave = [d & ~b, c & ~d, a & ~c, b & ~a]  # at every corner between four pixels
    arrive = [c & ~a, a & ~b, b & ~d, d & ~c]
    height, width = a.shape
    keys, begins, goals = [], [], []
    for k in range(4):
        begin, end = leave[k] & ~arrive[k], arrive[k] & ~leave[k]
        if k % 2:  # along columns, so that the n-th beginning and the n-th end are one side's
            (x, y), (x_end, y_end) = np.nonzero(begin.T), np.nonzero(end.T)
        else:
            (y, x), (y_end, x_end) = np.nonzero(begin), np.nonzero(end)
        # two parts that touch at a corner stay apart: turn right where there is a choice
        right = leave[(k + 1) % 4][y_end, x_end]
        turn = np.where(right, (k + 1) % 4, (k - 1) % 4)
        keys.append((k * height + y) * width + x)
        goals.append((turn * height + y_end) * width + x_end)
        begins.append(np.stack([x, y], axis=1))
    key = np.concatenate(keys)
    order = np.argsort(key)
    following = order[np.searchsorted(key[order], np.concatenate(goals))]
    directions = np.repeat(np.arange(4), [len(part) for part in keys])
    return np.concatenate(begins), directions, following


def _rings(following: list[int]) -> list[list[int]]:
    """The cycles of a permutation."""
    rings, seen = [], bytearray(len(following))
    for start in range(len(following)):
        ring, at = [], start
        while not seen[at]:
            seen[at] = 1
            ring.append(at)
            at = following[at]
        if ring:
            rings.append(ring)
    return rings
