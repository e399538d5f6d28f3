"""Convolution, group norm and ReLU: such a norm cannot be folded, its numbers are the picture's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.shared.convolution import ConvMaker
from pipeline.models.shared.layers import fold


class ConvGroupNorm:
    """Ready to run: (B, C, H, W) channels-last in, the same out."""

    def __init__(
        self, block: nn.Module, make: ConvMaker, device: torch.device, dtype: torch.dtype
    ) -> None:
        conv, norm, _ = block.children()
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.GroupNorm):
            raise TypeError(f"cannot run {type(norm).__name__}; expected a convolution, group norm")
        self._conv = make(fold(conv), relu=False)
        self._groups, self._eps = norm.num_groups, norm.eps
        self._weight, self._bias = (t.detach().to(device, dtype) for t in (norm.weight, norm.bias))

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to every picture by itself."""
        x = self._conv(x)
        return F.group_norm(x, self._groups, self._weight, self._bias, self._eps).relu_()
