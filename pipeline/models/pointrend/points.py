"""Points of regions: where they are, which are uncertain, and what a map says there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def grid(side: int, device: torch.device) -> Tensor:
    """(side * side, 2) x, y in [0, 1]: the centres of the cells of a region, row by row."""
    centres = (torch.arange(side, device=device) + 0.5) / side
    return torch.stack(
        [centres.expand(side, side), centres[:, None].expand(side, side)], dim=-1
    ).view(-1, 2)


def uncertain(logits: Tensor, count: int) -> Tensor:
    """(N, count) int64: cells of (N, side, side), row by row, whose logits are nearest to 0."""
    index: Tensor = logits.flatten(1).abs().topk(count, dim=1, largest=False, sorted=False).indices
    return index


def sampled(table: Tensor, first: Tensor, shape: tuple[int, int], at: Tensor) -> Tensor:
    """What maps say at points, bilinearly; nothing outside of them.

    Args:
        table: (rows, C), pixels of all maps, each row by row.
        first: (N,) int64, where the map of each region begins.
        shape: (height, width) of the maps.
        at: (N, P, 2) x, y in pixels of the map, 0 at its edge.

    Returns:
        (N, P, C).
    """
    n, points = at.shape[:2]
    low = (at - 0.5).floor()
    share = at - 0.5 - low
    corner = low.to(torch.int64)
    columns, column_weights = _taps(corner[..., 0], share[..., 0], shape[1])
    rows, row_weights = _taps(corner[..., 1], share[..., 1], shape[0])
    index = first[:, None, None, None] + rows[..., :, None] * shape[1] + columns[..., None, :]
    weights = row_weights[..., :, None] * column_weights[..., None, :]
    found = F.embedding_bag(
        index.view(-1, 4), table, mode="sum",
        per_sample_weights=weights.to(table.dtype).view(-1, 4),
    )  # fmt: skip
    return found.view(n, points, -1)


def _taps(before: Tensor, share: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Along one axis: both pixels around each point, and their weights."""
    pixels = torch.stack([before, before + 1], dim=-1)
    weights = torch.stack([1 - share, share], dim=-1)
    inside = (pixels >= 0) & (pixels < length)
    return pixels.clamp(0, length - 1), weights * inside
