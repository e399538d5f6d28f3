"""Priors: where boxes are looked for, and how a box is told from its prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.models.yolact.designs import Design

_CENTRE, _SIZE = 0.1, 0.2
"""The variances of SSD (Liu et al. 2016)."""
_FINITE = 50.0
"""No box becomes infinite, whatever a network says."""


def grids(side: int) -> list[int]:
    """Cells along a side of p3 to p7."""
    cells = side
    for _ in range(3):  # stem, pool and the third stage each take half, rounded up
        cells = -(-cells // 2)
    found = [cells]
    for _ in range(4):
        found.append(-(-found[-1] // 2))
    return found


def make_priors(design: Design) -> Tensor:
    """(P, 4) float32 centre x, y, width and height, relative to the picture.

    Level by level, cell by cell in rows; in a cell octave by octave, in an octave ratio by ratio.
    """
    found = []
    for cells, scale in zip(grids(design.side), design.scales, strict=True):
        sizes = [
            _size(scale * octave / design.side, ratio, design.square_priors)
            for octave in design.octaves
            for ratio in design.ratios
        ]
        centre = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        at = torch.stack([x, y], dim=-1)[:, :, None].expand(-1, -1, len(sizes), -1)
        size = torch.tensor(sizes, dtype=torch.float64).expand(cells, cells, -1, -1)
        found.append(torch.cat([at, size], dim=-1).view(-1, 4))
    return torch.cat(found).float()


def _size(side: float, ratio: float, square: bool) -> tuple[float, float]:
    width = side * math.sqrt(ratio)
    return width, width if square else side / math.sqrt(ratio)


def decode(deltas: Tensor, priors: Tensor) -> Tensor:
    """Boxes (N, 4) xyxy relative to the picture; they may reach out of it.

    Args:
        deltas: (N, 4) what the network says.
        priors: (N, 4) of these.
    """
    centre = priors[:, :2] + deltas[:, :2] * _CENTRE * priors[:, 2:]
    size = priors[:, 2:] * torch.exp((deltas[:, 2:] * _SIZE).clamp(max=_FINITE))
    corner = centre - size / 2
    return torch.cat([corner, corner + size], dim=1)
