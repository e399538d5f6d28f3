"""Maps of a whole picture to masks of its own size: enlarged and cut at 0.5 strip by strip.

Interpolation is linear along each axis, so any chain of enlargements and cuts is one matrix an
axis: rows @ map @ columns. Where no number of a map is above 0.5 no pixel is either; only the box
around those that are is enlarged, some columns at a time, and becomes runs at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Ints
from pipeline.masks import Masks
from pipeline.models.shared.raster import Strip, masks_of_strips

PIXELS_AT_A_TIME = 1 << 20
"""Of a strip: 4 MB in fp32, and a quarter of that beside it."""
ROWS_AT_A_TIME = 128
"""Of these: rows near each other are made of few."""


def half_pixel(given: int, wanted: int, of: Tensor | None = None) -> Tensor:
    """(wanted, given) float64: bilinear interpolation as torch does it without aligned corners.

    Args:
        given: lines there are.
        wanted: lines there are to be.
        of: (given, n), what these lines are made of themselves, for (wanted, n): the product,
            without a matrix of lines that are mostly 0. None: of nothing else.
    """
    at = (torch.arange(wanted, dtype=torch.float64) + 0.5) * (given / wanted) - 0.5
    return _between(torch.eye(given, dtype=torch.float64) if of is None else of, at)


def aligned_to_first(given: int, factor: int) -> Tensor:
    """(factor * given, given) float64: pixel i is taken at (i - factor // 2) / factor."""
    at = (torch.arange(factor * given, dtype=torch.float64) - factor // 2) / factor
    return _between(torch.eye(given, dtype=torch.float64), at)


def _between(lines: Tensor, at: Tensor) -> Tensor:
    """A row for each place between lines; those beyond a border are the line on it."""
    last = len(lines) - 1
    at = at.clamp(0, last)
    first = at.long().clamp(max=max(last - 1, 0))
    share = (at - first)[:, None]
    return lines[first].mul_(1 - share).addcmul_(lines[(first + 1).clamp(max=last)], share)


class Enlarging:
    """From maps (N, h, w) to masks of one picture, the matrices made once.

    Args:
        rows: (H, h), what each row of the picture is made of; non-negative, each row sums to 1.
        columns: (W, w).
        device: that has the maps.
    """

    def __init__(self, rows: Tensor, columns: Tensor, device: torch.device) -> None:
        self._size = (len(rows), len(columns))
        self._rows, self._columns = (_Axis(matrix, device) for matrix in (rows, columns))

    def masks(self, maps: Iterable[Tensor]) -> Masks:
        """Where enlarged maps are above 0.5.

        Args:
            maps: (h, w) float32 in [0, 1] each; one is let go of before the next is asked for.
        """
        return masks_of_strips((self._strips(one) for one in maps), self._size)

    def _strips(self, one: Tensor) -> Iterator[Strip]:
        above = one > 0.5
        top, bottom = self._rows.reached(above.any(dim=1))
        left, right = self._columns.reached(above.any(dim=0))
        if top == bottom or left == right:
            return
        step = max(1, PIXELS_AT_A_TIME // (bottom - top))
        for x in range(left, right, step):
            across, x0, x1 = self._columns.part(x, min(x + step, right))
            strip = one.new_empty((bottom - top, len(across)))
            for y in range(top, bottom, ROWS_AT_A_TIME):
                down, y0, y1 = self._rows.part(y, min(y + ROWS_AT_A_TIME, bottom))
                lines = strip[y - top : y - top + len(down)]
                torch.mm(down, one[y0:y1, x0:x1] @ across.T, out=lines)
            yield x, top, strip > 0.5


class _Axis:
    """A matrix along one axis, and which of its rows and columns meet."""

    def __init__(self, matrix: Tensor, device: torch.device) -> None:
        self._matrix = matrix.to(device, torch.float32)
        meet = (matrix > 0).to(torch.uint8)
        self._first: Ints = meet.argmax(dim=1).numpy()
        self._last: Ints = matrix.shape[1] - 1 - meet.flip(1).argmax(dim=1).numpy()

    def reached(self, taps: Tensor) -> tuple[int, int]:
        """Lines of the picture with a share in any of the given ones, first and behind the last."""
        there = np.flatnonzero(taps.cpu().numpy())
        if not len(there):
            return 0, 0
        lines = np.flatnonzero((self._last >= there[0]) & (self._first <= there[-1]))
        return (int(lines[0]), int(lines[-1]) + 1) if len(lines) else (0, 0)

    def part(self, first: int, behind: int) -> tuple[Tensor, int, int]:
        """The matrix of some lines, cut to the taps they have: from where, to behind where."""
        low, high = int(self._first[first]), int(self._last[behind - 1]) + 1
        return self._matrix[first:behind, low:high], low, high
