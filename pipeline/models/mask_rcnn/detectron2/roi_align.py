"""RoIAlign by detectron2's rule: half a pixel apart from torchvision's old one, samples as needed.

A bin of a region has as many samples a side as it has pixels, rounded up, and its pooled value is
their mean. Along an axis the samples lie at most a pixel apart, so that a bin with n of them is a
weighted sum of n + 1 pixels; a region is pooled by the pairs of rows and columns. Regions of equal
numbers are pooled together by one gather.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align as of_one_level

from pipeline.models.mask_rcnn.engine.operators.roi_align import Layout, levels_of

LEAST_AREAS = (12543.99609375, 50175.9921875, 200703.90625)
"""Least float32 area pooled from p3, p4, p5: where floor(4 + log2(sqrt(area) / 224 + 1e-8)) steps.
"""
_EXACT = 6
"""Up to so many samples a side each number is a group; beyond it, powers of two."""


def gathered(table: Tensor, layout: Layout, boxes: Tensor, pictures: Tensor, size: int) -> Tensor:
    """Pool regions to (N, size, size, C); see `operators.roi_align.roi_align`. For CPUs."""
    level = levels_of(boxes, layout)
    scale = layout.scales[level][:, None]
    height, width = layout.shapes[level].unbind(1)
    start = layout.first[level] + pictures.to(torch.int32) * height * width
    x0, y0, x1, y1 = (boxes * scale - 0.5).unbind(1)
    down, across = _samples(y0, y1, size), _samples(x0, x1, size)
    pooled = table.new_empty(len(boxes), size, size, table.shape[1])
    sides = torch.stack([_rounded(down), _rounded(across)])
    pairs, group = sides.unique(dim=1, return_inverse=True)  # type: ignore[no-untyped-call]
    for number, (most_down, most_across) in enumerate(pairs.T.tolist()):
        some = (group == number).nonzero()[:, 0]
        rows, row_weights = _taps(y0[some], y1[some], height[some], down[some], size, most_down)
        columns, column_weights = _taps(
            x0[some], x1[some], width[some], across[some], size, most_across
        )
        rows = rows * width[some, None, None] + start[some, None, None]
        index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
        weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
        taps = (most_down + 1) * (most_across + 1)
        sums = F.embedding_bag(
            index.view(-1, taps),
            table,
            mode="sum",
            per_sample_weights=weights.to(table.dtype).view(-1, taps),
        )
        pooled[some] = sums.view(len(some), size, size, -1)
    return pooled


def by_level(table: Tensor, layout: Layout, boxes: Tensor, pictures: Tensor, size: int) -> Tensor:
    """The same by torchvision's operation, in shapes that depend on no value. For GPUs.

    Every level pools all regions, those of other levels as regions without area: they cost nothing
    and are zero, so that the sum over the levels is each region's own.
    """
    level = levels_of(boxes, layout)
    batch = len(table) // sum(height * width for height, width in layout.on_host)
    levels = []
    first = 0
    for number, (height, width) in enumerate(layout.on_host):
        rows = batch * height * width
        features = table[first : first + rows].view(batch, height, width, -1).permute(0, 3, 1, 2)
        own = torch.where((level == number)[:, None], boxes, 0.0)
        regions = torch.cat([pictures[:, None].float(), own], dim=1)
        scale = 2.0 ** -(2 + number)
        levels.append(of_one_level(features.float(), regions, size, scale, -1, aligned=True))
        first += rows
    return torch.stack(levels).sum(dim=0).to(table.dtype).permute(0, 2, 3, 1).contiguous()


def _samples(low: Tensor, high: Tensor, size: int) -> Tensor:
    """(N,) samples a bin of each region along one axis."""
    return torch.ceil((high - low) / size).to(torch.int64)


def _rounded(samples: Tensor) -> Tensor:
    """Up to the number of the group a region belongs to; at least one."""
    powers = 2 ** torch.ceil(torch.log2(samples.clamp(min=1).float())).to(torch.int64)
    return torch.where(samples <= _EXACT, samples.clamp(min=1), powers)


def _taps(
    low: Tensor, high: Tensor, length: Tensor, samples: Tensor, size: int, most: int
) -> tuple[Tensor, Tensor]:
    """Along one axis: (N, size, most + 1) positions and weights of the pixels of every bin.

    Samples more than one pixel outside weigh nothing; others are moved to the border.
    """
    number = torch.arange(most, device=low.device)
    step = ((high - low) / size)[:, None, None]
    bins = torch.arange(size, device=low.device)[:, None]
    share = (number + 0.5) / samples.clamp(min=1)[:, None, None]
    at = low[:, None, None] + bins * step + share * step
    length = length[:, None, None]
    counted = (at >= -1.0) & (at <= length) & (number < samples[:, None, None])
    at = torch.minimum(at.clamp(min=0.0), (length - 1).float())
    first = at[..., :1].to(torch.int32)
    pixels = first + torch.arange(most + 1, dtype=torch.int32, device=low.device)
    near = (1.0 - (at[..., None] - pixels[..., None, :]).abs()).clamp(min=0.0)
    weights = (near * counted[..., None]).sum(dim=2) / samples.clamp(min=1)[:, None, None]
    return torch.minimum(pixels, length - 1), weights
