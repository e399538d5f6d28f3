"""From detections and prototypes to instances: masks a few at a time, never a full picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Ints, Singles, Size
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.models.shared.raster import instances_of
from pipeline.models.shared.sigmoid import sigmoid
from pipeline.models.yolact.detections import YolactDetections

AT_A_TIME = 8
"""Masks whose maps are there together: 0.6 MB, and what making runs of them takes."""


def find_instances(
    found: YolactDetections,
    prototypes: Tensor,
    size: Size,
    ids: Ints,
    threshold: float,
    maskiou: Callable[[Tensor], Tensor] | None,
) -> Instances:
    """Masks of detections, best first; what has no pixel is left out.

    The box is the network's own, cut to the picture, not rounded to whole pixels. With `maskiou`
    the score is that of the mask: the class's times the IoU it is told to have.

    Args:
        found: in one picture.
        prototypes: (32, h, w) of it.
        size: (height, width) of it.
        ids: class ids by row of the class head, background left out.
        threshold: a score has to be above it.
        maskiou: (N, 1, h, w) cropped probabilities to (N, classes); None: there is none.
    """
    grid = (prototypes.shape[1], prototypes.shape[2])
    boxes, classes = found.boxes.cpu().numpy(), found.classes.cpu().numpy()
    scores, windows = found.scores.cpu().numpy(), windows_of(boxes, grid)
    rows = np.arange(len(boxes))
    if maskiou is not None and len(rows):
        scores = scores * mask_ious(found, prototypes, windows, maskiou)
        rows = np.flatnonzero(scores > threshold)
    parts = (
        Masks.resize(maps, windows[some], size)
        for some, maps in maps_of(found.coefficients, prototypes, rows)
    )
    height, width = size
    return instances_of(
        Masks.concatenate(size, parts),
        scores[rows].clip(0, 1),
        ids[classes[rows]],
        boxes[rows] * np.array([width, height, width, height], np.float32),
    )


def mask_ious(
    found: YolactDetections,
    prototypes: Tensor,
    windows: Ints,
    maskiou: Callable[[Tensor], Tensor],
) -> Singles:
    """(N,) the IoU each mask is told to have as one of its class (YOLACT++, section 6)."""
    told = []
    for some, maps in maps_of(found.coefficients, prototypes):
        for map_, (x0, y0, x1, y1) in zip(maps, windows[some].tolist(), strict=True):
            map_[:y0], map_[y1:], map_[:, :x0], map_[:, x1:] = 0, 0, 0, 0
        all_classes = maskiou(torch.from_numpy(maps)[:, None].to(prototypes.device)).float()
        told.append(all_classes.gather(1, found.classes[some, None])[:, 0])
    return np.asarray(torch.cat(told).cpu().numpy())


def windows_of(boxes: Singles, grid: Size) -> Ints:
    """(N, 4) which pixels of the prototypes belong to boxes, xyxy, ends exclusive.

    Those whose left upper corner lies in the box, made larger by one of them on every side.
    """
    height, width = grid
    limits = np.array([width, height], np.float32)
    corners = boxes.reshape(-1, 2, 2) * limits
    low = np.clip(corners.min(axis=1) - np.float32(1), 0, limits)
    high = np.clip(corners.max(axis=1) + np.float32(1), 0, limits)
    return np.ceil(np.concatenate([low, high], axis=1)).astype(np.int64)


def maps_of(
    coefficients: Tensor, prototypes: Tensor, rows: Ints | None = None
) -> Iterator[tuple[Ints, Singles]]:
    """A few rows at a time, and their (n, h, w) probabilities; None: all rows there are."""
    rows = np.arange(len(coefficients)) if rows is None else rows
    flat = prototypes.float().flatten(1)
    for first in range(0, len(rows), AT_A_TIME):
        some = rows[first : first + AT_A_TIME]
        logits = coefficients[torch.from_numpy(some).to(coefficients.device)] @ flat
        yield some, sigmoid(logits.view(-1, *prototypes.shape[1:]).cpu().numpy())
