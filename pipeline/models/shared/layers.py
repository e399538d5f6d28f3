"""Convolutions with everything folded in, and the fastest way to run them on each device.

Batch norm is folded into weight and bias once, in float64. On a CPU with oneDNN a convolution runs
with its weights already in oneDNN's own order and with bias, residual and ReLU in the same pass
over memory, on a GPU too where there is a ReLU (`cudnn.py`); elsewhere as plain operations.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.models.shared.convolution import (
    Conv,
    ConvMaker,
    HeightWidth,
    PlainConv,
    Weights,
)
from pipeline.models.shared.cudnn import CudnnConv, cudnn_usable
from pipeline.models.shared.deformable import (
    DeformableConv,
    DeformedConv,
    GatheredConv,
    side_by_side,
)

_SIZES_KEPT = 4
_LONGEST_ROW = 8192
"""A product over 12,544 numbers takes twice as long in one part as in two."""


class Linear(Protocol):
    """A matrix product ready to run: (B, P, inputs) to (B, P, outputs)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to every row."""


LinearMaker = Callable[..., Linear]
"""`make(weight, bias, relu=...)`, bound to a device and a number format."""


def fold(conv: nn.Module, norm: nn.Module | None = None) -> Weights:
    """A convolution and the norm behind it as one convolution.

    Raises:
        TypeError: it is no convolution, or the norm is neither batch norm nor its frozen form.
    """
    conv = _as_conv(conv)
    weight = conv.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach()
    bias = bias.double()
    if norm is not None:
        if not isinstance(norm, nn.BatchNorm2d | FrozenBatchNorm2d):
            raise TypeError(f"cannot fold {type(norm).__name__}; expected a batch norm")
        gain, shift, mean, variance = (
            t.detach().double()
            for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            if isinstance(t, Tensor)
        )
        scale = gain / torch.sqrt(variance + norm.eps)
        weight = weight * scale[:, None, None, None]
        bias = (bias - mean) * scale + shift
    stride, padding, dilation = (
        _pair(value) for value in (conv.stride, conv.padding, conv.dilation)
    )
    offsets = fold(conv.conv_offset_mask) if isinstance(conv, DeformableConv) else None
    return Weights(weight.float(), bias.float(), stride, padding, dilation, conv.groups, offsets)


def fold_block(block: nn.Module) -> Weights:
    """Fold a `Conv2dNormActivation`: convolution, perhaps a norm, perhaps a ReLU."""
    conv, *rest = list(block.children())
    norm = rest[0] if rest and not isinstance(rest[0], nn.ReLU) else None
    return fold(conv, norm)


def stacked(*weights: Weights) -> Weights:
    """Convolutions of the same input and shape as one, their outputs one after another."""
    first = weights[0]
    return Weights(
        torch.cat([w.weight for w in weights]),
        torch.cat([w.bias for w in weights]),
        first.stride,
        first.padding,
        first.dilation,
        first.groups,
    )


def conv_maker(device: torch.device, dtype: torch.dtype) -> ConvMaker:
    """The fastest kind of convolution for a device and a number format."""

    def make(weights: Weights, *, relu: bool) -> Conv:
        if weights.offsets is not None:
            offsets = make(weights.offsets, relu=False)
            if device.type == "cpu":
                return GatheredConv(make(side_by_side(weights), relu=relu), offsets, weights.stride)
            return DeformedConv(weights, offsets, device, dtype, relu)
        if device.type == "cpu" and onednn_usable(dtype):
            return _OneDnnConv(weights, dtype, relu)
        if device.type == "cuda" and relu and cudnn_usable(device, dtype):
            return CudnnConv(weights, device, dtype)
        return PlainConv(weights, device, dtype, relu)

    return make


def linear_maker(device: torch.device, dtype: torch.dtype) -> LinearMaker:
    """The fastest kind of matrix product whose result does not depend on the number of threads.

    On a CPU that is a 1 × 1 convolution over a picture one pixel wide: ordinary products share out
    long rows among threads, and sums in another order have other last digits.
    """
    make = conv_maker(device, dtype)

    def build(weight: Tensor, bias: Tensor, *, relu: bool) -> Linear:
        if device.type == "cpu":
            return _LinearAsConv(weight.detach(), bias.detach(), make, relu)
        return _PlainLinear(weight.detach(), bias.detach(), device, dtype, relu)

    return build


@lru_cache
def onednn_usable(dtype: torch.dtype) -> bool:
    """Whether this torch and CPU have oneDNN's fused convolutions, found out by using one."""
    weight = torch.linspace(-1, 1, 36).view(2, 2, 3, 3)
    x = torch.linspace(0, 1, 32).view(1, 2, 4, 4).to(dtype, memory_format=torch.channels_last)
    weights = Weights(weight, torch.ones(2), padding=(1, 1))
    try:
        fused = _OneDnnConv(weights, dtype, relu=True)
        residual = fused(x)
        ours = fused(x, into=residual.clone(memory_format=torch.preserve_format))
    except (AttributeError, RuntimeError, TypeError):
        return False
    plain = PlainConv(weights, torch.device("cpu"), torch.float32, relu=True)
    theirs = plain(x.float(), into=plain(x.float()))
    return torch.allclose(ours.float(), theirs, atol=0.05)


