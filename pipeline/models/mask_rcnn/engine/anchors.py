"""Anchors of a padded picture size, made once per size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from pipeline.arrays import Size


@dataclass(frozen=True)
class Grid:
    """Where the anchors of one padded size stand; A per cell."""

    anchors: Tensor
    """(sum of H * W * A over the levels, 4) float32, in the order level, y, x, a."""
    cells: list[int]
    """H * W of each level."""
    per_cell: int


def level_shapes(padded: Size) -> list[Size]:
    """(height, width) of the five pyramid levels of a padded picture, finest first."""
    shapes = [(padded[0] // stride, padded[1] // stride) for stride in (4, 8, 16, 32)]
    return [*shapes, (-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2))]


def make_grid(
    generator: AnchorGenerator,
    padded: Size,
    device: torch.device,
    strides: tuple[int, ...] | None = None,
) -> Grid:
    """The anchors of a padded size.

    Args:
        generator: has those around one cell of each level.
        padded: (height, width).
        device: where they go.
        strides: of the levels; None: whole numbers, padded size // cells, as torchvision has it.
    """
    shapes = level_shapes(padded)
    parts = []
    for level, ((height, width), cell) in enumerate(
        zip(shapes, generator.cell_anchors, strict=True)
    ):
        down, across = padded[0] // height, padded[1] // width
        if strides is not None:
            down = across = strides[level]
        y = torch.arange(height, dtype=torch.float32) * down
        x = torch.arange(width, dtype=torch.float32) * across
        corner = torch.stack(
            [x.expand(height, width), y[:, None].expand(height, width)], dim=-1
        ).reshape(-1, 1, 2)
        parts.append((corner.repeat(1, 1, 2) + cell.float().cpu()).reshape(-1, 4))
    cells = [height * width for height, width in shapes]
    return Grid(torch.cat(parts).to(device), cells, generator.num_anchors_per_location()[0])
