"""Constant-velocity Kalman filters for boxes, all tracks at once, in seconds.

The state of a track is four independent filters of position and speed, for the centre, width and
height of its box: noise, motion and measurement are diagonal, so an 8x8 filter is four 2x2 ones
with closed forms and no matrix is ever inverted. Filters are float64 (T, 5, 4): position, speed
per `REFERENCE_S`, and the three entries of the symmetric covariance; columns are cx, cy, w, h.
"""

from __future__ import annotations

import numpy as np

from pipeline.arrays import Bools, Floats

REFERENCE_S = 1.0 / 30.0
"""The frame time the noise is stated for; speeds are pixels per this time."""
POSITION_NOISE = 1.0 / 20.0
SPEED_NOISE = 1.0 / 240.0
"""Standard deviations relative to the box's width and height, per reference frame."""
MAX_STEPS = 60.0
"""No prediction reaches further than this."""

LEAP_STEPS = 5.0
"""A prediction over more than this is a leap: a straight line is not enough for what comes near."""
NEAREST, FARTHEST = 3.0, 0.5
"""Factors by which distance may change in one leap, coming nearer and going farther."""
GROWTH, SHRINKAGE = 1.6, 0.6
"""Factors by which the size of a box may change in one leap."""

SHRINK = 1.1
"""A box smaller than expected by up to this factor is noise; beyond it something is hidden."""
SHRINK_POWER = 8.0
"""How fast a box is believed less, the smaller it is."""
UNSURE_DOUBT = 4.0
"""Factor of the variance of a box of low score, which often shows a part of the object only."""

_SIZE_COLUMNS = [2, 3, 2, 3]


def to_centre(boxes: Floats) -> Floats:
    """(N, 4) xyxy to cx, cy, w, h."""
    out = np.empty_like(boxes)
    np.subtract(boxes[:, 2:], boxes[:, :2], out=out[:, 2:])
    np.multiply(out[:, 2:], 0.5, out=out[:, :2])
    out[:, :2] += boxes[:, :2]
    return out


def to_corners(centred: Floats) -> Floats:
    """(N, 4) cx, cy, w, h to xyxy."""
    half = centred[:, 2:] * 0.5
    out = np.empty_like(centred)
    np.subtract(centred[:, :2], half, out=out[:, :2])
    np.add(centred[:, :2], half, out=out[:, 2:])
    return out


def start(centred: Floats) -> Floats:
    """New filters (N, 5, 4) at these boxes (N, 4), standing still."""
    filters = np.zeros((len(centred), 5, 4))
    size = centred[:, _SIZE_COLUMNS]
    filters[:, 0] = centred
    filters[:, 2] = (2 * POSITION_NOISE * size) ** 2
    filters[:, 4] = (10 * SPEED_NOISE * size) ** 2
    return filters


def predict(filters: Floats, elapsed_s: float) -> None:
    """Move all filters `elapsed_s` on, in place; nothing happens when time does not advance."""
    k = min(elapsed_s / REFERENCE_S, MAX_STEPS)
    if k <= 0.0 or not len(filters):
        return
    position, speed, p00, p01, p11 = (filters[:, i] for i in range(5))
    variance = position[:, _SIZE_COLUMNS]
    variance *= variance
    if k > LEAP_STEPS:
        _leap(position, speed, k)
    else:
        position += k * speed
    np.maximum(position[:, 2:], 1.0, out=position[:, 2:])
    p00 += (2 * k) * p01 + (k * k) * p11 + (k * POSITION_NOISE**2) * variance
    p01 += k * p11
    p11 += (k * SPEED_NOISE**2) * variance


def _leap(position: Floats, speed: Floats, k: float) -> None:
    """Carry boxes over `k` steps that nobody saw, in place.

    What moves steadily in the world at distance z appears with a size and a place proportional to
    1 / z: growing by a share g of its size a step now, it will be 1 / (1 - g k) times as large,
    and have moved as many times further than a straight line says. Width and height both have to
    grow, or shrink, to tell, and then do so together; only one of them changes where something is
    hidden, turns or walks, and does not go on.
    """
    rate = speed[:, 2:] / position[:, 2:]
    together = np.sign(rate[:, 1]) * np.abs(rate).min(axis=1) * (rate[:, 0] * rate[:, 1] > 0)
    nearer = np.clip(1.0 / np.maximum(1.0 - together * k, 1.0 / NEAREST), FARTHEST, NEAREST)
    position[:, :2] += (k * nearer)[:, None] * speed[:, :2]
    position[:, 2:] *= np.clip(nearer, SHRINKAGE, GROWTH)[:, None]


def correct(filters: Floats, observed: Floats, doubt: Floats | None = None) -> Floats:
    """The filters after an observation.

    Args:
        filters: (M, 5, 4), predicted.
        observed: (M, 4) cx, cy, w, h.
        doubt: (M, 4) by which factor the variance of each number exceeds the usual one.
    """
    out = np.empty_like(filters)
    position, speed, p00, p01, p11 = (filters[:, i] for i in range(5))
    noise = POSITION_NOISE * position[:, _SIZE_COLUMNS]
    noise *= noise
    if doubt is not None:
        noise *= doubt
    scale = 1.0 / (p00 + noise)
    gain, speed_gain = p00 * scale, p01 * scale
    error = observed - position
    out[:, 0] = position + gain * error
    out[:, 1] = speed + speed_gain * error
    keep = 1.0 - gain
    out[:, 2] = keep * p00
    out[:, 3] = keep * p01
    out[:, 4] = p11 - speed_gain * p01
    np.maximum(out[:, 0, 2:], 1.0, out=out[:, 0, 2:])
    return out


def hidden(expected: Floats, observed: Floats, unsure: Bools) -> Floats:
    """How little boxes tell of their whole objects, (M, 4) factors of variance for `correct`.

    Where something moves in front of an object its box shrinks, its centre runs away from what
    hides it, and both would be believed to go on. A box that is smaller than expected is therefore
    believed little in that direction, one that is larger is taken as it is.

    Args:
        expected: (M, 4) cx, cy, w, h of the whole objects.
        observed: (M, 4) of what is seen of them.
        unsure: (M,) whose detection has a low score.
    """
    smaller = expected[:, 2:] / (SHRINK * observed[:, 2:])
    doubt = np.tile(np.clip(smaller, 1.0, 10.0) ** SHRINK_POWER, 2)
    doubt[unsure] *= UNSURE_DOUBT
    return doubt


def warp(filters: Floats, motion: Floats) -> None:
    """Carry all filters along with the camera, in place; `motion` is (2, 3)."""
    linear, shift = motion[:, :2], motion[:, 2]
    scale = float(np.sqrt(abs(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0])))
    filters[:, :2, :2] = filters[:, :2, :2] @ linear.T
    filters[:, 0, :2] += shift
    filters[:, :2, 2:] *= scale
    filters[:, 2:] *= scale * scale


def warp_points(points: Floats, motion: Floats) -> Floats:
    """Points (..., 2) carried along with the camera."""
    return np.asarray(points @ motion[:, :2].T + motion[:, 2])
