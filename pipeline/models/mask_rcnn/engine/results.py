"""What a pass leaves on the device, and how it comes to the host in one copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.masks.toggles import masks_of
from pipeline.models.mask_rcnn.engine.lanes import Steps
from pipeline.models.mask_rcnn.found import Found

Paste = Callable[..., tuple[Tensor, Tensor]]
FoundOf = Callable[..., Found]
_TOGGLES_PER_MASK = 1024
"""Room on average: two per column of a box, more for ragged masks."""


@dataclass(frozen=True)
class Results:
    """N detections of all pictures of a batch, picture after picture, best first."""

    pictures: Tensor
    """(N,) int64, which picture of the batch."""
    boxes: Tensor
    """(N, 4) float32 xyxy in source pixels."""
    scores: Tensor
    """(N,) float32."""
    classes: Tensor
    """(N,) int64."""
    logits: Tensor
    """(N, M, M) float32, of the masks; or what else the last head says."""
    more: tuple[Tensor, ...] = ()
    """(N, ...) each, where it says more."""

    @property
    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [self.pictures, self.boxes, self.scores, self.classes, self.logits, *self.more]

    @staticmethod
    def of(tensors: Iterable[Tensor]) -> Results:
        """From all of them."""
        pictures, boxes, scores, classes, logits, *more = tensors
        return Results(pictures, boxes, scores, classes, logits, tuple(more))

    @staticmethod
    def none(said: Sequence[Tensor]) -> Results:
        """Nothing found; `said` of no detections by the last head."""
        device = said[0].device
        ids = torch.zeros(0, dtype=torch.int64, device=device)
        numbers = torch.zeros(0, device=device)
        return Results.of([ids, numbers.view(0, 4), numbers, ids, *said])


def bring(
    results: Results,
    sizes: Sequence[tuple[int, int]],
    paste: Paste | None,
    found_of: FoundOf,
) -> Steps[list[Found]]:
    """Steps that end with one `Found` a picture, on the host.

    Args:
        results: of the batch.
        sizes: (height, width) of the source pictures.
        paste: makes toggles of probabilities on the device; None: the host will paste.
        found_of: makes a `Found` on the host, see `LastHead.found`.
    """
    tensors = results.tensors
    if paste is None or not len(results.scores):
        arrived = yield tensors
        pictures, boxes, scores, classes, *said = (tensor.numpy() for tensor in arrived)
        return [
            found_of(*_copied(rows, boxes, scores, classes), [one[rows] for one in said], size)
            for rows, size in _rows(pictures, sizes)
        ]
    capacity = _TOGGLES_PER_MASK * len(results.scores)
    of_mask = torch.tensor(sizes, dtype=torch.int32).to(results.boxes.device, non_blocking=True)
    toggles, counts = paste(
        torch.sigmoid(results.logits),
        results.boxes,
        of_mask[results.pictures],
        max(width for _, width in sizes),
        capacity,
    )
    arrived = yield [*tensors[:4], toggles, counts]
    pictures, boxes, scores, classes, positions, numbers = (tensor.numpy() for tensor in arrived)
    if int(numbers.sum()) > capacity:
        return (yield from bring(results, sizes, None, found_of))
    nothing = np.zeros((0, 0, 0), np.float32)
    found = []
    for rows, size in _rows(pictures, sizes):
        own = positions[int(numbers[: rows.start].sum()) :]
        masks = masks_of(own, numbers[rows], size)
        found.append(Found(*_copied(rows, boxes, scores, classes), nothing, size, masks))
    return found


def _copied(
    rows: slice, boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Rows of their own: a view would keep the whole pinned block alive with the result."""
    return boxes[rows].copy(), scores[rows].copy(), classes[rows].copy()


def _rows(
    pictures: NDArray[np.int64], sizes: Sequence[tuple[int, int]]
) -> list[tuple[slice, tuple[int, int]]]:
    ends = np.searchsorted(pictures, np.arange(len(sizes)), side="right").tolist()
    return [(slice(a, b), size) for a, b, size in zip([0, *ends], ends, sizes, strict=False)]
