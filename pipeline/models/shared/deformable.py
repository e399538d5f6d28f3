"""Deformable convolutions (DCNv2): the layer, and how it runs with everything folded in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from pipeline.models.shared.convolution import Conv, Weights

TAPS = 9


class DeformableConv(nn.Conv2d):
    """A modulated deformable 3 × 3 convolution (Zhu et al., Deformable ConvNets v2, 2019).

    A plain convolution says for every tap how far from its place it reads (y before x, tap by tap;
    zeros outside of the map) and, through a sigmoid, how much counts what it reads there.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, stride, 1, bias=bias)
        self.conv_offset_mask = nn.Conv2d(inputs, 3 * TAPS, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        told = self.conv_offset_mask(x)
        return sample(x, told, self.weight, self.bias, self.stride)


def sample(
    x: Tensor, told: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...]
) -> Tensor:
    """Convolve; `told` (B, 27, H', W') are 18 offsets and the 9 logits of what counts."""
    offsets, logits = told[:, : 2 * TAPS], told[:, 2 * TAPS :]
    found: Tensor = deform_conv2d(
        x, offsets, weight, bias, (stride[0], stride[1]), (1, 1), mask=torch.sigmoid(logits)
    )
    return found


class DeformedConv:
    """Runs a deformable convolution on a GPU, by torchvision's kernel.

    Args:
        weights: of the taps, norm folded in.
        offsets: what says where they read, ready to run.
        device: that runs it.
        dtype: of what it is given.
        relu: whether one follows.
    """

    def __init__(
        self, weights: Weights, offsets: Conv, device: torch.device, dtype: torch.dtype, relu: bool
    ) -> None:
        self._offsets, self._stride, self._relu = offsets, weights.stride, relu
        self._weight = weights.weight.to(device, dtype)
        self._bias = weights.bias.to(device, dtype)

    def __call__(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        """See `Conv`."""
        found = sample(x, self._offsets(x), self._weight, self._bias, self._stride)
        found = found.contiguous(memory_format=torch.channels_last)
        if into is not None:
            found = into.add_(found)
        return found.relu_() if self._relu else found


class GatheredConv:
    """Runs a deformable convolution on a CPU: what the taps read, then one product.

    torchvision's kernel reads number by number on one core. Here a tap is the weighted sum of four
    rows of a table that has a row of channels for every pixel, and all of them are one lookup.

    Args:
        taps: the convolution as a 1 × 1 one over what all taps read, see `side_by_side`.
        offsets: what says where they read, ready to run.
        stride: of the convolution.
    """

    def __init__(self, taps: Conv, offsets: Conv, stride: tuple[int, int]) -> None:
        self._taps, self._offsets, self._stride = taps, offsets, stride

    def __call__(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        """See `Conv`."""
        told = self._offsets(x).float()
        batch, channels, height, width = x.shape
        table = x.permute(0, 2, 3, 1).reshape(-1, channels)
        index, share = _neighbours(told, (height, width), self._stride)
        read = F.embedding_bag(
            index.view(-1, 4), table, mode="sum", per_sample_weights=share.view(-1, 4).to(x.dtype)
        )
        down, across = told.shape[2:]
        read = read.view(batch, down, across, TAPS * channels).permute(0, 3, 1, 2)
        return self._taps(read, into)


def side_by_side(weights: Weights) -> Weights:
    """A 3 × 3 convolution as a 1 × 1 one over its taps' inputs, tap by tap."""
    taps = weights.weight.permute(0, 2, 3, 1).reshape(len(weights.weight), -1, 1, 1)
    return Weights(taps, weights.bias)


def _neighbours(
    told: Tensor, size: tuple[int, int], stride: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The four pixels around where each tap reads: (B, H', W', 9, 4) rows of the table, shares."""
    batch, _, down, across = told.shape
    offsets = told[:, : 2 * TAPS].view(batch, TAPS, 2, down, across).permute(2, 0, 3, 4, 1)
    step = torch.arange(3) - 1
    y = (torch.arange(down) * stride[0])[:, None, None] + step.repeat_interleave(3)
    x = (torch.arange(across) * stride[1])[None, :, None] + step.repeat(3)
    counts = torch.sigmoid(told[:, 2 * TAPS :]).permute(0, 2, 3, 1)
    rows, row_shares = _pair_of_lines(y + offsets[0], size[0])
    columns, column_shares = _pair_of_lines(x + offsets[1], size[1])
    index = (rows * size[1])[..., :, None] + columns[..., None, :]
    index += (torch.arange(batch) * size[0] * size[1])[:, None, None, None, None, None]
    share = row_shares[..., :, None] * column_shares[..., None, :] * counts[..., None, None]
    return index, share


def _pair_of_lines(at: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The lines before and behind a place, and their shares: 0 beyond the border."""
    at = at.clamp(-2, limit + 1)  # further away nothing is read either
    first = at.floor()
    behind = at - first
    lines = torch.stack([first, first + 1], dim=-1)
    shares = torch.stack([1 - behind, behind], dim=-1)
    inside = (lines >= 0) & (lines < limit)
    return lines.clamp(0, limit - 1).long(), shares * inside
