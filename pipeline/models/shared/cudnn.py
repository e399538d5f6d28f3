"""Convolutions on a GPU with bias, residual and ReLU in one pass over memory.

Apart, ReLUs and additions move about as many bytes as the convolutions of the body themselves.
cuDNN fuses them; it is asked to only after it has given the plain form's answer on the very device,
and a layer it refuses runs plainly. (Its calls are tested on a CPU against stand-ins; it has not
run on a GPU yet.)
"""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
from torch import Tensor

from pipeline.models.shared.convolution import PlainConv, Weights

_log = logging.getLogger(__name__)


class CudnnConv:
    """A convolution with a ReLU behind it, perhaps with a residual before that."""

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
        w = weights
        self._plain = PlainConv(weights, device, dtype, relu=True)
        self._weight, self._bias = self._plain.weight, self._plain.bias
        self._settings = (list(w.stride), list(w.padding), list(w.dilation), w.groups)
        self._refused = False

    def __call__(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        """See `Conv`; the residual is left as it is."""
        if self._refused:
            return self._plain(x, into)
        try:
            return self._fused(x, into)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._refused = True
            text = str(error).partition("\n")[0]
            _log.warning("a convolution %s is not fused: %s", tuple(self._weight.shape), text)
        return self._plain(x, into)

    def _fused(self, x: Tensor, into: Tensor | None) -> Tensor:
        if into is None:
            return torch.cudnn_convolution_relu(x, self._weight, self._bias, *self._settings)
        return torch.cudnn_convolution_add_relu(
            x, self._weight, into, 1.0, self._bias, *self._settings
        )


@lru_cache
def cudnn_usable(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether cuDNN's fused convolutions are right on a device, found out by using them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 64, 12, 16, generator=generator)
    x = x.to(device, dtype, memory_format=torch.channels_last)
    for size, stride in ((3, 1), (1, 2)):
        weight = torch.randn(32, 64, size, size, generator=generator) / (8 * size)
        bias = torch.randn(32, generator=generator)
        weights = Weights(weight, bias, (stride, stride), (size // 2, size // 2))
        try:
            fused = CudnnConv(weights, device, dtype)
            plain = PlainConv(weights, device, dtype, relu=True)
            residual = plain(x)
            theirs = (residual, plain(x, residual.clone()))
            _leave_nan_behind(residual)
            ours = (fused._fused(x, None), fused._fused(x, residual))
        except (AttributeError, RuntimeError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            break
        if not all(
            torch.allclose(a.float(), b.float(), atol=0.02, rtol=0.02)
            for a, b in zip(ours, theirs, strict=True)
        ):
            reason = "its answer differs from plain torch"
            break
    else:
        return True
    _log.warning("fused convolutions are not used on %s: %s", device, reason)
    return False


def _leave_nan_behind(like: Tensor) -> None:
    """In memory that the next results are given.

    Without a residual, torch has cuDNN add the result's own memory, times nothing: of what happens
    to stand there, NaN times nothing is NaN.
    """
    left = [torch.full_like(like, torch.nan) for _ in range(8)]
    del left
