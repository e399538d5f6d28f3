"""A convolution with its norm folded in, what runs one, and the plain way to.

The faster ways are in `layers.py` (oneDNN) and `cudnn.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

HeightWidth = tuple[int, int]


@dataclass(frozen=True)
class Weights:
    """One convolution, norm folded in; float32 on the CPU."""

    weight: Tensor
    """(outputs, inputs / groups, height, width)."""
    bias: Tensor
    stride: HeightWidth = (1, 1)
    padding: HeightWidth = (0, 0)
    dilation: HeightWidth = (1, 1)
    groups: int = 1
    offsets: Weights | None = None
    """Of a deformable one: what says where its taps read."""


class Conv(Protocol):
    """A convolution ready to run: (B, C, H, W) channels-last in, the same out."""

    def __call__(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        """Convolve; with `into`, add it before the activation and overwrite it with the result.

        Writing where the residual is read saves a third of a large layer's time: fresh memory is
        what costs most there.
        """


ConvMaker = Callable[..., Conv]
"""`make(weights, relu=...)`, bound to a device and a number format."""


class PlainConv:
    """A convolution as plain operations, on any device."""

    def __init__(
        self, weights: Weights, device: torch.device, dtype: torch.dtype, relu: bool
    ) -> None:
        self._weights = weights
        self.weight = weights.weight.to(device, dtype, memory_format=torch.channels_last)
        self.bias = weights.bias.to(device, dtype)
        self._relu = relu

    def __call__(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        """See `Conv`."""
        w = self._weights
        x = F.conv2d(x, self.weight, self.bias, w.stride, w.padding, w.dilation, w.groups)
        if into is not None:
            x = into.add_(x)
        return x.relu_() if self._relu else x
