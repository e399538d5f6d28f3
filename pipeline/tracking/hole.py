"""What belongs together after a hole in a stream, when everything may have moved far.

Overlap alone finds who stood still; nearness finds the others. What was found then tells how all
that is around moved while nobody looked: the camera turned, a street was crossed.
"""

from __future__ import annotations

import numpy as np

from pipeline.arrays import Floats, Ints
from pipeline.tracking import neighbours
from pipeline.tracking.detections import Detections
from pipeline.tracking.likeness import UNLIKE, Likeness
from pipeline.tracking.reach import Reach, nearness
from pipeline.tracking.tracks import Tracks

HOLE_S = 0.18
"""After longer without a frame overlap is not enough."""
OVERLAP = 1.36
"""Weight of overlap against nearness."""
ABSENCE = 1.1
"""What a track loses against others for every second, up to one, it was missed before the hole."""
LEAST_OVERLAP = 0.144
"""What overlaps this much may match, however wrong its size."""
FAR = Reach(start=0.55, pace=4.8, level=0.33, heights=0.91, growth=1.3, widths=0.4)
LEAST_ALIKE = 0.01
"""What a pair counts at least that may match by `LEAST_OVERLAP`."""
ENOUGH = 3
"""Tracks that have to be found before they tell about the others."""


def alike(
    tracks: Tracks,
    detections: Detections,
    like: Likeness,
    *,
    unseen_s: Floats,
    missed_s: Floats,
    pace: float,
) -> Floats:
    """Overlap and nearness in one number, (T, N), above 0 where a pair may match.

    Args:
        tracks: T tracks at the time of the frame.
        detections: N detections.
        like: how much they overlap.
        unseen_s: (T,) for how long each track has not been seen, the hole included.
        missed_s: (T,) the same until the hole.
        pace: of the stream, in own sizes a second.
    """
    near = nearness(tracks.filters[:, 0], detections.centred, FAR, unseen_s=unseen_s, pace=pace)
    both = OVERLAP * np.maximum(like.total, 0.0) + np.maximum(near, 0.0)
    both -= ABSENCE * np.minimum(missed_s, 1.0)[:, None]
    may = (like.overlap > LEAST_OVERLAP) | (both > 0.0)
    if like.apart is not None:
        may &= ~like.apart
    return np.where(may, np.maximum(both, LEAST_ALIKE), UNLIKE)


def drift(tracks: Tracks, detections: Detections, found: tuple[Ints, Ints]) -> Floats:
    """How much further than predicted each track probably moved, (T, 2) in pixels.

    Neighbours that were found tell, as far as they agree; dancers do not, parked cars do.

    Args:
        tracks: T tracks at the time of the frame.
        detections: of the frame.
        found: rows of tracks and of detections that seem to belong together.
    """
    rows, columns = found
    boxes = tracks.filters[:, 0]
    further = detections.centred[columns, :2] - boxes[rows, :2]
    itself = np.arange(len(tracks))[:, None] == rows
    return neighbours.shared(boxes[rows], further, boxes, without=itself)
