"""Single measures of likeness: boxes, heights, masks.

Everything is a (T, N) matrix, track by detection. Masks are compared as runs: the last mask of a
track moves with the predicted box by shifting its runs, so nothing is rasterised or encoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.masks import Masks

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def box_iou(a: Array, b: Array) -> Array:
    """Intersection over union of xyxy boxes (T, 4) and (N, 4), as (T, N)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    span = np.minimum(a[:, None, 2:], b[None, :, 2:])
    span -= low
    np.maximum(span, 0.0, out=span)
    inside = span[..., 0] * span[..., 1]
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union = area_a[:, None] + area_b
    union -= inside
    np.maximum(union, 1e-9, out=union)
    inside /= union
    return np.asarray(inside)


def height_ratio(a: Array, b: Array) -> Array:
    """Smaller over larger height of (T,) and (N,), as (T, N) in (0, 1]."""
    column = a[:, None]
    return np.asarray(np.minimum(column, b) / np.maximum(np.maximum(column, b), 1e-9))


@dataclass(frozen=True, slots=True)
class Runs:
    """Foreground runs of N masks: positions in the column-major picture, ends exclusive."""

    starts: Index
    ends: Index
    offsets: Index
    """(N + 1,): mask i owns `starts[offsets[i]:offsets[i + 1]]`."""
    areas: Index
    pixels: int
    """height * width of the picture."""

    @staticmethod
    def of(masks: Masks) -> Runs:
        """The foreground of `masks`; no mask is copied or decoded."""
        pixels = masks.size[0] * masks.size[1]
        n = len(masks)
        if len(masks.counts) == n:  # one run each: all empty, as where only boxes are known
            none = np.zeros(0, np.int64)
            return Runs(none, none, np.zeros(n + 1, np.int64), np.zeros(n, np.int64), pixels)
        lengths = np.diff(masks.offsets)
        runs = lengths // 2
        offsets = np.concatenate(([0], np.cumsum(runs)))
        # Foreground runs are every second one, counted from the second of each mask.
        owner = np.repeat(np.arange(n), runs)
        at = 2 * (np.arange(offsets[-1]) - offsets[owner]) + 1 + masks.offsets[owner]
        ends = np.cumsum(masks.counts, dtype=np.int64)[at] - owner * pixels
        size = masks.counts[at].astype(np.int64)
        areas = np.bincount(owner, weights=size, minlength=n).astype(np.int64)
        return Runs(ends - size, ends, offsets, areas, pixels)

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        """The runs of one mask as (2, R): starts, ends; a copy."""
        mine = slice(int(self.offsets[row]), int(self.offsets[row + 1]))
        out = np.empty((2, mine.stop - mine.start), np.int64)  # half the time of stacking
        out[0], out[1] = self.starts[mine], self.ends[mine]
        return out


def intersections(
    masks: list[NDArray[np.int64]], shifts: Index, runs: Runs, pairs: tuple[Index, Index]
) -> Index:
    """Pixels shared by mask `pairs[0][k]`, shifted, and run mask `pairs[1][k]`, as (P,).

    Args:
        masks: (2, R) starts and ends of each mask on the left.
        shifts: (len(masks),) positions each of them moves, dx * height + dy.
        runs: the masks on the right.
        pairs: rows of left and right.
    """
    left, right = pairs
    if not len(left) or not len(runs.starts):
        return np.zeros(len(left), np.int64)
    parts = [masks[t] for t in left.tolist()]
    lengths = np.array([part.shape[1] for part in parts])
    query = np.concatenate(parts, axis=1)
    query += np.repeat(shifts[left], lengths)
    np.clip(query, 0, runs.pixels, out=query)
    query += np.repeat(right * runs.pixels, lengths)
    owner = np.repeat(np.arange(len(runs.areas)), np.diff(runs.offsets))
    starts = runs.starts + owner * runs.pixels
    size = runs.ends - runs.starts
    before = np.cumsum(size) - size
    # Foreground pixels of all masks on the right that lie before each queried position.
    at = np.searchsorted(starts, query, side="right") - 1
    inside = np.minimum(query - starts[at], size[at])
    covered = np.where(at < 0, 0, before[at] + inside)
    shared = covered[1] - covered[0]
    pair = np.repeat(np.arange(len(left)), lengths)
    return np.bincount(pair, weights=shared, minlength=len(left)).astype(np.int64)
