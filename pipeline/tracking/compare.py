"""The similarity a match is decided on, put together from boxes, masks, movement, appearance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.tracking import similarity
from pipeline.tracking.detections import Detections
from pipeline.tracking.motion import to_corners
from pipeline.tracking.settings import TrackerSettings
from pipeline.tracking.tracks import Tracks

Array = NDArray[np.float64]

NEAR = 0.02
"""Boxes have to overlap this much for their masks to be compared."""
UNLIKE = -1.0
"""Similarity of pairs whose classes never follow each other."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """(T, N) matrices of one frame."""

    total: Array
    """What high scores are matched on."""
    overlap: Array
    """Overlap of box or mask, whichever says more: what low scores are matched on."""
    apart: NDArray[np.bool_] | None
    """Pairs whose classes may not follow each other; None where all may."""


def compare(
    tracks: Tracks, detections: Detections, *, settings: TrackerSettings, height: int
) -> Likeness:
    """Compare the predicted tracks with the detections of a frame `height` pixels high."""
    predicted = tracks.filters[:, 0]
    boxes = similarity.box_iou(to_corners(predicted), detections.boxes)
    overlap = boxes
    if settings.mask_weight > 0 and len(detections.runs.starts):
        overlap = _with_masks(boxes, tracks, detections, settings.mask_weight, height)
    total = overlap
    if settings.height_weight > 0:
        ratio = similarity.height_ratio(predicted[:, 3], detections.centred[:, 3])
        total = total * (ratio if settings.height_weight == 1.0 else ratio**settings.height_weight)
    if settings.direction_weight > 0:
        heading = similarity.direction(
            tracks.history[:, 0], tracks.history[:, -1], detections.centred[:, :2]
        )
        total = total + settings.direction_weight * heading * detections.scores * (boxes > 0)
    if settings.with_reid and detections.embeddings is not None:
        alike = tracks.embedding @ detections.embeddings.T
        total = total + settings.reid_weight * np.where(boxes > 0.05, alike.clip(0), 0.0)
    apart = tracks.group[:, None] != detections.groups
    if not apart.any():
        return Likeness(total, overlap, None)
    return Likeness(np.where(apart, UNLIKE, total), np.where(apart, UNLIKE, overlap), apart)


def _with_masks(
    boxes: Array, tracks: Tracks, detections: Detections, weight: float, height: int
) -> Array:
    """Box overlap blended with mask overlap where both sides have a mask."""
    runs = detections.runs
    near = (boxes > NEAR) & (tracks.mask_area > 0)[:, None] & (runs.areas > 0)
    pairs = (np.nonzero(near)[0].astype(np.int64), np.nonzero(near)[1].astype(np.int64))
    moved = np.rint(tracks.filters[:, 0, :2] - tracks.mask_centre).astype(np.int64)
    shared = similarity.intersections(tracks.masks, moved[:, 0] * height + moved[:, 1], runs, pairs)
    union = tracks.mask_area[pairs[0]] + runs.areas[pairs[1]] - shared
    blended = boxes.copy()
    blended[pairs] = (1 - weight) * boxes[pairs] + weight * shared / np.maximum(union, 1)
    return blended
