"""From RoI probabilities and boxes straight to toggles, without painting a picture.

Pixel-equal to torchvision's `paste_masks_in_image(..., padding=1) > 0.5` on a CPU with fused
multiply-add. Between two rows of the padded mask the interpolation is linear, so in every column
of the picture each such *span* is all on, all off, or crosses 0.5. Only the pixels beside a
crossing are evaluated, in exactly the float32 steps of torch's kernels: the work grows with the
widths of the boxes, not with their areas, and memory with the number of columns taken at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Bools, Floats, Ints
from pipeline.masks.runs import cancel_pairs, portions, spread, stride

_Singles: TypeAlias = NDArray[np.float32]

COLUMNS_AT_A_TIME = 4096
PIXELS_AT_A_TIME = 1 << 17
SMALL = 128
"""Up to this height + width of the box torch takes another kernel, which rounds otherwise."""
ROUNDING = 1e-6
"""More than the float32 steps can be off for values in [0, 1]: four roundings of 6e-8."""
HALF = np.float32(0.5)


def paste_toggles(probabilities: _Singles, boxes: _Singles, size: tuple[int, int]) -> Ints:
    """Sorted toggles of N masks (see `pipeline.masks.runs`).

    Args:
        probabilities: (N, M, M) finite.
        boxes: (N, 4) xyxy in pixels of the picture, finite; they may reach out of it.
        size: (height, width) of the picture.
    """
    n, taps = len(probabilities), probabilities.shape[-1] + 2
    padded = np.zeros((n, taps, taps), np.float32)
    padded[:, 1:-1, 1:-1] = probabilities.transpose(0, 2, 1)
    x0, y0, x1, y1 = _expanded(boxes, np.float32(taps / (taps - 2)))
    width, height = np.maximum(x1 - x0 + 1, 1), np.maximum(y1 - y0 + 1, 1)
    small = width + height <= SMALL
    columns = _Axis.of(x0, x1, width, taps, size[1])
    rows = _Axis.of(y0, y1, height, taps, size[0])
    spans = _Spans.of(rows, y0, height, taps)
    strips = [
        _Strip(padded, columns, rows, spans, small, size, slice(i, i + COLUMNS_AT_A_TIME)).toggles()
        for i in range(0, len(columns.line), COLUMNS_AT_A_TIME)
    ]
    return cancel_pairs(np.concatenate(strips)) if strips else np.zeros(0, np.int64)


def _expanded(boxes: _Singles, scale: np.float32) -> list[Ints]:
    """Expand as torchvision's `expand_boxes` does, step by step in float32, and truncate."""
    x0, y0, x1, y1 = boxes.T
    half_w, half_h = (x1 - x0) * HALF * scale, (y1 - y0) * HALF * scale
    x, y = (x1 + x0) * HALF, (y1 + y0) * HALF
    return [edge.astype(np.int64) for edge in (x - half_w, y - half_h, x + half_w, y + half_h)]


def _fused(a: _Singles, b: _Singles, c: _Singles | np.float32) -> _Singles:
    """Compute a * b + c with one rounding: a product of two float32 is exact in float64."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Axis:
    """The output lines (columns or rows) of all boxes that lie in the picture.

    They stand one after another, with how torch weighs the two mask lines around each.
    """

    owner: Ints
    line: Ints
    """Coordinate in the picture."""
    tap: Ints
    """The mask's line before; the other is the next one, or the same at the end."""
    weight0: _Singles
    weight1: _Singles
    starts: Ints
    """(N + 1,): the lines of box i are starts[i]:starts[i + 1]."""

    @staticmethod
    def of(low: Ints, high: Ints, length: Ints, taps: int, limit: int) -> _Axis:
        first = np.maximum(low, 0)
        visible = np.maximum(np.minimum(high + 1, limit) - first, 0)
        starts = np.concatenate([[0], np.cumsum(visible)])
        owner = np.repeat(np.arange(len(low)), visible)
        line = np.arange(starts[-1]) + np.repeat(first - starts[:-1], visible)
        scale = (np.float32(taps) / length.astype(np.float32))[owner]
        centre = (line - low[owner]).astype(np.float32) + HALF
        # both of torch's kernels are compiled to a fused multiply-subtract
        at = np.maximum(_fused(scale, centre, -HALF), np.float32(0))
        tap = np.minimum(at.astype(np.int64), taps - 1)
        weight1 = np.clip(at - tap.astype(np.float32), np.float32(0), np.float32(1))
        return _Axis(owner, line, tap, np.float32(1) - weight1, weight1, starts)


@dataclass(frozen=True, slots=True)
class _Spans:
    """The rows of each box grouped by their first tap.

    A box with fewer rows than taps skips spans; it counts as one span, evaluated pixel by pixel.
    """

    edges: Ints
    """(N, taps + 1): the rows of span g are edges[g]:edges[g + 1] in the row axis."""
    filled: Bools
    """(N, taps): the span has rows in the picture."""
    low: Bools
    """(N,): the box is one span."""
    rate: Floats
    """(N,) taps per row."""
    origin: Floats
    """(N,) where in the row axis the box's first row is, or would be if it were visible."""

    @staticmethod
    def of(rows: _Axis, y0: Ints, height: Ints, taps: int) -> _Spans:
        n = len(y0)
        counted = np.bincount(rows.owner * taps + rows.tap, minlength=n * taps).reshape(n, taps)
        low = height < taps
        counted[low, 0] = counted[low].sum(axis=1)
        counted[low, 1:] = 0
        edges = np.concatenate([rows.starts[:-1, None], counted], axis=1).cumsum(axis=1)
        origin = (rows.starts[:-1] - np.maximum(-y0, 0)).astype(np.float64)
        return _Spans(edges, counted > 0, low, taps / height, origin)


