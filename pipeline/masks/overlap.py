"""Set operations on masks as sweeps over sorted toggles: nothing is painted.

A sweep sorts the toggles of the masks that meet and counts, from one position to the next, how
many of them are open. Only masks whose boxes meet are ever brought together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.masks.runs import Ints, Size, cancel_pairs, portions, spread, stride

TOGGLES_AT_A_TIME = 1 << 18


def touching(a: Ints, b: Ints) -> NDArray[np.bool_]:
    """Which boxes (N, 4) and (M, 4) share a pixel, as (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    meet = low < high
    return np.asarray(meet[..., 0] & meet[..., 1])


def shared(a: Ints, b: Ints, rows: Ints, columns: Ints, size: Size) -> Ints:
    """Pixels that mask `rows[k]` of `a` and mask `columns[k]` of `b` share, as (P,).

    Args:
        a: toggles of the masks on the left.
        b: toggles of those on the right.
        rows: (P,) which of `a`.
        columns: (P,) which of `b`.
        size: (height, width) of both.
    """
    result = np.zeros(len(rows), np.int64)
    step = stride(size)
    first_a, count_a = _stretches(a, rows, step)
    first_b, count_b = _stretches(b, columns, step)
    for some in portions(count_a + count_b, TOGGLES_AT_A_TIME):
        pairs = np.arange(some.stop - some.start)
        owner_a, at_a = spread(first_a[some], count_a[some])
        owner_b, at_b = spread(first_b[some], count_b[some])
        left = a[at_a] + ((pairs - rows[some]) * step)[owner_a]
        right = b[at_b] + ((pairs - columns[some]) * step)[owner_b]
        # one sort of 64-bit numbers, whose lowest bit says which side they come from
        keys = np.concatenate([left << 1, (right << 1) | 1])
        keys.sort()
        side, place = keys & 1, keys >> 1
        # toggles are even in number for every mask, so the counts go on over all pairs
        inside_b = np.cumsum(side)
        both = inside_b & (np.arange(1, len(keys) + 1) - inside_b) & 1
        length = np.zeros(len(keys), np.int64)
        np.multiply(np.diff(place), both[:-1], out=length[:-1])
        total = count_a[some] + count_b[some]
        starts = np.cumsum(total) - total
        filled = total > 0
        result[some][filled] = np.add.reduceat(length, starts[filled])
    return result


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


def moved(toggles: Ints, dx: Ints, dy: Ints, size: Size) -> Ints:
    """Toggles of masks moved by whole pixels, (N,) each; what leaves the picture is cut off."""
    height, width = size
    step = stride(size)
    begin, last = toggles[0::2], toggles[1::2] - 1
    owner = begin // step
    origin = owner * step
    column, top = np.divmod(begin - origin, height)
    last_column, bottom = np.divmod(last - origin, height)
    if (column != last_column).any():  # a piece per column, so that each can be cut
        item, across = spread(column, last_column - column + 1)
        top = np.where(across == column[item], top[item], 0)
        bottom = np.where(across == last_column[item], bottom[item], height - 1)
        owner, origin, column = owner[item], origin[item], across
    column = column + dx[owner]
    top = np.maximum(top + dy[owner], 0)
    behind = np.minimum(bottom + 1 + dy[owner], height)
    seen = (top < behind) & (column >= 0) & (column < width)
    base = origin + column * height
    return cancel_pairs(np.stack([base + top, base + behind], axis=1)[seen].reshape(-1))


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
