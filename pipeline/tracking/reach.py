"""How near a detection is to where a track should be, for what moved further than overlap tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an object may be from its prediction."""

    start: float
    """Sideways, in own sizes, just after it was seen."""
    pace: float
    """Sideways, added with time: multiples of the distance usual at the pace of the stream."""
    level: float
    """Share of its height that it may be too high or low."""
    heights: float
    """Logarithm of the factor its height may be wrong by just after it was seen."""
    growth: float
    """Added to that logarithm with every second unseen."""
    widths: float
    """Nearness lost when its width is wrong by a factor of e; arms and corners come and go."""


def nearness(
    predicted: Floats, found: Floats, reach: Reach, *, unseen_s: Floats, pace: float
) -> Floats:
    """1 at the predicted place, 0 at the end of reach, below beyond; (T, N).

    Height in the picture and size count most: what stands on the same ground and is as large is as
    far away, wherever it went.

    Args:
        predicted: (T, 4) cx, cy, w, h of tracks now.
        found: (N, 4) of detections.
        reach: how far is too far.
        unseen_s: (T,) seconds since each track was seen.
        pace: of the stream, in own sizes a second.
    """
    predicted, unseen = predicted[:, None], unseen_s[:, None]
    size = predicted[..., 2:].sum(axis=2) * 0.5
    aside = np.abs(predicted[..., 0] - found[:, 0]) / size
    level = np.abs(predicted[..., 1] - found[:, 1]) / predicted[..., 3]
    widths, heights = np.moveaxis(np.abs(np.log(predicted[..., 2:] / found[:, 2:])), 2, 0)
    return np.asarray(
        1.0
        - aside / (reach.start + reach.pace * pace * unseen)
        - level / reach.level
        - heights / (reach.heights + reach.growth * unseen)
        - widths * reach.widths
    )
