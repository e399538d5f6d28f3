"""Small maps scaled up bilinearly and cut at 0.5: straight to toggles, no picture is painted.

Pixel-equal to torch's bilinear interpolation without aligned corners, `> 0.5`, on a CPU with fused
multiply-add. Between two rows of a map the interpolation is linear, so in every column of the
picture each such *span* is all on, all off, or crosses 0.5. Only the pixels beside a crossing are
evaluated, in exactly the float32 steps of torch's kernels: the work grows with the widths of what
is enlarged, not with its areas, and memory with the number of columns taken at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats, Ints, Singles, Size
from pipeline.masks.runs import cancel_pairs, portions, spread, stride

COLUMNS_AT_A_TIME = 4096
PIXELS_AT_A_TIME = 1 << 17
SMALL = 128
"""Up to this height + width of the enlarged map torch takes another kernel, which rounds
otherwise."""
ROUNDING = 1e-6
"""More than the float32 steps can be off for values in [0, 1]: four roundings of 6e-8."""
HALF = np.float32(0.5)


def enlarged_toggles(maps: Singles, columns: Lines, rows: Lines, size: Size) -> Ints:
    """Sorted toggles of N enlarged maps (see `pipeline.masks.runs`).

    Args:
        maps: (N, width, height) finite: their columns stand one after another.
        columns: where the enlarged maps lie in the picture, and which part of them is looked at.
        rows: the same from top to bottom.
        size: (height, width) of the picture.
    """
    small = columns.length + rows.length <= SMALL
    across, down = Axis.of(columns, maps.shape[1]), Axis.of(rows, maps.shape[2])
    return rasterised(maps, across, down, small, size)


def rasterised(maps: Singles, across: Axis, down: Axis, small: Bools | None, size: Size) -> Ints:
    """Toggles of maps whose columns and rows are weighed already.

    Args:
        maps: see `enlarged_toggles`.
        across: columns of the picture.
        down: rows of the picture.
        small: (N,) which maps torch enlarges by its other kernel; None: they are sampled by its
            `grid_sample`, and 0.5 counts as on.
        size: (height, width) of the picture.
    """
    spans = _Spans.of(down, maps.shape[2])
    strips = [
        _Strip(maps, across, down, spans, small, size, slice(i, i + COLUMNS_AT_A_TIME)).toggles()
        for i in range(0, len(across.line), COLUMNS_AT_A_TIME)
    ]
    return cancel_pairs(np.concatenate(strips)) if strips else np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Lines:
    """Where N maps come to lie along one axis of the picture; (N,) each."""

    low: Ints
    """Coordinate of the first line; may be negative."""
    length: Ints
    """How many lines a map is enlarged to, at least one."""
    first: Ints
    """Of the lines in the picture, the first that is looked at."""
    behind: Ints
    """The one behind the last that is looked at; the map is taken to be off elsewhere."""


def fused(a: Singles, b: Singles | np.float32, c: Singles | np.float32) -> Singles:
    """Compute a * b + c with one rounding: a product of two float32 is exact in float64."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Axis:
    """The output lines (columns or rows) of all maps that lie in the picture.

    They stand one after another, with how torch weighs the two mask lines around each.
    """

    owner: Ints
    line: Ints
    """Coordinate in the picture."""
    tap: Ints
    """The mask's line before; the other is the next one, or the same at the end."""
    weight0: Singles
    weight1: Singles
    starts: Ints
    """(N + 1,): the lines of map i are starts[i]:starts[i + 1]."""
    length: Floats
    """(N,) lines a map covers."""
    ahead: Floats
    """(N,) where a map begins, counted in lines from the first that is looked at."""

    @staticmethod
    def of(lines: Lines, taps: int) -> Axis:
        """Weighed as torch's interpolation does."""
        owner, line, starts = spread_out(lines.first, lines.behind)
        scale = (np.float32(taps) / lines.length.astype(np.float32))[owner]
        centre = (line - lines.low[owner]).astype(np.float32) + HALF
        # both of torch's kernels are compiled to a fused multiply-subtract
        at = np.maximum(fused(scale, centre, -HALF), np.float32(0))
        tap = np.minimum(at.astype(np.int64), taps - 1)
        weight1 = np.clip(at - tap.astype(np.float32), np.float32(0), np.float32(1))
        length, ahead = lines.length.astype(np.float64), (lines.low - lines.first).astype(float)
        return Axis(owner, line, tap, np.float32(1) - weight1, weight1, starts, length, ahead)


def spread_out(first: Ints, behind: Ints) -> tuple[Ints, Ints, Ints]:
    """The lines first..behind of N maps one after another.

    Returns:
        Whose each line is, its coordinate, and where each map's lines begin, (N + 1,).
    """
    visible = np.maximum(behind - first, 0)
    starts = np.concatenate([[0], np.cumsum(visible)])
    owner = np.repeat(np.arange(len(visible)), visible)
    return owner, np.arange(starts[-1]) + np.repeat(first - starts[:-1], visible), starts


@dataclass(frozen=True, slots=True)
class _Spans:
    """The rows of each enlarged map grouped by their first tap.

    One with fewer rows than taps skips spans; it counts as one span, evaluated pixel by pixel.
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
    def of(rows: Axis, taps: int) -> _Spans:
        n = len(rows.length)
        counted = np.bincount(rows.owner * taps + rows.tap, minlength=n * taps).reshape(n, taps)
        low = rows.length < taps
        counted[low, 0] = counted[low].sum(axis=1)
        counted[low, 1:] = 0
        edges = np.concatenate([rows.starts[:-1, None], counted], axis=1).cumsum(axis=1)
        origin = rows.starts[:-1] + rows.ahead
        return _Spans(edges, counted > 0, low, taps / rows.length, origin)


class _Strip:
    """Some neighbouring columns, possibly of several boxes."""

    def __init__(
        self,
        maps: Singles,
        columns: Axis,
        rows: Axis,
        spans: _Spans,
        small: Bools | None,
        size: Size,
        part: slice,
    ) -> None:
        self._owner = columns.owner[part]
        self._origin = self._owner * stride(size) + columns.line[part] * size[0]
        self._weight0, self._weight1 = columns.weight0[part], columns.weight1[part]
        tap = columns.tap[part]
        self._left = maps[self._owner, tap]  # (columns, taps)
        self._right = maps[self._owner, np.minimum(tap + 1, maps.shape[1] - 1)]
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

    def _classify(self, values: Singles, margin: np.float32) -> tuple[Bools, Bools]:
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
        self, column: Ints, span: Ints, values: Singles, margin: float
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
        """Whether pixels are on, in torch's own float32 steps."""
        tap, u0, u1 = self._rows.tap[row], self._rows.weight0[row], self._rows.weight1[row]
        after = np.minimum(tap + 1, self._left.shape[1] - 1)
        w0, w1 = self._weight0[column], self._weight1[column]
        a, b = self._left[column, tap], self._right[column, tap]
        c, d = self._left[column, after], self._right[column, after]
        if self._small is None:
            two = fused(b, w1 * u0, a * (w0 * u0))
            return fused(d, w1 * u1, fused(c, w0 * u1, two)) >= HALF
        value = fused(fused(a, w0, b * w1), u0, fused(c, w0, d * w1) * u1)
        k = np.flatnonzero(self._small[self._owner[column]])
        if len(k):
            a, b, c, d, w0, w1, u0, u1 = (v[k] for v in (a, b, c, d, w0, w1, u0, u1))
            four = fused(a, u0 * w0, b * (u0 * w1))
            value[k] = fused(d, u1 * w1, fused(c, u1 * w0, four))
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
