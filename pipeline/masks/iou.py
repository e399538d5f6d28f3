"""How many pixels masks share: their pieces are joined column by column, nothing is painted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Ints
from pipeline.masks.runs import Pieces, portions, spread

PIECES_AT_A_TIME = 1 << 15
"""Few enough that the arrays of one join stay in the cache."""


def touching(a: Ints, b: Ints) -> NDArray[np.bool_]:
    """Which boxes (N, 4) and (M, 4) share a pixel, as (N, M)."""
    meet = np.maximum(a[:, None, :2], b[None, :, :2]) < np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(meet[..., 0] & meet[..., 1])


class Columns:
    """The pieces of N masks with an index of their columns."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.boxes = pieces.boxes()
        """(N, 4) tight xyxy."""
        widths = self.boxes[:, 2] - self.boxes[:, 0] + 1  # one entry more: the end of the last
        ends = np.cumsum(widths)
        self._origin = ends - widths - self.boxes[:, 0]
        entries = np.bincount(
            self._origin[pieces.owner] + pieces.column + 1,
            minlength=int(ends[-1] if len(ends) else 0),
        )
        self._index = np.cumsum(entries)

    def first(self, masks: Ints, columns: Ints) -> Ints:
        """The first piece of a mask at or right of a column of its box."""
        return np.asarray(self._index[self._origin[masks] + columns])


def intersections(a: Columns, b: Columns) -> Ints:
    """(N, M) shared pixels; only masks whose boxes meet are looked at."""
    result = np.zeros((a.pieces.n, b.pieces.n), np.int64)
    rows, columns = np.nonzero(touching(a.boxes, b.boxes))
    result[rows, columns] = shared(a, b, rows, columns)
    return result


def shared(a: Columns, b: Columns, rows: Ints, columns: Ints) -> Ints:
    """Pixels that mask `rows[k]` of `a` and mask `columns[k]` of `b` share, as (P,).

    The boxes of each pair must meet.
    """
    left = np.maximum(a.boxes[rows, 0], b.boxes[columns, 0])
    right = np.minimum(a.boxes[rows, 2], b.boxes[columns, 2])
    begin = a.first(rows, left)
    count = a.first(rows, right) - begin
    result = np.zeros(len(rows), np.int64)
    for some in portions(count, PIECES_AT_A_TIME):
        pair, mine = spread(begin[some], count[some])
        other, column = columns[some][pair], a.pieces.column[mine]
        other_begin = b.first(other, column)
        other_count = b.first(other, column + 1) - other_begin
        for part in portions(other_count, PIECES_AT_A_TIME):
            item, theirs = spread(other_begin[part], other_count[part])
            top = np.maximum(a.pieces.top[mine[part]][item], b.pieces.top[theirs])
            behind = np.minimum(a.pieces.behind[mine[part]][item], b.pieces.behind[theirs])
            pixels = np.maximum(behind - top, 0)
            found = np.bincount(pair[part][item], weights=pixels, minlength=some.stop - some.start)
            result[some] += found.astype(np.int64)
    return result
