# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
"""RoIAlign as one GPU kernel over all levels; the twin of `roi_align.roi_align`.

One program pools one bin of one region: it chooses the level, computes its 16 taps in float32 and
reads whole feature vectors, which lie together in memory. (Written and tested with Triton's
interpreter; `kernels.py` compares it with its twin on the device before it is used.)
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.models.engine.roi_align import Layout


@triton.jit
def _axis(low, high, size, bin_index, half: tl.constexpr, bins: tl.constexpr):
    """One sample along one axis: its two positions, the share of the second, and its weight."""
    step = tl.maximum(high - low, 1.0) / bins
    at = low + bin_index * step
    at = at + (half + 0.5) / 2 * step
    weight = tl.where((at >= -1.0) & (at <= size), 0.5, 0.0)
    at = tl.minimum(tl.maximum(at, 0.0), size - 1.0)
    before = at.to(tl.int32)
    after = tl.minimum(before + 1, size - 1)
    return before, after, at - before, weight


@triton.jit
def _roi_align(
    table, first, shapes, scales, boxes, pictures, pooled,
    channels,
    bins: tl.constexpr, levels: tl.constexpr, finest: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    roi = tl.program_id(0)
    place = tl.program_id(1)
    x0 = tl.load(boxes + roi * 4)
    y0 = tl.load(boxes + roi * 4 + 1)
    x1 = tl.load(boxes + roi * 4 + 2)
    y1 = tl.load(boxes + roi * 4 + 3)
    wanted = tl.floor(4.0 + tl.log2(tl.sqrt((x1 - x0) * (y1 - y0)) / 224.0) + 1e-6) - finest
    level = tl.minimum(tl.maximum(wanted, 0.0), levels - 1.0).to(tl.int32)
    scale = tl.load(scales + level)
    height = tl.load(shapes + level * 2)
    width = tl.load(shapes + level * 2 + 1)
    picture = tl.load(pictures + roi).to(tl.int32)
    start = (tl.load(first + level) + picture * height * width).to(tl.int64)
    channel = tl.arange(0, block)
    inside = channel < channels
    total = tl.zeros((block,), tl.float32)
    for i in tl.static_range(2):
        top, bottom, dy, weight_y = _axis(y0 * scale, y1 * scale, height, place // bins, i, bins)
        for j in tl.static_range(2):
            left, right, dx, weight_x = _axis(x0 * scale, x1 * scale, width, place % bins, j, bins)
            weight = weight_y * weight_x
            above = table + (start + top * width) * channels + channel
            below = table + (start + bottom * width) * channels + channel
            upper = tl.load(above + left * channels, inside, other=0.0).to(tl.float32) * (1 - dx)
            upper += tl.load(above + right * channels, inside, other=0.0).to(tl.float32) * dx
            lower = tl.load(below + left * channels, inside, other=0.0).to(tl.float32) * (1 - dx)
            lower += tl.load(below + right * channels, inside, other=0.0).to(tl.float32) * dx
            total += weight * ((1 - dy) * upper + dy * lower)
    target = pooled + (roi.to(tl.int64) * bins * bins + place) * channels + channel
    tl.store(target, total.to(pooled.dtype.element_ty), inside)


def roi_align(table: Tensor, layout: Layout, boxes: Tensor, pictures: Tensor, size: int) -> Tensor:
    """Pool regions to (N, size, size, C); see the twin."""
    channels = table.shape[1]
    pooled = torch.empty(len(boxes), size, size, channels, dtype=table.dtype, device=table.device)
    _roi_align[(len(boxes), size * size)](
        table, layout.first, layout.shapes, layout.scales, boxes.contiguous(), pictures, pooled,
        channels,
        bins=size,
        levels=len(layout.scales),
        finest=layout.finest,
        block=triton.next_power_of_2(channels),
        num_warps=1,
    )  # fmt: skip
    return pooled
