"""Pictures to network input: torchvision's resize rule, normalisation, padding.

A picture is scaled so that its short side is `min_size`, but its long side at most `max_size`,
rounded down, and padded with zeros to multiples of 32. This depends on its own size only; a
*bucket* is a padded size, and pictures of one bucket share a batch.

In float32 the resize is torchvision's own, down to its float32 interpolation coordinates. In
bf16 the picture is resized in 8 bits and normalised by a table of 256 values: the error (half a
grey level) is that of rounding to bf16 itself, and it takes a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from pipeline.arrays import Size
from pipeline.models.shared.float_resize import resize_float

_DIVISIBLE = 32
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class InputRules:
    """Resize rule and normalisation of a network."""

    min_size: int
    max_size: int
    mean: tuple[float, ...]
    """RGB, of values in [0, 1]."""
    std: tuple[float, ...]

    @staticmethod
    def of(network: MaskRCNN) -> InputRules:
        """Read from a network."""
        rule = network.transform
        return InputRules(
            int(rule.min_size[-1]),
            int(rule.max_size),
            tuple(map(float, rule.image_mean)),
            tuple(map(float, rule.image_std)),
        )

    def resized(self, size: Size) -> Size:
        """(height, width) after the resize, each at least 1."""
        scale = min(self.min_size / min(size), self.max_size / max(size))
        return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))

    def padded(self, size: Size) -> Size:
        """(height, width) after resize and padding: the bucket."""
        height, width = (-(-side // _DIVISIBLE) * _DIVISIBLE for side in self.resized(size))
        return height, width

    @cached_property
    def table(self) -> NDArray[np.int16]:
        """(1, 256, 3) bits of the normalised bf16 value of every RGB byte."""
        grey = torch.arange(256, dtype=torch.float32)[:, None] / 255.0
        value = (grey - torch.tensor(self.mean)) / torch.tensor(self.std)
        return value.bfloat16().view(torch.int16).numpy()[None]


@dataclass(frozen=True)
class Batch:
    """B pictures of one bucket, ready for the network."""

    pixels: Tensor
    """(B, 3, H, W) channels-last RGB, normalised, zeros around each picture."""
    sizes: Tensor
    """(B, 2) float32 height and width after the resize."""
    source: Tensor
    """(B, 2) float32 height and width before it."""

    @property
    def bucket(self) -> Size:
        """The padded (height, width)."""
        return self.pixels.shape[2], self.pixels.shape[3]


def prepare(
    images: Sequence[NDArray[np.uint8]],
    rules: InputRules,
    dtype: torch.dtype,
    device: torch.device = _CPU,
) -> Batch:
    """Make a batch, on the CPU, and hand it to the device.

    Args:
        images: uint8 (H, W, 3) BGR, all of one bucket.
        rules: of the network.
        dtype: what the dense part computes in.
        device: where it runs.
    """
    height, width = rules.padded(images[0].shape[:2])
    sizes = [rules.resized(image.shape[:2]) for image in images]
    if dtype == torch.bfloat16:
        bits = np.zeros((len(images), height, width, 3), np.int16)
        for target, image, size in zip(bits, images, sizes, strict=True):
            _by_table(image, size, rules.table, target)
        pixels = torch.from_numpy(bits).view(torch.bfloat16)
    else:
        values = np.zeros((len(images), height, width, 3), np.float32)
        for i, (image, size) in enumerate(zip(images, sizes, strict=True)):
            _exact(image, size, rules, values[i])
        pixels = torch.from_numpy(values)
    return Batch(
        pixels.to(device, dtype).permute(0, 3, 1, 2),
        torch.tensor(sizes, dtype=torch.float32).to(device),
        torch.tensor([image.shape[:2] for image in images], dtype=torch.float32).to(device),
    )


def _by_table(
    image: NDArray[np.uint8], size: Size, table: NDArray[np.int16], target: NDArray[np.int16]
) -> None:
    rgb = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2RGB)
    if image.shape[:2] != size:
        rgb = cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    target[: size[0], : size[1]] = cv2.LUT(rgb, table)


def _exact(
    image: NDArray[np.uint8], size: Size, rules: InputRules, target: NDArray[np.float32]
) -> None:
    """As torchvision, but by numpy: torch's last digits depend on the number of threads."""
    pixels: NDArray[Any] = image[:, :, ::-1]
    if image.shape[:2] != size:
        pixels = resize_float(pixels, size)
    mean, std = (np.array(values, np.float32) for values in (rules.mean, rules.std))
    target[: size[0], : size[1]] = (pixels / np.float32(255) - mean) / std