class _Strip:
    """Some neighbouring columns, possibly of several boxes."""

    def __init__(
        self,
        padded: _Singles,
        columns: _Axis,
        rows: _Axis,
        spans: _Spans,
        small: Bools,
        size: tuple[int, int],
        part: slice,
    ) -> None:
        self._owner = columns.owner[part]
        self._origin = self._owner * stride(size) + columns.line[part] * size[0]
        self._weight0, self._weight1 = columns.weight0[part], columns.weight1[part]
        tap = columns.tap[part]
        self._left = padded[self._owner, tap]  # (columns, taps)
        self._right = padded[self._owner, np.minimum(tap + 1, padded.shape[1] - 1)]
        self._rows, self._spans, self._small = rows, spans, small

    def toggles(self) -> Ints:
        """The sorted toggles; every column begins and ends as background."""
        values = self._left * self._weight0[:, None]
        values += self._right * self._weight1[:, None]
        margin = ROUNDING * max(1.0, float(np.abs(values).max(initial=0)))
        starts, mixed = self._classify(values, np.float32(margin))
        ends = starts.copy()
        found = []
        column, span = np.nonzero(mixed)
        first, last = self._beside_crossings(column, span, values, 2 * margin)
        for some in portions(last - first + 1, PIXELS_AT_A_TIME):
            item, row = spread(first[some], last[some] - first[some] + 1)
            item += some.start
            on = self._evaluate(column[item], row)
            new = np.flatnonzero(on[1:] != on[:-1]) + 1
            new = new[item[new] == item[new - 1]]
            found.append(self._origin[column[item[new]]] + self._rows.line[row[new]])
            closes = np.cumsum(last[some] - first[some] + 1) - 1
            ends[column[some], span[some]] = on[closes]
            starts[column[some], span[some]] = on[closes - (last[some] - first[some])]
        found.append(self._between(starts, ends))
        return np.sort(np.concatenate(found), kind="stable")  # a merge of sorted stretches

    def _classify(self, values: _Singles, margin: np.float32) -> tuple[Bools, Bools]:
        """Which spans are on everywhere, and which have to be looked at; both (columns, taps)."""
        above, maybe = values > HALF + margin, values >= HALF - margin
        filled, low = self._spans.filled[self._owner], self._spans.low[self._owner]
        on, mixed = above & filled, maybe.copy()
        on[:, :-1] &= above[:, 1:]
        mixed[:, :-1] |= maybe[:, 1:]
        on[low] = False
        mixed[low] = True
        mixed &= filled
        mixed &= ~on
        return on, mixed

    def _beside_crossings(
        self, column: Ints, span: Ints, values: _Singles, margin: float
    ) -> tuple[Ints, Ints]:
        """First and last row to evaluate in each span; outside of them the state is theirs."""
        spans, owner = self._spans, self._owner[column]
        here = values[column, span].astype(np.float64)
        rise = values[column, np.minimum(span + 1, values.shape[1] - 1)] - here
        rise = np.where(np.abs(rise) < 1e-12, 1e-12, rise)
        rate = spans.rate[owner]
        middle = (span + (0.5 - here) / rise + 0.5) / rate - 0.5 + spans.origin[owner]
        # float32 tap coordinates are off by up to an ulp of the largest tap
        reach = (margin / np.abs(rise) + values.shape[1] * 2.0**-20) / rate
        begin, end = spans.edges[owner, span], spans.edges[owner, span + 1] - 1
        low = spans.low[owner]
        first = np.where(low, begin, np.clip(np.floor(middle - reach), begin, end).astype(np.int64))
        last = np.where(low, end, np.clip(np.ceil(middle + reach), begin, end).astype(np.int64))
        return first, last

    def _evaluate(self, column: Ints, row: Ints) -> Bools:
        """Whether pixels are above 0.5, in torch's own float32 steps."""
        tap, u0, u1 = self._rows.tap[row], self._rows.weight0[row], self._rows.weight1[row]
        after = np.minimum(tap + 1, self._left.shape[1] - 1)
        w0, w1 = self._weight0[column], self._weight1[column]
        a, b = self._left[column, tap], self._right[column, tap]
        c, d = self._left[column, after], self._right[column, after]
        value = _fused(_fused(a, w0, b * w1), u0, _fused(c, w0, d * w1) * u1)
        k = np.flatnonzero(self._small[self._owner[column]])
        if len(k):
            a, b, c, d, w0, w1, u0, u1 = (v[k] for v in (a, b, c, d, w0, w1, u0, u1))
            four = _fused(a, u0 * w0, b * (u0 * w1))
            value[k] = _fused(d, u1 * w1, _fused(c, u1 * w0, four))
        return value > HALF

    def _between(self, starts: Bools, ends: Bools) -> Ints:
        """Toggles on the borders between spans."""
        changes = np.zeros((len(starts), starts.shape[1] + 1), bool)
        changes[:, :-1] = starts
        changes[:, 1:] ^= ends
        column, span = np.nonzero(changes)
        owner = self._owner[column]
        above = self._rows.starts[owner]
        y = self._spans.edges[owner, span] - above + self._rows.line[above]
        return self._origin[column] + y
