"""SOLOv2 as plain torch modules (Wang et al., NeurIPS 2020); `dense.py` computes the same faster.

Each of five levels is resized to a grid of square cells. A cell says which classes it sees, and
gives the kernel of the 1 × 1 convolution that makes its mask of the unified mask features.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.shared.resnet import frozen_fpn

GRIDS = (40, 36, 24, 16, 12)
"""Cells along each side, of the levels from the finest; whatever the picture's aspect ratio."""
CHANNELS = 256
MASK_CHANNELS = 128
GROUPS = 32


@dataclass(frozen=True, slots=True)
class SoloDesign:
    """What sets one file's network apart from another's."""

    body: str
    """A name of torchvision's."""
    stride_in_1x1: bool
    """Where the strides of the body are; no tensor tells."""
    classes: int = 80
    depth: int = 4
    """Convolutions of a tower,"""
    width: int = 512
    """and their channels."""
    kernel: int = 256
    """Numbers of a cell's kernel, and channels of the mask features."""


@dataclass(frozen=True)
class SoloOutputs:
    """What the network says about B pictures, level after level."""

    categories: list[Tensor]
    """(B, classes, grid, grid) logits."""
    kernels: list[Tensor]
    """(B, kernel, grid, grid)."""
    features: Tensor
    """(B, kernel, H / 4, W / 4); none is negative."""


class SoloV2(nn.Module):
    """Body, pyramid, both towers and the branch of the mask features."""

    def __init__(self, design: SoloDesign) -> None:
        super().__init__()
        self.design = design
        self.backbone = frozen_fpn(design.body, stride_in_1x1=design.stride_in_1x1)
        self.category_tower = _tower(CHANNELS, design)
        self.kernel_tower = _tower(CHANNELS + 2, design)
        self.category = nn.Conv2d(design.width, design.classes, 3, padding=1)
        self.kernel = nn.Conv2d(design.width, design.kernel, 3, padding=1)
        self.mask_levels = nn.ModuleList(
            nn.Sequential(
                *(
                    conv_norm(MASK_CHANNELS if i else CHANNELS + 2 * (level == 3), MASK_CHANNELS)
                    for i in range(max(1, level))
                )
            )
            for level in range(4)
        )
        self.mask_features = conv_norm(MASK_CHANNELS, design.kernel, size=1)

    def forward(self, pictures: Tensor) -> SoloOutputs:
        """(B, 3, H, W) normalised, sides multiples of 32."""
        levels = list(self.backbone(pictures).values())
        found = [
            self.cells(level, grid) for level, grid in zip(for_towers(levels), GRIDS, strict=True)
        ]
        features = self.mask_features(sum(self.mask_parts(levels)))
        return SoloOutputs([one for one, _ in found], [two for _, two in found], features)

    def cells(self, level: Tensor, grid: int) -> tuple[Tensor, Tensor]:
        """Class logits and kernels (B, C, grid, grid) of a level as the towers get it."""
        cells = to_grid(with_coordinates(level), grid)
        categories = self.category(self.category_tower(cells[:, :CHANNELS]))
        return categories, self.kernel(self.kernel_tower(cells))

    def mask_parts(self, levels: list[Tensor]) -> list[Tensor]:
        """What p2 to p5 add to the mask features, each at the size of p2."""
        parts = []
        for number, (level, convs) in enumerate(zip(levels, self.mask_levels, strict=False)):
            x = with_coordinates(level) if number == 3 else level
            for conv in convs.children():
                x = conv(x)
                x = twice(x) if number else x
            parts.append(x)
        return parts


def conv_norm(inputs: int, outputs: int, *, size: int = 3) -> nn.Sequential:
    """A convolution without bias, group norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(),
    )


def _tower(inputs: int, design: SoloDesign) -> nn.Sequential:
    widths = [inputs, *[design.width] * design.depth]
    return nn.Sequential(*(conv_norm(a, b) for a, b in pairwise(widths)))


def for_towers(levels: list[Tensor]) -> list[Tensor]:
    """p2 to p6 as the towers get them: p2 at half its size, p6 at that of p5."""
    first = F.interpolate(levels[0], scale_factor=0.5, mode="bilinear")
    last = F.interpolate(levels[4], size=levels[3].shape[-2:], mode="bilinear")
    return [first, *levels[1:4], last]


def with_coordinates(level: Tensor) -> Tensor:
    """(B, C, H, W) with x and y behind its channels, from -1 at one border to 1 at the other."""
    batch, _, height, width = level.shape
    x = torch.linspace(-1, 1, width, device=level.device, dtype=level.dtype)
    y = torch.linspace(-1, 1, height, device=level.device, dtype=level.dtype)
    return torch.cat(
        [
            level,
            x.expand(batch, 1, height, width),
            y[:, None].expand(batch, 1, height, width),
        ],
        dim=1,
    )


def to_grid(level: Tensor, cells: int) -> Tensor:
    """A level squeezed into a square of cells."""
    return F.interpolate(level, size=(cells, cells), mode="bilinear")


def twice(x: Tensor) -> Tensor:
    """Twice the size."""
    return F.interpolate(x, scale_factor=2, mode="bilinear")
