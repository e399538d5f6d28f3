"""Set operations on masks as sweeps over sorted toggles: nothing is painted.

A sweep sorts the toggles of the masks that meet and counts, from one position to the next, how
many of them are open.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints, Size
from pipeline.masks.runs import Pieces, cancel_pairs, portions, spread, stride

TOGGLES_AT_A_TIME = 1 << 14
"""Few enough that the arrays of one sweep stay in the cache."""


def without(own: Ints, others: Ints, pairs: tuple[Ints, Ints], n: int, size: Size) -> Ints:
    """Toggles of `n` masks, each without the masks it is paired with.

    Args:
        own: toggles of the `n` masks.
        others: toggles of the masks to take away.
        pairs: (rows of `own`, rows of `others`), sorted by the first.
        n: how many masks.
        size: (height, width) of both.
    """
    step = stride(size)
    first, count = _stretches(own, np.arange(n), step)
    first_other, count_other = _stretches(others, pairs[1], step)
    load = count + np.bincount(pairs[0], weights=count_other, minlength=n).astype(np.int64)
    parts = []
    for some in portions(load, TOGGLES_AT_A_TIME):
        mine = slice(*np.searchsorted(pairs[0], [some.start, some.stop]).tolist())
        item, at = spread(first_other[mine], count_other[mine])
        group, other = pairs[0][mine][item], pairs[1][mine][item]
        lost = others[at] + (group - other) * step
        _, kept_at = spread(first[some], count[some])
        kept = own[kept_at]
        opens = np.arange(len(lost)) % 2 == 0
        keys = np.concatenate([kept << 2, (lost << 2) | np.where(opens, 1, 2)])
        keys.sort()
        kind = keys & 3
        on = (np.cumsum(kind == 0) % 2 == 1) & (
            np.cumsum((kind == 1).astype(int) - (kind == 2)) == 0
        )
        parts.append(_changes(keys >> 2, on))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def union(toggles: Ints, size: Size) -> Ints:
    """Toggles of one mask that has every pixel any of the masks has."""
    step = stride(size)
    opens = np.arange(len(toggles)) % 2 == 0
    keys = ((toggles % step) << 1) | opens
    keys.sort()
    return _changes(keys >> 1, np.cumsum(2 * (keys & 1) - 1) > 0)


def moved(pieces: Pieces, dx: Ints, dy: Ints, size: Size) -> Ints:
    """Toggles of masks moved by whole pixels, (N,) each; what leaves the picture is cut off."""
    height, width = size
    column = pieces.column + dx[pieces.owner]
    down = dy[pieces.owner]
    top = np.maximum(pieces.top + down, 0)
    behind = np.minimum(pieces.behind + down, height)
    base = pieces.owner * stride(size) + column * height
    ends = np.stack([base + top, base + behind], axis=1)
    return cancel_pairs(ends[(top < behind) & (column >= 0) & (column < width)].reshape(-1))


def _stretches(toggles: Ints, rows: Ints, step: int) -> tuple[Ints, Ints]:
    """Where the toggles of these masks begin, and how many there are."""
    bounds = np.searchsorted(toggles, np.stack([rows, rows + 1]) * step)
    return bounds[0], bounds[1] - bounds[0]


def _changes(place: Ints, on: NDArray[np.bool_]) -> Ints:
    """Toggles from the states behind sorted positions; of equal positions the last one counts."""
    final = np.ones(len(place), bool)
    np.not_equal(place[1:], place[:-1], out=final[:-1])
    place, on = place[final], on[final]
    return place[np.diff(on, prepend=False)]
