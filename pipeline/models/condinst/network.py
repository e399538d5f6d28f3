"""CondInst as plain torch modules (Tian et al., ECCV 2020); `dense.py` computes the same faster.

Boxes come from FCOS (Tian et al., ICCV 2019): every place of five levels says which classes it
sees, how far the four sides of its object are, and how central it lies. Beside them it gives the
169 numbers of three small convolutions which, run over the mask features, make the mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.models.shared.resnet import put_strides_first

STRIDES = (8, 16, 32, 64, 128)
CHANNELS = 256
MASK_CHANNELS = 128
FEATURES = 8
"""Of the mask features; the small networks have as many channels."""
LAYERS = ((FEATURES + 2, 8), (8, 8), (8, 1))
"""Inputs and outputs of the convolutions of an instance's network."""
NUMBERS = sum(inputs * outputs + outputs for inputs, outputs in LAYERS)
GROUPS = 32
_DEPTH = 4


@dataclass(frozen=True)
class CondInstOutputs:
    """What the network says about B pictures, level after level."""

    classes: list[Tensor]
    """(B, classes, H, W) logits."""
    distances: list[Tensor]
    """(B, 4, H, W) to left, top, right and bottom, in strides of the level; none is negative."""
    centreness: list[Tensor]
    """(B, 1, H, W) logits."""
    numbers: list[Tensor]
    """(B, 169, H, W): of each place's network."""
    features: Tensor
    """(B, 8, H / 8, W / 8): what these networks see of the picture."""


class CondInst(nn.Module):
    """Body, pyramid p3 to p7, both towers and the branch of the mask features.

    Args:
        body: a name of torchvision's.
        stride_in_1x1: where the strides of the body are; no tensor tells.
        classes: of the class head; there is no background.
    """

    def __init__(self, body: str, *, stride_in_1x1: bool, classes: int = 80) -> None:
        super().__init__()
        self.backbone = _backbone(body, stride_in_1x1)
        self.class_tower = _tower()
        self.box_tower = _tower()
        self.classes = _conv3(classes)
        self.distances = _conv3(4)
        self.centreness = _conv3(1)
        self.numbers = _conv3(NUMBERS)
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(())) for _ in STRIDES)
        self.refine = nn.ModuleList(_conv_norm(CHANNELS) for _ in range(3))
        self.mask_tower = nn.Sequential(*(_conv_norm(MASK_CHANNELS) for _ in range(_DEPTH)))
        self.features = nn.Conv2d(MASK_CHANNELS, FEATURES, 1)

    def forward(self, pictures: Tensor) -> CondInstOutputs:
        """(B, 3, H, W) normalised, sides multiples of 32."""
        levels = list(self.backbone(pictures).values())
        classes, distances, centreness, numbers = [], [], [], []
        for level, scale in zip(levels, self.scales, strict=True):
            seen, boxed = self.class_tower(level), self.box_tower(level)
            classes.append(self.classes(seen))
            distances.append(F.relu(scale * self.distances(boxed)))
            centreness.append(self.centreness(boxed))
            numbers.append(self.numbers(boxed))
        refined = [refine(level) for refine, level in zip(self.refine, levels, strict=False)]
        features = self.features(self.mask_tower(added_up(refined)))
        return CondInstOutputs(classes, distances, centreness, numbers, features)


def _backbone(body: str, stride_in_1x1: bool) -> BackboneWithFPN:
    backbone = resnet_fpn_backbone(
        backbone_name=body,
        weights=None,
        norm_layer=partial(FrozenBatchNorm2d, eps=1e-5),
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(CHANNELS, CHANNELS),
    )
    if stride_in_1x1:
        put_strides_first(backbone.body)
    return backbone


def _tower() -> nn.Sequential:
    return nn.Sequential(
        *(
            nn.Sequential(_conv3(CHANNELS), nn.GroupNorm(GROUPS, CHANNELS), nn.ReLU())
            for _ in range(_DEPTH)
        )
    )


def _conv3(outputs: int) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, outputs, 3, padding=1)


def _conv_norm(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, MASK_CHANNELS, 3, padding=1, bias=False),
        FrozenBatchNorm2d(MASK_CHANNELS),
        nn.ReLU(),
    )


def added_up(maps: list[Tensor]) -> Tensor:
    """Maps of p3, p4 and p5 at the size of the first, added."""
    return maps[0] + aligned(maps[1], 2) + aligned(maps[2], 4)


def aligned(x: Tensor, factor: int) -> Tensor:
    """(B, C, H, W) enlarged so that pixel i is taken at (i - factor // 2) / factor.

    Borders are repeated. Bilinear interpolation with aligned corners has a pixel every 1 / factor
    if H becomes factor * H + 1; half a factor of borders before it moves it into place.
    """
    height, width = x.shape[-2:]
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    size = (factor * height + 1, factor * width + 1)
    x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    x = F.pad(x, (factor // 2, 0, factor // 2, 0), mode="replicate")
    return x[:, :, : factor * height, : factor * width]