class _OneDnnConv:
    """A convolution whose weights are kept in oneDNN's own order.

    For 1 × 1 convolutions that order depends on the size of the input, and another one costs up to
    14 times the time: those keep one copy for each of the last few sizes.
    """

    def __init__(self, weights: Weights, dtype: torch.dtype, relu: bool) -> None:
        w = weights
        self._settings: tuple[list[int], list[int], list[int], int] = (
            list(w.padding),
            list(w.stride),
            list(w.dilation),
            w.groups,
        )
        plain = w.weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self._plain = plain if plain.shape[2:] == (1, 1) else None
        self._channels = plain.shape[1] * w.groups
        self._packed: OrderedDict[HeightWidth | None, Tensor] = OrderedDict()
        if self._plain is None:
            self._packed[None] = self._pack(plain, None)
        self._bias = w.bias.to(dtype)
        self._unary = "relu" if relu else None

    def __call__(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        ops: Any = torch.ops.mkldnn
        layer = (self._weight_for(x), self._bias, *self._settings)
        if into is None:
            return ops._convolution_pointwise(x, *layer, self._unary or "none", [], "")
        return ops._convolution_pointwise_.binary(into, x, *layer, "add", 1.0, self._unary, [], "")

    def _weight_for(self, x: Tensor) -> Tensor:
        if self._plain is None:
            return self._packed[None]
        size = (x.shape[2], x.shape[3])
        if size not in self._packed:
            self._packed[size] = self._pack(self._plain, [1, self._channels, *size])
            if len(self._packed) > _SIZES_KEPT:
                self._packed.popitem(last=False)
        self._packed.move_to_end(size)
        return self._packed[size]

    def _pack(self, weight: Tensor, input_shape: list[int] | None) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_weight(weight, *self._settings, input_shape)


class _LinearAsConv:
    """Rows that are too long for the fast kernels are added up in parts."""

    def __init__(self, weight: Tensor, bias: Tensor, make: ConvMaker, relu: bool) -> None:
        parts = -(-weight.shape[1] // _LONGEST_ROW)
        pieces = weight.chunk(parts, dim=1)
        self._lengths = [piece.shape[1] for piece in pieces]
        nothing = torch.zeros_like(bias)
        self._convs = [
            make(
                Weights(piece[..., None, None].float(), (nothing if i else bias).float()),
                relu=relu and i == parts - 1,
            )
            for i, piece in enumerate(pieces)
        ]

    def __call__(self, x: Tensor) -> Tensor:
        parts = x[:, :, None].permute(0, 3, 1, 2).split(self._lengths, dim=1)  # type: ignore[no-untyped-call]
        result: Tensor | None = None
        for conv, part in zip(self._convs, parts, strict=True):
            result = conv(part, into=result)
        assert result is not None  # noqa: S101 - there is at least one part
        return result.permute(0, 2, 3, 1).flatten(1, 2)


class _PlainLinear:
    def __init__(
        self, weight: Tensor, bias: Tensor, device: torch.device, dtype: torch.dtype, relu: bool
    ) -> None:
        self._weight = weight.to(device, dtype).contiguous()
        self._bias = bias.to(device, dtype)
        self._relu = relu

    def __call__(self, x: Tensor) -> Tensor:
        x = F.linear(x, self._weight, self._bias)
        return x.relu_() if self._relu else x


def _as_conv(module: nn.Module) -> nn.Conv2d:
    if not isinstance(module, nn.Conv2d):
        raise TypeError(f"expected a convolution, got {type(module).__name__}")
    return module


def _pair(value: Any) -> HeightWidth:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
