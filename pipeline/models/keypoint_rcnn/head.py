"""The keypoint head: pooled detections to heat maps of 56 × 56, and these to points.

A heat map is resized to its box by bicubic interpolation, and its largest value is the point; the
score is that value's share in a softmax over the map, as detectron2 gives it (torchvision gives the
value itself).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import KeypointRCNN

from pipeline.arrays import Size
from pipeline.models.mask_rcnn.engine.last_head import Regions
from pipeline.models.mask_rcnn.found import Found, OnHost
from pipeline.models.shared.convolution import ConvMaker
from pipeline.models.shared.layers import fold

_PIXELS_AT_A_TIME = 2_000_000
"""Of resized heat maps, in memory together: 8 MB."""


class KeypointHead:
    """The keypoint branch of a network; see `LastHead`."""

    pastes = False

    def __init__(
        self, network: KeypointRCNN, make: ConvMaker, device: torch.device, dtype: torch.dtype
    ) -> None:
        heads = network.roi_heads
        self._size: int = heads.keypoint_roi_pool.output_size[0]
        convs = [layer for layer in heads.keypoint_head if isinstance(layer, nn.Conv2d)]
        self._convs = [make(fold(conv), relu=True) for conv in convs]
        last = heads.keypoint_predictor.kps_score_lowres
        self._weight = last.weight.detach().to(device, dtype)
        self._bias = last.bias.detach().to(device, dtype)

    def nothing(self, device: torch.device) -> list[Tensor]:
        """See `LastHead`."""
        maps = torch.zeros(0, len(self._bias), 4 * self._size, 4 * self._size, device=device)
        return [maps, torch.zeros(0, 4, device=device), torch.zeros(0, 4, device=device)]

    def say(self, regions: Regions, _: Tensor, scale: Tensor) -> list[Tensor]:
        """Heat maps (N, K, 56, 56), boxes in the resized picture and their scale."""
        return [self(regions.pool(self._size)), regions.boxes, scale]

    def __call__(self, pooled: Tensor) -> Tensor:
        """(N, size, size, C) to logits (N, K, 4 * size, 4 * size), float32."""
        x = pooled.permute(0, 3, 1, 2)
        for conv in self._convs:
            x = conv(x)
        x = F.conv_transpose2d(x, self._weight, self._bias, stride=2, padding=1).float()
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    @staticmethod
    def found(
        boxes: NDArray[Any],
        scores: NDArray[Any],
        classes: NDArray[Any],
        said: Sequence[NDArray[Any]],
        size: Size,
        paste: OnHost,
    ) -> Found:
        """With points in source pixels; see `LastHead`."""
        maps, at, scale = said
        points, _ = keypoints(maps, at)
        points[..., :2] *= scale[:, None, :2]
        none = np.zeros((len(boxes), 0, 0), np.float32)
        return Found(boxes, scores, classes, none, size, paste=paste, keypoints=points)


def keypoints(
    maps: NDArray[np.float32], boxes: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points of heat maps.

    Args:
        maps: (N, K, M, M) logits.
        boxes: (N, 4) xyxy the maps cover.

    Returns:
        (N, K, 3) x, y in pixels of the boxes' picture and score in [0, 1]; and (N, K), the logits
        at the points.
    """
    points = np.zeros((*maps.shape[:2], 3), np.float32)
    logits = np.zeros(maps.shape[:2], np.float32)
    for row, (x0, y0, x1, y1) in enumerate(boxes):
        width, height = max(x1 - x0, np.float32(1)), max(y1 - y0, np.float32(1))
        wide, tall = math.ceil(width), math.ceil(height)
        at, logits[row] = _peaks(torch.from_numpy(maps[row]), (tall, wide))
        y, x = np.divmod(at, wide)
        points[row, :, 0] = (x + np.float32(0.5)) * (width / np.float32(wide)) + x0
        points[row, :, 1] = (y + np.float32(0.5)) * (height / np.float32(tall)) + y0
        share = np.exp(maps[row] - logits[row][:, None, None]).sum(axis=(1, 2))
        points[row, :, 2] = np.float32(1) / np.maximum(share, np.float32(1))
    return points, logits


def _peaks(maps: Tensor, size: Size) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where each of K maps is largest, resized to `size`, counted row by row; and how large."""
    at_once = max(1, _PIXELS_AT_A_TIME // (size[0] * size[1]))
    places, values = [], []
    for some in torch.split(maps, at_once):
        resized = F.interpolate(some[None], size=size, mode="bicubic", align_corners=False)
        best = resized[0].flatten(1).max(dim=1)
        places.append(best.indices)
        values.append(best.values)
    return torch.cat(places).numpy(), torch.cat(values).numpy()
