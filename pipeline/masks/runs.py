"""Toggles and runs: the two flat forms of masks, and the way between them.

A *toggle* is a column-major pixel position at which a mask changes between background and
foreground. All masks of a picture share one sorted array of toggles: mask i counts from
`i * stride(size)`, where the stride leaves room for a toggle at the very end of the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stride(size: tuple[int, int]) -> int:
    """Distance between the origins of two masks in one array of toggles."""
    return size[0] * size[1] + 1


def cancel_pairs(toggles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop toggles that undo each other, from a sorted array.

    A run that goes on from the foot of one column into the head of the next comes as two
    toggles at one position.
    """
    same = toggles[1:] == toggles[:-1]
    if not same.any():
        return toggles
    first = np.concatenate([[True], ~same])
    starts = np.flatnonzero(first)
    odd = np.diff(np.append(starts, len(toggles))) % 2 == 1
    return toggles[starts[odd]]


def runs_of_toggles(
    toggles: NDArray[np.int64], count: int, size: tuple[int, int]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Counts and offsets of `count` masks.

    Args:
        toggles: sorted, distinct, an even number a mask (a mask that reaches the last pixel has
            its last toggle there, at height * width).
        count: number of masks; some may have no toggle.
        size: (height, width).

    Returns:
        `counts` uint32 and `offsets` int64 (count + 1,), as `Masks` holds them.
    """
    pixels, step = size[0] * size[1], stride(size)
    origins = np.arange(count, dtype=np.int64) * step
    per_mask = np.diff(np.searchsorted(toggles, np.append(origins, count * step)))
    heads = np.cumsum(per_mask + 2) - (per_mask + 2)  # origin, toggles..., end of every mask
    marks = np.empty(len(toggles) + 2 * count, np.int64)
    inner = np.ones(len(marks), bool)
    tails = heads + per_mask + 1
    inner[heads] = inner[tails] = False
    marks[inner] = toggles
    marks[heads], marks[tails] = origins, origins + pixels
    counts = marks[1:] - marks[:-1] if len(marks) else marks
    keep = np.ones(len(counts), bool)
    keep[tails[:-1]] = False  # from the end of one mask to the origin of the next
    if pixels:
        keep[tails - 1] &= counts[tails - 1] > 0  # the mask reaches the last pixel
    lengths = np.add.reduceat(keep, heads, dtype=np.int64) if count else np.zeros(0, np.int64)
    return counts[keep].astype(np.uint32), np.concatenate([[0], np.cumsum(lengths)])


def toggles_of_runs(
    counts: NDArray[np.uint32], offsets: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.int64]:
    """The sorted toggles of all masks; those at the end of a picture are included.

    Every mask has an even number of them: the end of its last run is left out where that run is
    background.
    """
    if not len(counts):
        return np.zeros(0, np.int64)
    ends = np.cumsum(counts, dtype=np.int64)
    count = len(offsets) - 1
    lengths = np.diff(offsets)
    base = np.concatenate([[0], ends])[offsets[:-1]]
    shift = np.arange(count, dtype=np.int64) * stride(size) - base
    keep = np.ones(len(counts), bool)
    keep[offsets[1:] - 1] = lengths % 2 == 0
    return (ends + np.repeat(shift, lengths))[keep]
