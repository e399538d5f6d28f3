"""Batched non-maximum suppression as one operation of fixed shape.

Every row is an independent problem. The CPU form below is the twin of the GPU kernel in
`nms_triton.py`; inside, it goes through the rows one by one.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Nms(Protocol):
    """What `nms` below and its kernel have in common."""

    def __call__(
        self,
        boxes: Tensor,
        groups: Tensor,
        scores: Tensor,
        threshold: float,
        rows: int,
        enough: int,
    ) -> Tensor:
        """See `nms`."""


@torch.library.custom_op("maskstream::nms", mutates_args=())
def nms(
    boxes: Tensor, groups: Tensor, scores: Tensor, threshold: float, rows: int, enough: int
) -> Tensor:
    """Which boxes survive: those no better box of their group overlaps more than `threshold`.

    Args:
        boxes: (R, K, 4) float32 xyxy, every row sorted by falling score.
        groups: (R, K) int64; boxes of different groups do not suppress one another.
        scores: (R, K) float32; boxes of minus infinity neither survive nor suppress.
        threshold: largest intersection over union that is kept.
        rows: rows of one picture; R is a multiple of it.
        enough: how many survivors are wanted per picture; all others may be left out.

    Returns:
        (R, K) bool, right for the best `enough` survivors of each picture.
    """
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for first in range(0, len(boxes), rows):
        part = slice(first, first + rows)
        _one_picture(boxes[part], groups[part], scores[part], threshold, enough, keep[part])
    return keep


@nms.register_fake
def _(
    boxes: Tensor, groups: Tensor, scores: Tensor, threshold: float, rows: int, enough: int
) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def _one_picture(
    boxes: Tensor, groups: Tensor, scores: Tensor, threshold: float, enough: int, keep: Tensor
) -> None:
    """Write the survivors of a picture into `keep`.

    A box's fate depends on better boxes only, so the best 2 * `enough` of all rows are looked at
    first; the rest only where too few of these survive.
    """
    lowest = torch.finfo(scores.dtype).min
    least = lowest
    places = _places(boxes, groups, scores)
    if scores.numel() > 2 * enough:
        least = max(least, float(scores.flatten().topk(2 * enough, sorted=False).values.min()))
    while True:
        for row in range(len(boxes)):
            candidates = (scores[row] >= least).nonzero()[:, 0]
            kept = _survivors(places[row][candidates], threshold)
            keep[row, candidates[kept]] = True
        if least == lowest or int(keep.sum()) >= enough:
            return
        least = lowest


def set_apart(boxes: Tensor, groups: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """How far the groups of each row are moved apart, so that they cannot overlap.

    Returns:
        (R,) bool, whether the boxes that count are of several groups: these rows are computed in
        float64, where moving costs no digit that could matter; and (R,) float64, the distance.
    """
    there = scores > -torch.inf
    largest = torch.iinfo(groups.dtype).max
    first = torch.where(there, groups, largest).amin(dim=1)
    several = torch.where(there, groups, -1).amax(dim=1) > first
    edges = boxes.double()
    low = torch.where(there[..., None], edges, torch.inf).amin(dim=(1, 2))
    high = torch.where(there[..., None], edges, -torch.inf).amax(dim=(1, 2))
    return several, torch.where(several, high - low + 1.0, 0.0)


def just_below(threshold: float) -> float:
    """The largest float32 that is not above: what a float32 must exceed to exceed `threshold`."""
    near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32(-1)))


def _places(boxes: Tensor, groups: Tensor, scores: Tensor) -> list[Tensor]:
    """The boxes of each row, (K, 4), those of several groups moved apart."""
    several, spans = set_apart(boxes, groups, scores)
    return [
        boxes[row].double() + (groups[row] * spans[row])[:, None] if apart else boxes[row]
        for row, apart in enumerate(several.tolist())
    ]


def _survivors(boxes: Tensor, threshold: float) -> Tensor:
    """Indices of the survivors of one problem."""
    scores = torch.arange(len(boxes), 0, -1, dtype=boxes.dtype, device=boxes.device)
    return torch.ops.torchvision.nms(boxes, scores, threshold)
