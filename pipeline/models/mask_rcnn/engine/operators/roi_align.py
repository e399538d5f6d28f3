"""RoIAlign over all pyramid levels at once, as one gather.

torchvision's rule with `aligned=False` and 2 × 2 samples a bin is a weighted sum of 16 feature
vectors per bin. All levels of all pictures are laid into one table of feature vectors; indices and
weights are made separately for rows and columns and then joined, and `embedding_bag` does the
rest. This is the CPU path and the oracle of the kernel in `roi_align_triton.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLES = 2
"""Samples per bin and axis; two taps each."""
LEAST_AREAS = (12543.98046875, 50175.9296875, 200703.671875)
"""Least float32 area pooled from p3, p4, p5: where floor(4 + log2(sqrt(area) / 224) + 1e-6) steps.

A comparison says the same on every device; root and logarithm do not.
"""


@dataclass(frozen=True)
class Layout:
    """Where the levels of B pictures stand in a table of feature vectors, one a row."""

    first: Tensor
    """(L,) int32, first row of each level; in a level the order is picture, y, x."""
    shapes: Tensor
    """(L, 2) int32, height and width of each level."""
    scales: Tensor
    """(L,) float32, level pixels per picture pixel."""
    least_areas: Tensor
    """(L - 1,) float32, least area of a box that is pooled from each level but the first."""
    on_host: tuple[tuple[int, int], ...] = ()
    """The shapes, where no device has to be asked for them."""


def make_layout(
    shapes: list[tuple[int, int]],
    batch: int,
    device: torch.device,
    finest: int = 2,
    least_areas: tuple[float, ...] = LEAST_AREAS,
) -> Layout:
    """The layout of levels of strides 4, 8, 16, ... (from 2 to the power of `finest`)."""
    rows = [batch * height * width for height, width in shapes]
    first = [sum(rows[:i]) for i in range(len(rows))]
    return Layout(
        torch.tensor(first, dtype=torch.int32, device=device),
        torch.tensor(shapes, dtype=torch.int32, device=device),
        torch.tensor([2.0 ** -(finest + i) for i in range(len(rows))], device=device),
        torch.tensor(least_areas[finest - 2 : finest + len(rows) - 3], device=device),
        tuple(shapes),
    )


def make_table(levels: list[Tensor]) -> Tensor:
    """Levels (B, C, H, W), channels-last, as rows (sum of B * H * W, C)."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, level.shape[1]) for level in levels])


def roi_align(table: Tensor, layout: Layout, boxes: Tensor, pictures: Tensor, size: int) -> Tensor:
    """Pool regions to (N, size, size, C).

    Args:
        table: (rows, C) feature vectors.
        layout: what stands where in the table.
        boxes: (N, 4) float32 xyxy in pixels of the resized picture.
        pictures: (N,) int64, which picture of the batch each box is in.
        size: bins per axis.
    """
    level = levels_of(boxes, layout)
    scale = layout.scales[level][:, None]
    height, width = layout.shapes[level].unbind(1)
    start = layout.first[level] + pictures.to(torch.int32) * height * width
    x0, y0, x1, y1 = (boxes * scale).unbind(1)
    rows, row_weights = _taps(y0, y1, height, size)
    columns, column_weights = _taps(x0, x1, width, size)
    rows = rows * width[:, None, None] + start[:, None, None]
    index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    taps = (2 * SAMPLES) ** 2
    pooled = F.embedding_bag(
        index.view(-1, taps),
        table,
        mode="sum",
        per_sample_weights=weights.to(table.dtype).view(-1, taps),
    )
    return pooled.view(len(boxes), size, size, -1)


def levels_of(boxes: Tensor, layout: Layout) -> Tensor:
    """(N,) int64 index of the level each box is pooled from, by its area."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return ((width * height)[:, None] >= layout.least_areas).sum(dim=1)


def _taps(low: Tensor, high: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Along one axis: (N, size, 4) positions and weights of the taps of every bin.

    Samples more than one pixel outside weigh nothing; others are moved to the border.
    """
    step = (high - low).clamp(min=1.0) / size
    offset = (torch.arange(SAMPLES, device=low.device) + 0.5) / SAMPLES
    bins = torch.arange(size, device=low.device)[:, None]
    length = length[:, None, None]
    at = (low[:, None] + bins[None, :, 0] * step[:, None])[..., None]
    at = at + offset * step[:, None, None]
    inside = (at >= -1.0) & (at <= length)
    at = torch.minimum(at.clamp(min=0.0), (length - 1).float())
    before = at.to(torch.int32)
    after = torch.minimum(before + 1, length - 1)
    fraction = at - before
    share = inside / float(SAMPLES)
    positions = torch.cat([before, after], dim=-1)
    return positions, torch.cat([(1.0 - fraction) * share, fraction * share], dim=-1)
