# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
"""Masks from probabilities to runs on the GPU; the twin of `Masks.paste`.

One program goes down one column of one box and compares every pixel with the one above it; where
they differ is a *toggle* (see `pipeline.masks.runs`). A first pass counts, a sum over the counts
gives every column its place, a second pass writes. Only toggles go to the host: about 2 kB a mask
where a full-HD mask is 2 MB. The toggles are the twin's: where a value is not clearly on one side
of 0.5 it is computed in the twin's own steps. (Tested with Triton's interpreter and compiled for
every card without one; `kernels.py` compares it with its twin on the device before it is used.)
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.masks.bilinear import SMALL

_ROWS_AT_A_TIME = 128
_SMALL = tl.constexpr(SMALL)
_CLEARLY = tl.constexpr(1e-5)
"""Farther from 0.5 a float32 result of any order of operations is on the right side."""


@triton.jit
def _fused(a, b, c):
    """Give a * b + c as the twin does: with the product exact in float64."""
    return (a.to(tl.float64) * b.to(tl.float64) + c.to(tl.float64)).to(tl.float32)


@triton.jit
def _axis(line, low, scale, taps: tl.constexpr):
    """Along one axis: both mask lines around `line`, and the weight of the second."""
    centre = (line - low).to(tl.float32) + 0.5
    once = (scale.to(tl.float64) * centre.to(tl.float64) - 0.5).to(tl.float32)
    at = tl.maximum(once, 0.0)
    before = tl.minimum(at.to(tl.int32), taps - 1)
    share = tl.minimum(tl.maximum(at - before.to(tl.float32), 0.0), 1.0)
    return before, tl.minimum(before + 1, taps - 1), share


@triton.jit
def _exact(a, b, c, d, w0, w1, u0, u1, small):
    """The interpolated value in the twin's steps, which are other ones in small boxes."""
    value = _fused(_fused(a, w0, b * w1), u0, _fused(c, w0, d * w1) * u1)
    four = _fused(a, u0 * w0, b * (u0 * w1))
    return tl.where(small, _fused(d, u1 * w1, _fused(c, u1 * w0, four)), value)


@triton.jit
def _inside(mask, y, y0, scale_y, upper, last, left, right, dx, small, taps: tl.constexpr):
    """Whether the interpolated probability at rows `y` of one column is above 0.5."""
    above, below, dy = _axis(tl.maximum(y, y0), y0, scale_y, taps)
    there = (y >= upper) & (y < last)
    a = tl.load(mask + above * taps + left, there, other=0.0)
    b = tl.load(mask + above * taps + right, there, other=0.0)
    c = tl.load(mask + below * taps + left, there, other=0.0)
    d = tl.load(mask + below * taps + right, there, other=0.0)
    value = (1 - dy) * ((1 - dx) * a + dx * b) + dy * ((1 - dx) * c + dx * d)
    doubtful = there & (tl.abs(value - 0.5) < _CLEARLY)
    if tl.max(doubtful.to(tl.int32), axis=0) > 0:
        exact = _exact(a, b, c, d, 1 - dx, dx, 1 - dy, dy, small)
        value = tl.where(doubtful, exact, value)
    return (value > 0.5) & there


@triton.jit
def _columns(
    masks, corners, sizes, counts, places, toggles, columns, capacity,
    taps: tl.constexpr, block: tl.constexpr, writing: tl.constexpr,
):  # fmt: skip
    """One column of one box: count its toggles, or write them."""
    n = tl.program_id(1)  # few; columns may be more than a grid has room for in its second place
    x0 = tl.load(corners + n * 4)
    y0 = tl.load(corners + n * 4 + 1)
    x1 = tl.load(corners + n * 4 + 2)
    y1 = tl.load(corners + n * 4 + 3)
    height = tl.load(sizes + n * 2)
    width = tl.load(sizes + n * 2 + 1)
    x = tl.maximum(x0, 0) + tl.program_id(0)
    upper = tl.maximum(y0, 0)
    last = tl.where(x < tl.minimum(x1 + 1, width), tl.minimum(y1 + 1, height), upper)
    box_width, box_height = tl.maximum(x1 - x0 + 1, 1), tl.maximum(y1 - y0 + 1, 1)
    small = box_width + box_height <= _SMALL
    scale_x = tl.div_rn(taps * 1.0, box_width.to(tl.float32))
    scale_y = tl.div_rn(taps * 1.0, box_height.to(tl.float32))
    left, right, dx = _axis(x, x0, scale_x, taps)
    mask = masks + n * taps * taps
    column = n * columns + tl.program_id(0)
    place = tl.load(places + column)
    found = 0
    for start in range(upper, last + 1, block):
        y = start + tl.arange(0, block)
        on = _inside(mask, y, y0, scale_y, upper, last, left, right, dx, small, taps)
        before = _inside(mask, y - 1, y0, scale_y, upper, last, left, right, dx, small, taps)
        change = (on != before) & (y <= last)
        if writing:
            order = place + found + tl.cumsum(change.to(tl.int32), axis=0) - 1
            tl.store(toggles + order, x * height + y, change & (order < capacity))
        found += tl.sum(change.to(tl.int32), axis=0)
    if not writing:
        tl.store(counts + column, found)


def paste(
    probabilities: Tensor, boxes: Tensor, sizes: Tensor, widest: int, capacity: int
) -> tuple[Tensor, Tensor]:
    """Toggles of N masks.

    Args:
        probabilities: (N, M, M) float32.
        boxes: (N, 4) float32 xyxy in pixels of the source pictures.
        sizes: (N, 2) int32 height and width of each mask's picture.
        widest: the largest of these widths.
        capacity: toggles there is room for.

    Returns:
        (capacity,) int32 toggles, mask after mask, column-major pixel positions in the picture;
        and (N,) int64 how many each has. More than `capacity` in all are not written.
    """
    n, m = probabilities.shape[:2]
    device = probabilities.device
    padded = torch.nn.functional.pad(probabilities, (1, 1, 1, 1)).contiguous()
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * ((m + 2) / m)
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    corners = torch.cat([centre - half, centre + half], dim=1).to(torch.int32).contiguous()
    counts = torch.zeros(n, widest, dtype=torch.int32, device=device)
    places = torch.zeros_like(counts)
    toggles = torch.empty(capacity, dtype=torch.int32, device=device)
    for writing in (False, True):
        _columns[(widest, n)](
            padded, corners, sizes, counts, places, toggles, widest, capacity,
            taps=m + 2, block=_ROWS_AT_A_TIME, writing=writing, num_warps=1,
            enable_fp_fusion=False,
        )  # fmt: skip
        if not writing:
            total = counts.flatten().cumsum(0, dtype=torch.int32)
            places = (total - counts.flatten()).view_as(counts).contiguous()
    return toggles, counts.sum(dim=1)
