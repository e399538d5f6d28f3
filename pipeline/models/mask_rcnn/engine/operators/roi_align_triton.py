# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
"""RoIAlign as one GPU kernel over all levels; the twin of `roi_align.roi_align`.

One program pools one bin of one region: it chooses the level, computes its 16 taps in float32 and
reads whole feature vectors, which lie together in memory. Level, taps and weights are the twin's to
the last bit, and so is the order of the sum: every operation rounds once, as on a CPU. (Tested with
Triton's interpreter and compiled for every card without one; `kernels.py` compares it with its twin
on the device before it is used.)
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.models.mask_rcnn.engine.operators.roi_align import Layout


@triton.jit
def _tap(low, high, length, place, tap: tl.constexpr, bins: tl.constexpr):
    """One of the four taps of a bin along one axis: its position and its weight.

    The first taps of both samples, then the second ones.
    """
    step = tl.div_rn(tl.maximum(high - low, 1.0), bins * 1.0)
    at = low + place.to(tl.float32) * step
    at = at + (0.25 + 0.5 * (tap % 2)) * step
    share = tl.where((at >= -1.0) & (at <= length.to(tl.float32)), 0.5, 0.0)
    at = tl.minimum(tl.maximum(at, 0.0), (length - 1).to(tl.float32))
    before = at.to(tl.int32)
    fraction = at - before.to(tl.float32)
    if tap < 2:  # a branch of the compiler's, which wants both ends
        return before, (1.0 - fraction) * share
    else:  # noqa: RET505
        return tl.minimum(before + 1, length - 1), fraction * share


@triton.jit
def _roi_align(
    table, first, shapes, scales, least_areas, boxes, pictures, pooled,
    channels,
    bins: tl.constexpr, levels: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    roi = tl.program_id(0)
    place = tl.program_id(1)
    x0 = tl.load(boxes + roi * 4)
    y0 = tl.load(boxes + roi * 4 + 1)
    x1 = tl.load(boxes + roi * 4 + 2)
    y1 = tl.load(boxes + roi * 4 + 3)
    area = (x1 - x0) * (y1 - y0)
    level = 0
    for i in tl.static_range(levels - 1):
        level += (area >= tl.load(least_areas + i)).to(tl.int32)
    scale = tl.load(scales + level)
    height = tl.load(shapes + level * 2)
    width = tl.load(shapes + level * 2 + 1)
    picture = tl.load(pictures + roi).to(tl.int32)
    start = (tl.load(first + level) + picture * height * width).to(tl.int64)
    channel = tl.arange(0, block)
    inside = channel < channels
    total = tl.zeros((block,), tl.float32)
    x, left, right = place % bins, x0 * scale, x1 * scale
    column0, share0 = _tap(left, right, width, x, 0, bins)
    column1, share1 = _tap(left, right, width, x, 1, bins)
    column2, share2 = _tap(left, right, width, x, 2, bins)
    column3, share3 = _tap(left, right, width, x, 3, bins)
    for i in tl.static_range(4):
        row, share = _tap(y0 * scale, y1 * scale, height, place // bins, i, bins)
        at = table + (start + row * width) * channels + channel
        total += tl.load(at + column0 * channels, inside, 0.0).to(tl.float32) * (share * share0)
        total += tl.load(at + column1 * channels, inside, 0.0).to(tl.float32) * (share * share1)
        total += tl.load(at + column2 * channels, inside, 0.0).to(tl.float32) * (share * share2)
        total += tl.load(at + column3 * channels, inside, 0.0).to(tl.float32) * (share * share3)
    target = pooled + (roi.to(tl.int64) * bins * bins + place) * channels + channel
    tl.store(target, total.to(pooled.dtype.element_ty), inside)


def roi_align(table: Tensor, layout: Layout, boxes: Tensor, pictures: Tensor, size: int) -> Tensor:
    """Pool regions to (N, size, size, C); see the twin."""
    channels = table.shape[1]
    pooled = torch.empty(len(boxes), size, size, channels, dtype=table.dtype, device=table.device)
    _roi_align[(len(boxes), size * size)](
        table, layout.first, layout.shapes, layout.scales, layout.least_areas,
        boxes.contiguous(), pictures.contiguous(), pooled,
        channels,
        bins=size,
        levels=len(layout.scales),
        block=triton.next_power_of_2(channels),
        num_warps=1,
        enable_fp_fusion=False,
    )  # fmt: skip
    return pooled
