# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
"""Non-maximum suppression as two GPU kernels; the twin of `nms.nms`.

The first compares all pairs of a row and packs 32 answers into a word, everything in parallel. The
second goes down each row in one warp: the removed boxes are a vector of words in its registers, so
it only reads. Nothing comes to the host. Every operation rounds once, as on a CPU, so that the same
boxes survive. (Tested with Triton's interpreter and compiled for every card without one;
`kernels.py` compares it with its twin on the device before it is used.)
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.models.mask_rcnn.engine.operators.nms import just_below, set_apart

_ROWS_AT_A_TIME = 32


@triton.jit
def _shares(ax0, ay0, ax1, ay1, bx0, by0, bx1, by1):
    """Intersection and union of all pairs."""
    width = tl.maximum(tl.minimum(ax1, bx1) - tl.maximum(ax0, bx0), 0.0)
    height = tl.maximum(tl.minimum(ay1, by1) - tl.maximum(ay0, by0), 0.0)
    shared = width * height
    return shared, (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared


@triton.jit
def _overlaps(
    boxes, groups, several, spans, words, limit, limits, count,
    words_per_box: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Bit j of word w of box i: box 32 w + j is worse than i, of its group, and overlaps it."""
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * block + tl.arange(0, block)
    word = tl.program_id(2)
    bit = tl.arange(0, 32)
    j = word * 32 + bit
    there_i, there_j = i < count, j < count
    of_i = boxes + (row * count + i) * 4
    of_j = boxes + (row * count + j) * 4
    ax0 = tl.load(of_i, there_i, other=0.0)[:, None]
    ay0 = tl.load(of_i + 1, there_i, other=0.0)[:, None]
    ax1 = tl.load(of_i + 2, there_i, other=0.0)[:, None]
    ay1 = tl.load(of_i + 3, there_i, other=0.0)[:, None]
    bx0 = tl.load(of_j, there_j, other=0.0)[None, :]
    by0 = tl.load(of_j + 1, there_j, other=0.0)[None, :]
    bx1 = tl.load(of_j + 2, there_j, other=0.0)[None, :]
    by1 = tl.load(of_j + 3, there_j, other=0.0)[None, :]
    group_i = tl.load(groups + row * count + i, there_i, other=-1)[:, None]
    group_j = tl.load(groups + row * count + j, there_j, other=-2)[None, :]
    if tl.load(several + row) != 0:
        span = tl.load(spans + row)
        a, b = group_i.to(tl.float64) * span, group_j.to(tl.float64) * span
        far_shared, far_either = _shares(
            ax0.to(tl.float64) + a, ay0.to(tl.float64) + a,
            ax1.to(tl.float64) + a, ay1.to(tl.float64) + a,
            bx0.to(tl.float64) + b, by0.to(tl.float64) + b,
            bx1.to(tl.float64) + b, by1.to(tl.float64) + b,
        )  # fmt: skip
        over = far_shared / far_either > tl.load(limits)  # IEEE in float64
    else:
        shared, either = _shares(ax0, ay0, ax1, ay1, bx0, by0, bx1, by1)
        over = tl.div_rn(shared, either) > limit
    hit = (group_i == group_j) & over & (j[None, :] > i[:, None])
    packed = tl.sum(hit.to(tl.int32) << bit[None, :], axis=1)
    tl.store(words + (row * count + i) * words_per_box + word, packed, there_i)


@triton.jit
def _survivors(words, scores, keep, count, words_per_box: tl.constexpr):
    """Walk down one row; a box that is not removed yet survives and removes its worse rivals."""
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, words_per_box)
    removed = tl.zeros((words_per_box,), tl.int32)
    for i in range(count):
        own = tl.sum(tl.where(lane == i // 32, removed, 0), axis=0)
        alive = ((own >> (i % 32)) & 1) == 0
        alive = alive & (tl.load(scores + row * count + i) > float("-inf"))
        rivals = tl.load(words + (row * count + i) * words_per_box + lane)
        removed = removed | tl.where(alive, rivals, 0)
        tl.store(keep + row * count + i, alive.to(tl.int8))


def nms(
    boxes: Tensor, groups: Tensor, scores: Tensor, threshold: float, rows: int, enough: int
) -> Tensor:
    """Which boxes survive; see the twin. All rows are done fully, whatever would be enough."""
    count = boxes.shape[1]
    several, spans = set_apart(boxes, groups, scores)
    limits = torch.full((1,), threshold, dtype=torch.float64, device=boxes.device)
    words_per_box = triton.next_power_of_2(triton.cdiv(count, 32))
    words = torch.zeros(len(boxes), count, words_per_box, dtype=torch.int32, device=boxes.device)
    keep = torch.empty(len(boxes), count, dtype=torch.int8, device=boxes.device)
    grid = (len(boxes), triton.cdiv(count, _ROWS_AT_A_TIME), triton.cdiv(count, 32))
    _overlaps[grid](
        boxes.contiguous(), groups.contiguous(), several.to(torch.int8), spans, words,
        just_below(threshold), limits, count,
        words_per_box=words_per_box, block=_ROWS_AT_A_TIME, enable_fp_fusion=False,
    )  # fmt: skip
    _survivors[(len(boxes),)](
        words, scores.contiguous(), keep, count, words_per_box=words_per_box, num_warps=1,
        enable_fp_fusion=False,
    )  # fmt: skip
    return keep.bool()
