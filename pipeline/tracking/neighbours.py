"""What the tracks of a stream tell about each other: their common movement and their pace."""

from __future__ import annotations

import numpy as np

from pipeline.arrays import Bools, Floats
from pipeline.tracking.kalman import REFERENCE_S
from pipeline.tracking.tracks import Tracks

KNOWN_HITS = 3
"""Observations after which the speed of a track means something."""
NEAR_HEIGHTS = 3.0
"""Neighbours count less over distances of this many heights."""
FEW = 0.3
"""Weight of neighbours below which their movement is hardly believed."""

START_PACE = 1.0
PACE_MEMORY = 100
"""Observations the pace is averaged over."""
MAX_PACE = 20.0


def inherited_speed(tracks: Tracks, since_s: float, centred: Floats) -> Floats:
    """How new objects (N, 4; cx, cy, w, h) probably move, (N, 2) in pixels per reference frame.

    Where a camera turns or drives, everything near moves alike, and a track that starts with
    the speed of its neighbours is found again in the next frame.

    Args:
        tracks: those seen since `since_s` are asked.
        since_s: time of the last frame that was segmented.
        centred: the new objects.
    """
    known = (tracks.hits >= KNOWN_HITS) & (tracks.seen_s >= since_s)
    filters = tracks.filters[known]
    return shared(filters[:, 0], filters[:, 1, :2], centred)


def shared(
    asked: Floats, moves: Floats, centred: Floats, *, without: Bools | None = None
) -> Floats:
    """How objects (N, 4; cx, cy, w, h) probably move by what their neighbours do, (N, 2).

    Where neighbours move in all directions their mean says nothing and the answer is close to 0.

    Args:
        asked: (M, 4) the neighbours.
        moves: (M, 2) of each of them.
        centred: the objects.
        without: (N, M) neighbours that are not asked about an object.
    """
    if not len(asked):
        return np.zeros((len(centred), 2))
    larger = np.maximum(asked[:, 3], centred[:, None, 3])
    away = np.sqrt(((asked[:, :2] - centred[:, None, :2]) ** 2).sum(axis=2))
    weight = np.exp(-away / (NEAR_HEIGHTS * larger))
    weight *= np.minimum(asked[:, 3], centred[:, None, 3]) / larger
    if without is not None:
        weight[without] = 0.0
    total = np.maximum(weight.sum(axis=1), 1e-12)
    mean = weight @ moves / total[:, None]
    square = weight @ (moves * moves).sum(axis=1) / total
    agreement = (mean * mean).sum(axis=1) / np.maximum(square, 1e-9)
    return np.asarray(mean * (agreement * total / (total + FEW))[:, None])


def pace_after(pace: float, filters: Floats) -> float:
    """The running mean of how fast objects move, in own sizes a second.

    Args:
        pace: so far.
        filters: (M, 5, 4) of tracks seen again in this frame.
    """
    if not len(filters):
        return pace
    size = filters[:, 0, 2:].sum(axis=1) * 0.5
    speed = np.sqrt((filters[:, 1, :2] ** 2).sum(axis=1)) / (REFERENCE_S * size)
    share = 1.0 - (1.0 - 1.0 / PACE_MEMORY) ** len(filters)
    return pace + share * (float(np.minimum(speed, MAX_PACE).mean()) - pace)
