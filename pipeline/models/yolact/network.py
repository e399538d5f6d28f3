"""YOLACT as plain torch modules under the parameter names of the published files.

This is the network as the papers draw it; `dense.py` computes the same faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.yolact.bodies import DarknetBody, YolactResNet
from pipeline.models.yolact.designs import Design

CHANNELS = 256
PROTOTYPES = 32


@dataclass(frozen=True)
class YolactOutputs:
    """What the network says about B pictures with P priors each."""

    boxes: Tensor
    """(B, P, 4): what moves and scales each prior."""
    logits: Tensor
    """(B, P, classes), background first."""
    coefficients: Tensor
    """(B, P, 32) in -1..1."""
    prototypes: Tensor
    """(B, 32, H, W), at a quarter of the resized picture's side; none is negative."""


class Yolact(nn.Module):
    """Body, pyramid, prototypes and one prediction head for all levels.

    Args:
        design: which of the published ones.
        num_classes: rows of the class head, background included.
    """

    def __init__(self, design: Design, num_classes: int) -> None:
        super().__init__()
        self.design = design
        self.num_classes = num_classes
        widths = (256, 512, 1024) if design.darknet else (512, 1024, 2048)
        self.backbone = (
            DarknetBody(design.blocks)
            if design.darknet
            else YolactResNet(design.blocks, design.deformable_every)
        )
        self.proto_net = nn.Sequential(
            *(layer for _ in range(3) for layer in (_conv3(), nn.ReLU())),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.ReLU(),
            _conv3(),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, PROTOTYPES, 1),
            nn.ReLU(),
        )
        self.fpn = FeaturePyramid(widths)
        self.prediction_layers = nn.ModuleList([Prediction(design, num_classes)])
        if design.rescored:
            self.maskiou_net = MaskIou(num_classes - 1)

    @property
    def head(self) -> Prediction:
        """The one of all levels."""
        return cast(Prediction, self.prediction_layers[0])

    def forward(self, pictures: Tensor) -> YolactOutputs:
        """(B, 3, side, side) RGB, normalised."""
        levels = self.fpn(self.backbone(pictures))
        prototypes = self.proto_net(levels[0])
        found = [self.head(level) for level in levels]
        boxes, logits, coefficients = (torch.cat(part, dim=1) for part in zip(*found, strict=True))
        return YolactOutputs(boxes, logits, coefficients, prototypes)


class FeaturePyramid(nn.Module):
    """p3 to p7 from the last three stages; layers are kept coarsest first.

    Coarser maps are scaled up bilinearly, p3 to p5 end in a ReLU, p6 and p7 do not.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.lat_layers = nn.ModuleList(nn.Conv2d(w, CHANNELS, 1) for w in reversed(widths))
        self.pred_layers = nn.ModuleList(_conv3() for _ in widths)
        self.downsample_layers = nn.ModuleList(_conv3(stride=2) for _ in range(2))

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """Finest first, as the stages are."""
        levels: list[Tensor] = []
        top: Tensor | None = None
        for stage, lateral, output in zip(
            reversed(stages), self.lat_layers, self.pred_layers, strict=True
        ):
            here = lateral(stage)
            if top is not None:
                here = here + enlarged(top, here)
            levels.insert(0, F.relu(output(here)))
            top = here
        for down in self.downsample_layers:
            levels.append(down(levels[-1]))
        return levels


def enlarged(coarse: Tensor, fine: Tensor) -> Tensor:
    """A coarse map at the size of a finer one."""
    return F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)


class Prediction(nn.Module):
    """Box, class and coefficients of every prior of a level."""

    def __init__(self, design: Design, num_classes: int) -> None:
        super().__init__()
        each = design.priors_per_cell
        self.upfeature = nn.Sequential(_conv3(), nn.ReLU())
        self.bbox_layer = _conv3(each * 4)
        self.conf_layer = _conv3(each * num_classes)
        self.mask_layer = _conv3(each * PROTOTYPES)
        self._classes = num_classes

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, priors of the level, 4), (.., classes), (.., 32); cells row by row."""
        x = self.upfeature(level)
        return (
            _rows(self.bbox_layer(x), 4),
            _rows(self.conf_layer(x), self._classes),
            torch.tanh(_rows(self.mask_layer(x), PROTOTYPES)),
        )


def _rows(x: Tensor, values: int) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)


class MaskIou(nn.Module):
    """Predicts for every class the IoU of a mask with the truth (YOLACT++, section 6)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (1, 8, 16, 32, 64, 128)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, 2), nn.ReLU()]
        self.maskiou_net = nn.Sequential(*layers, nn.Conv2d(widths[-1], classes, 1), nn.ReLU())

    def forward(self, masks: Tensor) -> Tensor:
        """(N, 1, H, W) probabilities, zero outside of their boxes, to (N, classes)."""
        found: Tensor = self.maskiou_net(masks)
        return found.amax(dim=(2, 3))


def _conv3(outputs: int = CHANNELS, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, outputs, 3, stride, 1)
