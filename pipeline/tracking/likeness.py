"""How alike tracks and detections are, put together from boxes, masks, heights, appearance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats
from pipeline.masks.spans import shifted_intersections
from pipeline.tracking.boxes import box_iou, height_ratio
from pipeline.tracking.detections import Detections
from pipeline.tracking.kalman import to_corners
from pipeline.tracking.settings import TrackerTuning
from pipeline.tracking.tracks import Tracks

NEAR = 0.02
"""Boxes have to overlap this much for their masks to be compared."""
REID_NEAR = 0.05
"""Boxes have to overlap this much for their appearance to be compared."""
UNLIKE = -1.0
"""Similarity of pairs that are never matched."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """(T, N) matrices of one frame; `UNLIKE` where classes may not follow each other."""

    overlap: Floats
    """Overlap of boxes, or of boxes and masks: decides whether a pair may match at all."""
    total: Floats
    """Overlap weighed with height, time unseen and appearance: decides between rivals."""
    apart: Bools | None
    """Pairs whose classes may not follow each other; None where all may."""


def compare(
    tracks: Tracks,
    detections: Detections,
    *,
    settings: TrackerTuning,
    height: int,
    unseen_s: Floats,
) -> Likeness:
    """Compare the predicted tracks with the detections of a frame.

    Args:
        tracks: T tracks at the time of the frame.
        detections: N detections.
        settings: the weights.
        height: of the picture.
        unseen_s: (T,) for how long each track has been missed, 0 for those seen last time.
    """
    predicted = tracks.filters[:, 0]
    boxes = box_iou(to_corners(predicted), detections.boxes)
    overlap = boxes
    if settings.mask_weight > 0 and len(detections.spans.starts):
        overlap = _with_masks(boxes, tracks, detections, settings.mask_weight, height)
    total = overlap
    if settings.height_weight > 0:
        ratio = height_ratio(predicted[:, 3], detections.centred[:, 3])
        if settings.height_weight != 1.0:
            ratio **= settings.height_weight
        total = overlap * ratio
    if settings.lost_cost > 0 and unseen_s.any():
        total = total - (settings.lost_cost * np.minimum(unseen_s, 1.0))[:, None]
    if settings.with_reid and detections.embeddings is not None:
        alike = tracks.embedding @ detections.embeddings.T
        total = total + settings.reid_weight * np.where(boxes > REID_NEAR, alike.clip(0), 0.0)
    apart = tracks.group[:, None] != detections.groups
    if not apart.any():
        return Likeness(overlap, total, None)
    return Likeness(np.where(apart, UNLIKE, overlap), np.where(apart, UNLIKE, total), apart)


def _with_masks(
    boxes: Floats, tracks: Tracks, detections: Detections, weight: float, height: int
) -> Floats:
    """Box overlap blended with mask overlap where both sides have a mask."""
    spans = detections.spans
    near = (boxes > NEAR) & (tracks.mask_area > 0)[:, None] & (spans.areas > 0)
    pairs = (np.nonzero(near)[0].astype(np.int64), np.nonzero(near)[1].astype(np.int64))
    moved = np.rint(tracks.whole[:, 0, :2] - tracks.mask_centre).astype(np.int64)
    shared = shifted_intersections(tracks.masks, moved[:, 0] * height + moved[:, 1], spans, pairs)
    union = tracks.mask_area[pairs[0]] + spans.areas[pairs[1]] - shared
    blended = boxes.copy()
    blended[pairs] = (1 - weight) * boxes[pairs] + weight * shared / np.maximum(union, 1)
    return blended
