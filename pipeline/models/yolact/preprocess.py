"""YOLACT's rule for pictures: a square of one side, whatever their aspect ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Image, Size
from pipeline.models.shared.float_resize import resize_float
from pipeline.models.shared.input_rule import InputRule
from pipeline.models.yolact.designs import Design


@dataclass(frozen=True)
class SquareRule(InputRule):
    """Resize bilinearly, nothing averaged, to a square; then normalise, red first.

    In bf16 the resize is of 8 bits, whose error of half a grey level is that of bf16 itself, and
    takes a tenth of the time; otherwise it is of floats, as published.
    """

    side: int = 550

    @staticmethod
    def of(design: Design) -> SquareRule:
        """The rule of a network."""
        return SquareRule(design.mean, design.std, rgb=True, antialiased=False, side=design.side)

    def resized(self, size: Size) -> Size:
        """The square, of any picture."""
        return self.side, self.side

    def padded(self, size: Size) -> Size:
        """Nothing is padded."""
        return self.side, self.side

    def prepare(self, images: Sequence[Image], dtype: torch.dtype, device: torch.device) -> Tensor:
        """See `InputRule`."""
        if dtype == torch.bfloat16:
            return super().prepare(images, dtype, device)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = np.empty((len(images), self.side, self.side, 3), np.float32)
        for target, image in zip(values, images, strict=True):
            target[:] = (resize_float(image[:, :, ::-1], (self.side, self.side)) - mean) / std
        return torch.from_numpy(values).to(device, dtype).permute(0, 3, 1, 2)
