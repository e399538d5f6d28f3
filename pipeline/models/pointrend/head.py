"""The mask head of PointRend: a mask of 28 × 28, doubled three times, mended where it is unsure.

Only the logits of a detection's own class are computed, which is all that is asked for: doubling
works on each class alone, and so does the question which points are uncertain.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN

from pipeline.arrays import Size
from pipeline.masks import Masks
from pipeline.models.mask_rcnn.engine.box_head import channels_last
from pipeline.models.mask_rcnn.engine.last_head import Regions
from pipeline.models.mask_rcnn.found import Found, OnHost
from pipeline.models.pointrend.network import GRID
from pipeline.models.pointrend.points import grid, sampled, uncertain
from pipeline.models.shared.convolution import ConvMaker
from pipeline.models.shared.layers import fold, linear_maker
from pipeline.models.shared.sigmoid import sigmoid

START, DOUBLINGS, POINTS = 28, 3, 784
SIDE = START * 2**DOUBLINGS
_AT_ONCE_ON_CPU = 8
"""Detections: what their points need stays in a processor's cache."""
_PASTED_AT_ONCE = 8


class PointRendHead:
    """The mask branch of a network; see `LastHead`."""

    pastes = False

    def __init__(
        self, network: MaskRCNN, make: ConvMaker, device: torch.device, dtype: torch.dtype
    ) -> None:
        coarse, points = network.roi_heads.mask_head.values()
        build = linear_maker(device, dtype)
        self._reduce = make(fold(coarse.reduce_spatial_dim_conv), relu=True)
        first = channels_last(coarse.fc1.weight, GRID // 2)
        self._coarse = [
            build(first, coarse.fc1.bias, relu=True),
            build(coarse.fc2.weight, coarse.fc2.bias, relu=True),
            build(coarse.prediction.weight, coarse.prediction.bias, relu=False),
        ]
        layers = (points.fc1, points.fc2, points.fc3)
        self._points = [build(_matrix(layer), layer.bias, relu=True) for layer in layers]
        self._weight = _matrix(points.predictor).detach().to(device, dtype)
        self._bias = points.predictor.bias.detach().to(device)

    def nothing(self, device: torch.device) -> list[Tensor]:
        """See `LastHead`."""
        return [torch.zeros(0, SIDE, SIDE, device=device)]

    def say(self, regions: Regions, classes: Tensor, _: Tensor) -> list[Tensor]:
        """Mask logits (N, 224, 224); see `LastHead`."""
        at_once = len(classes) if classes.is_cuda else _AT_ONCE_ON_CPU
        parts = [
            self.refined(regions.some(slice(i, i + at_once)), classes[i : i + at_once])
            for i in range(0, len(classes), at_once)
        ]
        return [torch.cat(parts)]

    def refined(self, regions: Regions, classes: Tensor) -> Tensor:
        """Mask logits (N, 224, 224), float32, of rows `classes` of the class head."""
        coarse = self.coarse(regions)
        everywhere = grid(START, classes.device).expand(len(classes), -1, -1)
        logits = self.at(regions, coarse, everywhere, classes).view(-1, START, START)
        for _ in range(DOUBLINGS):
            logits = doubled(logits)
            index = uncertain(logits, POINTS)
            mended = self.at(regions, coarse, cells(index, logits.shape[1]), classes)
            logits = logits.flatten(1).scatter(1, index, mended).view_as(logits)
        return logits

    def coarse(self, regions: Regions) -> Tensor:
        """Masks of all classes (N, 49, classes), row by row."""
        pooled = self.fine(regions, grid(GRID, regions.boxes.device))
        x = pooled.view(-1, GRID, GRID, pooled.shape[-1]).permute(0, 3, 1, 2)
        x = self._reduce(x).permute(0, 2, 3, 1).flatten(1)[None]
        for linear in self._coarse:
            x = linear(x)
        return x[0].view(len(pooled), -1, (GRID // 2) ** 2).transpose(1, 2)

    def fine(self, regions: Regions, points: Tensor) -> Tensor:
        """The finest features (N, P, C) at points (P, 2) or (N, P, 2) in [0, 1] of regions."""
        low, high = regions.boxes[:, None, :2], regions.boxes[:, None, 2:]
        height, width = regions.layout.on_host[0]
        at = (points * (high - low) + low) * regions.layout.scales[0]
        return sampled(regions.table, regions.pictures * (height * width), (height, width), at)

    def at(self, regions: Regions, coarse: Tensor, points: Tensor, classes: Tensor) -> Tensor:
        """Logits (N, P), float32, at points (N, P, 2) in [0, 1] of regions.

        Args:
            regions: N detections.
            coarse: what `coarse` says of them.
            points: of each.
            classes: (N,) rows of the class head, the background first.
        """
        side = GRID // 2
        first = torch.arange(len(coarse), device=coarse.device) * side**2
        beside = sampled(coarse.flatten(0, 1), first, (side, side), points * side)
        x = self.fine(regions, points)
        for linear in self._points:
            x = linear(torch.cat([x, beside], dim=-1))
        x = torch.cat([x, beside], dim=-1)
        own = classes - 1
        logits = torch.bmm(x, self._weight[own][..., None])[..., 0].float()
        return logits + self._bias[own][:, None]

    @staticmethod
    def found(
        boxes: NDArray[Any],
        scores: NDArray[Any],
        classes: NDArray[Any],
        said: Sequence[NDArray[Any]],
        size: Size,
        paste: OnHost,
    ) -> Found:
        """With logits, which are made probabilities a few at a time; see `LastHead`."""
        return Found(boxes, scores, classes, said[0], size, paste=partial(_paste, paste))


def doubled(logits: Tensor) -> Tensor:
    """(N, side, side) at twice the side, bilinearly."""
    larger = F.interpolate(logits[:, None], scale_factor=2, mode="bilinear", align_corners=False)
    return larger[:, 0]


def cells(index: Tensor, side: int) -> Tensor:
    """(N, P, 2) x, y in [0, 1]: the centres of cells of a grid, counted row by row."""
    return torch.stack([index % side, index // side], dim=-1).add(0.5).div(side)


def _matrix(layer: nn.Conv1d) -> Tensor:
    return layer.weight[..., 0]


def _paste(paste: OnHost, logits: NDArray[Any], boxes: NDArray[Any], size: Size) -> Masks:
    starts = range(0, len(boxes), _PASTED_AT_ONCE)
    some = (slice(i, i + _PASTED_AT_ONCE) for i in starts)
    return Masks.concatenate(size, (paste(sigmoid(logits[s]), boxes[s], size) for s in some))
