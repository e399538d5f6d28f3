"""How near a detection is to where a track should be, for what moved further than overlap tells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

START = 0.18
"""How far, in own sizes, an object may be from its prediction at once,"""
PACE = 4.0
"""and how many times the usual distance at the pace of the stream, as time goes on."""
HEIGHT = 0.5
"""Share of the height that it may be too high or low, and factor of heights (as a logarithm)."""


def nearness(predicted: Array, found: Array, *, unseen_s: Array, pace: float) -> Array:
    """1 at the predicted place, 0 at the end of reach, below beyond; (T, N).

    Height in the picture and size count most: what stands on the same ground and is as large is as
    far away, wherever it went.

    Args:
        predicted: (T, 4) cx, cy, w, h of tracks now.
        found: (N, 4) of detections.
        unseen_s: (T,) seconds since each track was seen.
        pace: of the stream, in own sizes a second.
    """
    predicted = predicted[:, None]
    size = predicted[..., 2:].sum(axis=2) * 0.5
    reach = START + PACE * pace * unseen_s[:, None]
    across = np.abs(predicted[..., 0] - found[:, 0]) / (reach * size)
    level = np.abs(predicted[..., 1] - found[:, 1]) / (HEIGHT * predicted[..., 3])
    heights = np.abs(np.log(predicted[..., 3] / found[:, 3])) / HEIGHT
    return np.asarray(1.0 - across - level - heights)
