"""Spans: the foreground of masks by begin and end, so that a mask moves by shifting numbers.

A span is a stretch of foreground in the column-major picture. Masks that are kept while they move,
as those of tracks, are kept as spans: comparing them with others rasterises and encodes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints
from pipeline.masks import runs

if TYPE_CHECKING:
    from pipeline.masks.masks import Masks


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans of N masks: positions in the column-major picture, ends exclusive."""

    starts: Ints
    ends: Ints
    offsets: Ints
    """(N + 1,): mask i owns `starts[offsets[i]:offsets[i + 1]]`."""
    areas: Ints
    pixels: int
    """height * width of the picture."""

    @staticmethod
    def of(masks: Masks) -> Spans:
        """The foreground of `masks`; no mask is copied or decoded."""
        pixels = masks.size[0] * masks.size[1]
        n = len(masks)
        if len(masks.counts) == n:  # one run each: all empty, as where only boxes are known
            none = np.zeros(0, np.int64)
            return Spans(none, none, np.zeros(n + 1, np.int64), np.zeros(n, np.int64), pixels)
        lengths = np.diff(masks.offsets)
        runs = lengths // 2
        offsets = np.concatenate(([0], np.cumsum(runs)))
        # Foreground runs are every second one, counted from the second of each mask.
        owner = np.repeat(np.arange(n), runs)
        at = 2 * (np.arange(offsets[-1]) - offsets[owner]) + 1 + masks.offsets[owner]
        ends = np.cumsum(masks.counts, dtype=np.int64)[at] - owner * pixels
        size = masks.counts[at].astype(np.int64)
        areas = np.bincount(owner, weights=size, minlength=n).astype(np.int64)
        return Spans(ends - size, ends, offsets, areas, pixels)

    def __getitem__(self, row: int) -> Ints:
        """The spans of one mask as (2, S): starts, ends; a copy."""
        mine = slice(int(self.offsets[row]), int(self.offsets[row + 1]))
        out = np.empty((2, mine.stop - mine.start), np.int64)  # half the time of stacking
        out[0], out[1] = self.starts[mine], self.ends[mine]
        return out


def counts_of(spans: Ints, pixels: int) -> NDArray[np.uint32]:
    """COCO counts of a mask given as (2, S) starts and ends, in a picture of so many pixels."""
    return runs.counts_of(spans.T.ravel(), pixels)


def shifted_intersections(
    masks: list[Ints], shifts: Ints, others: Spans, pairs: tuple[Ints, Ints]
) -> Ints:
    """Pixels shared by mask `pairs[0][k]`, shifted, and mask `pairs[1][k]`, as (P,).

    Args:
        masks: (2, S) starts and ends of each mask on the left.
        shifts: (len(masks),) positions each of them moves, dx * height + dy.
        others: the masks on the right.
        pairs: rows of left and right.
    """
    left, right = pairs
    if not len(left) or not len(others.starts):
        return np.zeros(len(left), np.int64)
    parts = [masks[t] for t in left.tolist()]
    lengths = np.array([part.shape[1] for part in parts])
    query = np.concatenate(parts, axis=1)
    query += np.repeat(shifts[left], lengths)
    np.clip(query, 0, others.pixels, out=query)
    query += np.repeat(right * others.pixels, lengths)
    owner = np.repeat(np.arange(len(others.areas)), np.diff(others.offsets))
    starts = others.starts + owner * others.pixels
    size = others.ends - others.starts
    before = np.cumsum(size) - size
    # Foreground pixels of all masks on the right that lie before each queried position.
    at = np.searchsorted(starts, query, side="right") - 1
    inside = np.minimum(query - starts[at], size[at])
    covered = np.where(at < 0, 0, before[at] + inside)
    shared = covered[1] - covered[0]
    pair = np.repeat(np.arange(len(left)), lengths)
    return np.bincount(pair, weights=shared, minlength=len(left)).astype(np.int64)
