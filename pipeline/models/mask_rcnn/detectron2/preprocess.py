"""Pictures to network input by detectron2's rule: BGR from 0 to 255, resized in 8 bits.

A channel has 256 values, so normalisation and rounding to the network's format are one table. That
and the resize happen on the CPU, whatever the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from pipeline.arrays import Size
from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch
from pipeline.models.shared import shortest_edge

_DIVISIBLE = 32
_CPU = torch.device("cpu")
_BITS = {torch.float32: np.int32, torch.float16: np.int16, torch.bfloat16: np.int16}


@dataclass(frozen=True)
class ShortestEdge:
    """Resize rule and normalisation; `shared/shortest_edge.py` has the sizes."""

    min_size: int
    max_size: int
    mean: tuple[float, ...]
    """BGR, of values from 0 to 255."""
    std: tuple[float, ...]

    @staticmethod
    def of(network: GeneralizedRCNN) -> ShortestEdge:
        """Read from a network."""
        rule = network.transform
        return ShortestEdge(
            int(rule.min_size[-1]),
            int(rule.max_size),
            tuple(map(float, rule.image_mean)),
            tuple(map(float, rule.image_std)),
        )

    def resized(self, size: Size) -> Size:
        """(height, width) after the resize."""
        return shortest_edge.resized(size, self.min_size, self.max_size)

    def padded(self, size: Size) -> Size:
        """(height, width) after resize and padding: the bucket."""
        height, width = (-(-side // _DIVISIBLE) * _DIVISIBLE for side in self.resized(size))
        return height, width


def prepare(
    images: Sequence[NDArray[np.uint8]],
    rules: ShortestEdge,
    dtype: torch.dtype,
    device: torch.device = _CPU,
) -> Batch:
    """Make a batch; see `operators.preprocess.prepare`."""
    height, width = rules.padded(images[0].shape[:2])
    sizes = [rules.resized(image.shape[:2]) for image in images]
    bits = np.zeros((len(images), height, width, 3), _BITS[dtype])
    table = _table(rules.mean, rules.std, dtype)
    for target, image, size in zip(bits, images, sizes, strict=True):
        small = np.ascontiguousarray(shortest_edge.resize(image, size))
        target[: size[0], : size[1]] = cv2.LUT(small, table)
    pixels: Tensor = torch.from_numpy(bits).view(dtype)
    return Batch(
        pixels.to(device).permute(0, 3, 1, 2),
        torch.tensor(sizes, dtype=torch.float32).to(device),
        torch.tensor([image.shape[:2] for image in images], dtype=torch.float32).to(device),
    )


@lru_cache
def _table(
    mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype
) -> NDArray[np.int16 | np.int32]:
    """(1, 256, 3) bits of the normalised value of every byte."""
    grey = torch.arange(256, dtype=torch.float32)[:, None]
    value = ((grey - torch.tensor(mean)) / torch.tensor(std)).to(dtype)
    whole = torch.int32 if dtype == torch.float32 else torch.int16
    return value.view(whole).numpy()[None]
