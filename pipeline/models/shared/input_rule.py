"""What frameworks do to a picture before their networks see it: resize, colour order, numbers.

A picture is scaled until its short side has one length, or its long side another, normalised, and
padded with zeros to multiples of 32. That depends on its own size only; pictures of one padded
size share a batch.
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

from pipeline.arrays import Image, Size
from pipeline.models.shared import shortest_edge
from pipeline.models.shared.detectron2 import LONG_SIDE, MEAN_BGR, MSRA_STD, SHORT_SIDE
from pipeline.models.shared.openmmlab import MEAN_RGB, STD_RGB

_DIVISIBLE = 32


@dataclass(frozen=True)
class InputRule:
    """One framework's rule for one network."""

    mean: tuple[float, ...]
    """Of each channel, in the order the network wants, of values from 0 to 255."""
    std: tuple[float, ...]
    rgb: bool
    """Whether the network wants red first; else blue."""
    antialiased: bool
    """Pillow's resize and detectron2's rounding of sizes; else OpenCV's and OpenMMLab's."""
    shorter: int = SHORT_SIDE
    longest: int = LONG_SIDE

    def resized(self, size: Size) -> Size:
        """(height, width) after the resize, each at least 1."""
        if self.antialiased:
            return shortest_edge.resized(size, self.shorter, self.longest)
        scale = min(self.longest / max(size), self.shorter / min(size))
        height, width = (max(1, int(side * scale + 0.5)) for side in size)
        return height, width

    def padded(self, size: Size) -> Size:
        """(height, width) after resize and padding."""
        height, width = (-(-side // _DIVISIBLE) * _DIVISIBLE for side in self.resized(size))
        return height, width

    def prepare(self, images: Sequence[Image], dtype: torch.dtype, device: torch.device) -> Tensor:
        """(B, 3, H, W) channels-last, of pictures uint8 (H, W, 3) BGR with one padded size."""
        table = self._bits if dtype == torch.bfloat16 else self._table
        values = np.zeros((len(images), *self.padded(images[0].shape[:2]), 3), table.dtype)
        for target, image in zip(values, images, strict=True):
            height, width = self.resized(image.shape[:2])
            pixels = self._scaled(image, (height, width))
            target[:height, :width] = cv2.LUT(pixels, table)
        given = torch.from_numpy(values)
        if dtype == torch.bfloat16:
            given = given.view(torch.bfloat16)
        return given.to(device, dtype).permute(0, 3, 1, 2)

    def _scaled(self, image: Image, size: Size) -> Image:
        """In the network's order of colours."""
        scaled: Any = np.ascontiguousarray(image)
        if self.antialiased:
            scaled = shortest_edge.resize(scaled, size)
        elif scaled.shape[:2] != size:
            scaled = cv2.resize(scaled, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        return cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB) if self.rgb else scaled

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        """(1, 256, 3): what becomes of each byte of each channel."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        table: Any = (np.arange(256, dtype=np.float32)[:, None] - mean) / std
        return np.asarray(table[None], np.float32)

    @cached_property
    def _bits(self) -> NDArray[np.int16]:
        """The same in bf16."""
        return torch.from_numpy(self._table).bfloat16().view(torch.int16).numpy()


ADELAIDET_RULE = InputRule(MEAN_BGR, MSRA_STD, rgb=False, antialiased=True)
"""Of bodies of MSRA, as detectron2 has them."""
OPENMMLAB_RULE = InputRule(MEAN_RGB, STD_RGB, rgb=True, antialiased=False)
"""Of bodies of torchvision; WXinlong/SOLO's too."""
