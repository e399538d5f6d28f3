"""What a tracker hands on: published instances of this frame, or carried ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.arrays import Bools, Ints
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.masks.spans import counts_of
from pipeline.tracking import kalman
from pipeline.tracking.classes import ClassTable
from pipeline.tracking.detections import Detections
from pipeline.tracking.life import PUBLISH
from pipeline.tracking.tracks import Tracks


def published(
    instances: Instances,
    detections: Detections,
    owner: Ints,
    *,
    tracks: Tracks,
    classes: ClassTable,
    min_score: float,
) -> Instances:
    """The instances of published tracks that were ever sure enough, in input order.

    A mask is the truth about its box. A box without a mask is given as the filter of its track
    sees it, which is nearer to the object than what a detector says in a single frame.

    Args:
        instances: as they came in.
        detections: the usable ones among them.
        owner: (N,) the track of each detection, -1 for none.
        tracks: of the stream.
        classes: name the class of a track.
        min_score: best score a track must have had.
    """
    shown = np.flatnonzero(owner >= 0)
    mine = owner[shown]
    ready = tracks.ids[mine] > 0
    ready &= (tracks.evidence[mine] >= PUBLISH) & (tracks.best[mine] >= min_score)
    if not ready.all():
        shown, mine = shown[ready], mine[ready]
    rows = detections.rows[shown]
    chosen = instances if len(rows) == len(instances) else instances[rows]
    named = classes.winners(tracks.votes[mine]) if len(mine) else chosen.class_ids
    boxes, bare = chosen.boxes, detections.spans.areas[shown] == 0
    if bare.any():
        boxes = boxes.copy()
        boxes[bare] = kalman.to_corners(tracks.filters[mine[bare], 0])
    return replace(chosen, boxes=boxes, track_ids=tracks.ids[mine], class_ids=named)


def carried(
    image_size: tuple[int, int],
    *,
    tracks: Tracks,
    classes: ClassTable,
    fresh: Bools,
) -> Instances:
    """The tracks `fresh` (T,) where they should be now, marked as predicted."""
    height, width = image_size
    boxes = kalman.to_corners(tracks.filters[:, 0])
    np.clip(boxes, 0, [width, height, width, height], out=boxes)
    inside = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    rows = np.flatnonzero(fresh & inside)
    if not len(rows):
        none = Instances.empty(image_size)
        return replace(none, track_ids=np.zeros(0, np.int64), predicted=np.zeros(0, bool))
    moved = np.rint(tracks.whole[rows, 0, :2] - tracks.mask_centre[rows]).astype(np.int64)
    pixels = height * width
    masks = Masks.concatenate_counts(
        image_size, [counts_of(tracks.masks[row], pixels) for row in rows.tolist()]
    )
    return Instances(
        boxes=boxes[rows].astype(np.float32),
        scores=tracks.score[rows].astype(np.float32),
        class_ids=classes.winners(tracks.votes[rows]),
        masks=masks.translate(moved[:, 0], moved[:, 1]),
        track_ids=tracks.ids[rows],
        predicted=np.ones(len(rows), bool),
    )
