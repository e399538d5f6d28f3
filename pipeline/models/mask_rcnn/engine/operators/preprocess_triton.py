# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
"""Resize, colour order, normalisation and padding as one GPU kernel; the twin of `prepare`.

The pictures of a batch go to the device as bytes, in one piece from pinned memory: a quarter of
what float32 would be. In float32 and fp16 the numbers are the twin's to the last bit: rows before
columns, and every operation rounds once. (Tested with Triton's interpreter and compiled for every
card without one; `kernels.py` compares it with its twin on the device before it is used.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.mask_rcnn.engine.operators.preprocess import Batch, InputRules

_COLUMNS_AT_A_TIME = 128


@triton.jit
def _taps(line, given, wanted):
    """Along one axis: both source lines of a line, and the share of the second."""
    scale = tl.div_rn(given.to(tl.float32), wanted.to(tl.float32))
    # the product and the difference are exact in float64: one rounding, as the twin's
    at = ((line.to(tl.float64) + 0.5) * scale.to(tl.float64) - 0.5).to(tl.float32)
    at = tl.maximum(at, 0.0)
    first = tl.minimum(at.to(tl.int32), given - 1)
    return first, tl.minimum(first + 1, given - 1), at - first.to(tl.float32)


@triton.jit
def _prepare(
    source, table, normal, pixels,
    height, width,
    block: tl.constexpr,
):  # fmt: skip
    """One program: some columns of one row of one picture, all three channels."""
    picture = tl.program_id(0)
    y = tl.program_id(1)
    x = tl.program_id(2) * block + tl.arange(0, block)
    start = tl.load(table + picture * 5)
    source_height = tl.load(table + picture * 5 + 1).to(tl.int32)
    source_width = tl.load(table + picture * 5 + 2).to(tl.int32)
    out_height = tl.load(table + picture * 5 + 3).to(tl.int32)
    out_width = tl.load(table + picture * 5 + 4).to(tl.int32)
    top, bottom, dy = _taps(y, source_height, out_height)
    left, right, dx = _taps(x, source_width, out_width)
    inside = x < tl.where(y < out_height, out_width, 0)
    above = source + start + (top * source_width * 3)
    below = source + start + (bottom * source_width * 3)
    target = pixels + ((picture.to(tl.int64) * height + y) * width + x) * 3
    for channel in tl.static_range(3):
        from_blue = 2 - channel  # RGB out of BGR
        a = tl.load(above + left * 3 + from_blue, inside, other=0).to(tl.float32)
        b = tl.load(above + right * 3 + from_blue, inside, other=0).to(tl.float32)
        c = tl.load(below + left * 3 + from_blue, inside, other=0).to(tl.float32)
        d = tl.load(below + right * 3 + from_blue, inside, other=0).to(tl.float32)
        at_left = a * (1 - dy) + c * dy
        at_right = b * (1 - dy) + d * dy
        value = tl.div_rn(at_left * (1 - dx) + at_right * dx, 255.0)
        value = tl.div_rn(value - tl.load(normal + channel), tl.load(normal + 3 + channel))
        value = tl.where(inside, value, 0.0)
        tl.store(target + channel, value.to(pixels.dtype.element_ty), x < width)


def prepare(
    images: Sequence[NDArray[np.uint8]],
    rules: InputRules,
    dtype: torch.dtype,
    device: torch.device,
) -> Batch:
    """Make a batch on the device; see the twin."""
    height, width = rules.padded(images[0].shape[:2])
    sizes = [rules.resized(image.shape[:2]) for image in images]
    source, starts = _upload(images, device)
    rows = [
        (start, *image.shape[:2], *size)
        for start, image, size in zip(starts, images, sizes, strict=True)
    ]
    table = torch.tensor(rows, dtype=torch.int64).to(device, non_blocking=True)
    normal = torch.tensor([*rules.mean, *rules.std]).to(device, non_blocking=True)
    pixels = torch.empty(len(images), height, width, 3, dtype=dtype, device=device)
    grid = (len(images), height, triton.cdiv(width, _COLUMNS_AT_A_TIME))
    _prepare[grid](
        source,
        table,
        normal,
        pixels,
        height,
        width,
        block=_COLUMNS_AT_A_TIME,
        num_warps=1,
        enable_fp_fusion=False,
    )
    resized, source_sizes = table[:, 3:].float(), table[:, 1:3].float()
    return Batch(pixels.permute(0, 3, 1, 2), resized, source_sizes)


def _upload(images: Sequence[NDArray[np.uint8]], device: torch.device) -> tuple[Tensor, list[int]]:
    """All pictures one after another in one tensor of bytes, and where each begins."""
    starts = np.concatenate([[0], np.cumsum([image.size for image in images])]).tolist()
    slab = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    bytes_of = slab.numpy()
    for start, image in zip(starts, images, strict=False):
        np.copyto(bytes_of[start : start + image.size].reshape(image.shape), image)
    return slab.to(device, non_blocking=True), starts[:-1]
