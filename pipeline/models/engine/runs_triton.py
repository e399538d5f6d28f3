# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
"""Masks from probabilities to runs on the GPU; the twin of `Masks.paste`.

One program goes down one column of one box and compares every pixel with the one above it; where
they differ is a *toggle* (see `pipeline.masks.runs`). A first pass counts, a sum over the counts
gives every column its place, a second pass writes. Only toggles go to the host: about 2 kB a mask
where a full-HD mask is 2 MB. (Written and tested with Triton's interpreter; `kernels.py` compares
it with its twin on the device before it is used.)
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS_AT_A_TIME = 128


@triton.jit
def _inside(mask, y, corner, scale_y, last, upper, left, right, dx, taps: tl.constexpr):
    """Whether the interpolated probability at rows `y` of one column is above 0.5."""
    at = tl.maximum(scale_y * ((y - corner).to(tl.float32) + 0.5) - 0.5, 0.0)
    above = tl.minimum(tl.maximum(at.to(tl.int32), 0), taps - 1)
    below = tl.minimum(above + 1, taps - 1)
    dy = at - above.to(tl.float32)
    there = (y >= upper) & (y < last)
    a = tl.load(mask + above * taps + left, there, other=0.0)
    b = tl.load(mask + above * taps + right, there, other=0.0)
    c = tl.load(mask + below * taps + left, there, other=0.0)
    d = tl.load(mask + below * taps + right, there, other=0.0)
    value = (1 - dy) * ((1 - dx) * a + dx * b) + dy * ((1 - dx) * c + dx * d)
    return (value > 0.5) & there


@triton.jit
def _columns(
    masks, corners, sizes, counts, places, toggles, columns, capacity,
    taps: tl.constexpr, block: tl.constexpr, writing: tl.constexpr,
):  # fmt: skip
    """One column of one box: count its toggles, or write them."""
    n = tl.program_id(0)
    x0 = tl.load(corners + n * 4)
    y0 = tl.load(corners + n * 4 + 1)
    x1 = tl.load(corners + n * 4 + 2)
    y1 = tl.load(corners + n * 4 + 3)
    height = tl.load(sizes + n * 2)
    width = tl.load(sizes + n * 2 + 1)
    x = tl.maximum(x0, 0) + tl.program_id(1)
    upper = tl.maximum(y0, 0)
    last = tl.where(x < tl.minimum(x1 + 1, width), tl.minimum(y1 + 1, height), upper)
    scale_x = taps / tl.maximum(x1 - x0 + 1, 1).to(tl.float32)
    scale_y = taps / tl.maximum(y1 - y0 + 1, 1).to(tl.float32)
    at = tl.maximum(scale_x * ((x - x0).to(tl.float32) + 0.5) - 0.5, 0.0)
    left = tl.minimum(at.to(tl.int32), taps - 1)
    right = tl.minimum(left + 1, taps - 1)
    dx = at - left.to(tl.float32)
    mask = masks + n * taps * taps
    column = n * columns + tl.program_id(1)
    place = tl.load(places + column)
    found = 0
    for start in range(upper, last + 1, block):
        y = start + tl.arange(0, block)
        on = _inside(mask, y, y0, scale_y, last, upper, left, right, dx, taps)
        before = _inside(mask, y - 1, y0, scale_y, last, upper, left, right, dx, taps)
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
        _columns[(n, widest)](
            padded, corners, sizes, counts, places, toggles, widest, capacity,
            taps=m + 2, block=_ROWS_AT_A_TIME, writing=writing, num_warps=1,
        )  # fmt: skip
        if not writing:
            total = counts.flatten().cumsum(0, dtype=torch.int32)
            places = (total - counts.flatten()).view_as(counts).contiguous()
    return toggles, counts.sum(dim=1)
