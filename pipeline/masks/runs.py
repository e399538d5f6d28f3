"""Runs and toggles: the two flat forms of masks, and the way between them.

Runs are what `Masks` holds. A *toggle* is a column-major pixel position at which a mask changes
between background and foreground; all masks of a picture share one sorted array of them, in which
mask i counts from `i * stride(size)`: the stride leaves room for a toggle behind the last pixel.
Every mask has an even number of toggles, begin and end of each piece of foreground.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints, Size

_ROOM = 1 << 12
"""Runs more than are needed at first."""


def stride(size: Size) -> int:
    """Distance between the origins of two masks in one array of toggles."""
    return size[0] * size[1] + 1


def spread(first: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Count up from `first[i]`, `lengths[i]` times, for every i.

    Returns:
        Which i each value belongs to, and the values.
    """
    owner = np.repeat(np.arange(len(first)), lengths)
    shift = first - (np.cumsum(lengths) - lengths)
    return owner, np.arange(len(owner)) + shift[owner]


def portions(loads: Ints, limit: int) -> Iterator[slice]:
    """Neighbouring items whose loads add up to about `limit`, or one item that is larger."""
    if len(loads):
        cuts = np.flatnonzero(np.diff(np.cumsum(loads) // limit)) + 1
        yield from (slice(i, j) for i, j in pairwise([0, *cuts.tolist(), len(loads)]))


def cancel_pairs(toggles: Ints) -> Ints:
    """Drop toggles that undo each other from a sorted array.

    A piece that goes on from the foot of one column into the head of the next comes as two
    toggles at one position.
    """
    fresh = np.ones(len(toggles), bool)
    np.not_equal(toggles[1:], toggles[:-1], out=fresh[1:])
    if fresh.all():
        return toggles
    starts = np.flatnonzero(fresh)
    odd = np.diff(starts, append=len(toggles)) % 2 == 1
    kept: Ints = toggles[starts[odd]]
    return kept


def from_toggles(toggles: Ints, n: int, size: Size) -> tuple[NDArray[np.uint32], Ints]:
    """Counts and offsets of `n` masks, as `Masks` holds them.

    Args:
        toggles: sorted, distinct, an even number a mask.
        n: how many masks; some may have no toggle.
        size: (height, width).
    """
    pixels, step = size[0] * size[1], stride(size)
    origins = np.arange(n + 1, dtype=np.int64) * step
    owned = np.diff(np.searchsorted(toggles, origins))
    tails = np.cumsum(owned + 2) - 1
    heads = tails - owned - 1
    # origin, toggles..., end of every mask in a row: the runs are the differences
    inner = np.ones(len(toggles) + 2 * n, bool)
    inner[heads] = inner[tails] = False
    marks = np.empty(len(inner), np.int64)
    marks[inner] = toggles
    marks[heads], marks[tails] = origins[:-1], origins[:-1] + pixels
    counts = np.empty(max(len(marks) - 1, 0), np.uint32)
    np.subtract(marks[1:], marks[:-1], out=counts, casting="unsafe")
    keep = np.ones(len(counts), bool)
    keep[tails[:-1]] = False  # from the end of one mask to the origin of the next
    full = (counts[tails - 1] == 0) & (owned > 0)  # the mask reaches the last pixel
    keep[tails[full] - 1] = False
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(owned + 1 - full, out=offsets[1:])
    return counts[keep], offsets


def counts_of(toggles: Ints, pixels: int) -> NDArray[np.uint32]:
    """The counts of one mask, of its toggles, in a picture of so many pixels."""
    ends = np.empty(len(toggles) + 2, np.int64)
    ends[0], ends[1:-1], ends[-1] = 0, toggles, pixels
    counts = np.empty(len(ends) - 1, np.uint32)
    np.subtract(ends[1:], ends[:-1], out=counts, casting="unsafe")
    return counts if counts[-1] else counts[:-1]


def gathered(masks: Iterable[NDArray[np.uint32]]) -> tuple[NDArray[np.uint32], Ints]:
    """Counts and offsets of masks that come one after another, each let go of before the next.

    They go into one block: many arrays that stay, among what is needed to make each, would leave
    holes. It grows and shrinks where it is, so that there is never a second one beside it.
    """
    found, ends = np.empty(_ROOM, np.uint32), [0]
    for counts in masks:
        ends.append(ends[-1] + len(counts))
        if ends[-1] > len(found):
            found.resize(ends[-1] + max(_ROOM, len(found) // 8), refcheck=False)
        found[ends[-2] : ends[-1]] = counts
        del counts
    found.resize(ends[-1], refcheck=False)
    return found, np.array(ends, np.int64)


def to_toggles(counts: NDArray[np.uint32], offsets: Ints, size: Size) -> Ints:
    """The sorted toggles of all masks."""
    lengths = np.diff(offsets)
    ends = np.cumsum(counts, dtype=np.int64)
    before = np.zeros(len(offsets) - 1, np.int64)
    before[1:] = ends[offsets[1:-1] - 1]
    shift = np.arange(len(lengths), dtype=np.int64) * stride(size) - before
    ends += np.repeat(shift, lengths)
    keep = np.ones(len(ends), bool)
    keep[offsets[1:][lengths % 2 == 1] - 1] = False  # the end of a last run of background
    return ends[keep]


def check_shape(counts: NDArray[np.uint32], offsets: Ints, size: Size) -> None:
    """Raise ValueError where the arrays cannot be masks; costs nothing worth counting."""
    if len(size) != 2 or size[0] < 1 or size[1] < 1:
        raise ValueError(f"Masks.size must be (height, width) of at least one pixel, got {size}")
    if counts.dtype != np.uint32 or counts.ndim != 1:
        raise ValueError(f"Masks.counts must be flat uint32, got {counts.dtype} {counts.shape}")
    if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets):
        raise ValueError(
            f"Masks.offsets must be int64 of shape (N + 1,), got {offsets.dtype} {offsets.shape}"
        )
    if offsets[0] != 0 or offsets[-1] != len(counts):
        raise ValueError(
            f"Masks.offsets must go from 0 to the {len(counts)} counts, "
            f"got {offsets[0]} to {offsets[-1]}"
        )


def check_runs(counts: NDArray[np.uint32], offsets: Ints, size: Size) -> None:
    """Raise ValueError, naming the mask, where runs do not fill the picture exactly once."""
    check_shape(counts, offsets, size)
    lengths = np.diff(offsets)
    if len(lengths) and lengths.min() < 1:
        raise ValueError(f"mask {int(np.argmin(lengths))} has no runs; an empty mask has one")
    if not len(lengths):
        return
    sums = np.add.reduceat(counts, offsets[:-1], dtype=np.int64)
    pixels = size[0] * size[1]
    if (wrong := np.flatnonzero(sums != pixels)).size:
        row = int(wrong[0])
        raise ValueError(
            f"the runs of mask {row} sum to {sums[row]}, but a picture of {size[0]} x {size[1]} "
            f"(height x width) has {pixels} pixels"
        )
    zero = counts == 0
    zero[offsets[:-1]] = False
    if zero.any():
        row = int(np.searchsorted(offsets, np.argmax(zero), side="right")) - 1
        raise ValueError(f"mask {row} has a run of 0 behind its first run")


def areas(counts: NDArray[np.uint32], offsets: Ints) -> Ints:
    """(N,) foreground pixels of each mask."""
    n = len(offsets) - 1
    odd = np.ones(len(counts), np.int64)
    odd[0::2] = 0
    flip = np.repeat(offsets[:-1] % 2, np.diff(offsets))  # masks that begin at an odd index
    odd ^= flip
    odd *= counts
    return np.add.reduceat(odd, offsets[:-1]) if n else odd


@dataclass(frozen=True, slots=True)
class Pieces:
    """The foreground of N masks cut into vertical pieces, none over two columns; (P,) each."""

    n: int
    owner: Ints
    """Which mask a piece belongs to; sorted."""
    column: Ints
    """Sorted within a mask."""
    top: Ints
    behind: Ints
    """The row after the last one."""

    @staticmethod
    def of(toggles: Ints, n: int, size: Size) -> Pieces:
        """Cut the foreground at the foot of every column."""
        height, step = size[0], stride(size)
        begin, last = toggles[0::2], toggles[1::2] - 1
        owner = begin // step
        origin = owner * step
        top, bottom = begin - origin, last - origin
        column, last_column = top // height, bottom // height
        top -= column * height
        bottom -= last_column * height
        if not np.array_equal(column, last_column):
            item, across = spread(column, last_column - column + 1)
            top = np.where(across == column[item], top[item], 0)
            bottom = np.where(across == last_column[item], bottom[item], height - 1)
            owner, column = owner[item], across
        return Pieces(n, owner, column, top, bottom + 1)

    def borders(self) -> Ints:
        """(N + 1,): the pieces of mask i are borders[i]:borders[i + 1]."""
        return np.searchsorted(self.owner, np.arange(self.n + 1))

    def boxes(self) -> Ints:
        """(N, 4) tight xyxy, right and bottom exclusive; zeros for empty masks."""
        borders = self.borders()
        full = np.flatnonzero(borders[1:] > borders[:-1])
        first = borders[full]
        found = np.zeros((self.n, 4), np.int64)
        if len(full):
            found[full, 0] = self.column[first]
            found[full, 1] = np.minimum.reduceat(self.top, first)
            found[full, 2] = self.column[borders[full + 1] - 1] + 1
            found[full, 3] = np.maximum.reduceat(self.behind, first)
        return found
