"""What a pass leaves on the device, and how it comes to the host in one copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.masks import Masks
from pipeline.masks.toggles import masks_of
from pipeline.models.mask_rcnn.engine.lanes import Steps
from pipeline.models.mask_rcnn.found import Found, OnHost

Paste = Callable[..., tuple[Tensor, Tensor]]
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
    """(N, M, M) float32, of the masks."""

    @staticmethod
    def none(side: int, device: torch.device) -> Results:
        """Nothing found."""
        ids = torch.zeros(0, dtype=torch.int64, device=device)
        numbers = torch.zeros(0, device=device)
        return Results(ids, numbers.view(0, 4), numbers, ids, numbers.view(0, side, side))


def bring(
    results: Results,
    sizes: Sequence[tuple[int, int]],
    paste: Paste | None,
    on_host: OnHost = Masks.paste,
) -> Steps[list[Found]]:
    """Steps that end with one `Found` a picture, on the host.

    Args:
        results: of the batch.
        sizes: (height, width) of the source pictures.
        paste: makes toggles of probabilities on the device; None: the host will paste.
        on_host: how it will.
    """
    tensors = [getattr(results, field.name) for field in fields(results)]
    if paste is None or not len(results.scores):
        arrived = yield tensors
        pictures, boxes, scores, classes, logits = (tensor.numpy() for tensor in arrived)
        probabilities = sigmoid(logits)
        return [
            Found(*_copied(rows, boxes, scores, classes), probabilities[rows], size, paste=on_host)
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
        return (yield from bring(results, sizes, None, on_host))
    nothing = np.zeros((0, 0, 0), np.float32)
    found = []
    for rows, size in _rows(pictures, sizes):
        own = positions[int(numbers[: rows.start].sum()) :]
        masks = masks_of(own, numbers[rows], size)
        found.append(Found(*_copied(rows, boxes, scores, classes), nothing, size, masks))
    return found


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities; the same bits for the same number wherever it stands in the array.

    torch's own has other last digits in the rest that does not fill a vector register, so that
    they would depend on the number of threads.
    """
    exponent: NDArray[np.float32] = np.exp(np.clip(-logits, -80, 80))
    return np.float32(1) / (np.float32(1) + exponent)


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
