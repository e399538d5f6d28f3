"""A brush that draws shapes given in metres and finishes them into shaded, smooth sprites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""Blue, green, red, 0..255."""
Point = tuple[float, float]

OVERSAMPLE = 4
"""Shapes are drawn this many times larger than they appear, for smooth edges."""
STORED = 2
"""Sprites are kept this many times larger than they appear, for sharp motion between pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A drawn object, `STORED` times as large as it appears in the picture."""

    image: NDArray[np.uint8]
    """(h, w, 4) BGR premultiplied by the last channel, its coverage."""
    anchor: Point
    """Where the object touches the ground, (x, y) in stored pixels."""
    area: float
    """Pixels of the picture that the whole silhouette covers."""


class Pen:
    """Draws an object that stands on y = 0 and looks towards +x; y grows upwards.

    Args:
        extent: (left, right, top) in metres around the ground point; drawing stays inside.
        pixels_per_m: size in the picture.
        flip: True lets the object look towards -x.
    """

    def __init__(
        self, extent: tuple[float, float, float], pixels_per_m: float, *, flip: bool = False
    ) -> None:
        left, right, top = extent
        self._scale = pixels_per_m * OVERSAMPLE
        self._flip = flip
        pad = 3 * OVERSAMPLE
        if flip:
            left, right = right, left
        step = OVERSAMPLE  # whole stored pixels
        width = int(np.ceil(((left + right) * self._scale + 2 * pad) / step)) * step
        height = int(np.ceil((top * self._scale + 2 * pad) / step)) * step
        self._origin = (left * self._scale + pad, height - pad - 1.0)
        self._bgr = np.zeros((height, width, 3), np.uint8)
        self._cover = np.zeros((height, width), np.uint8)

    def _pixels(self, points: Sequence[Point] | NDArray[np.float64]) -> NDArray[np.int32]:
        metres = np.asarray(points, np.float64).reshape(-1, 2)
        x = -metres[:, 0] if self._flip else metres[:, 0]
        ox, oy = self._origin
        return (
            np.stack([ox + x * self._scale, oy - metres[:, 1] * self._scale], 1)
            .round()
            .astype(np.int32)
        )

    def polygon(self, points: Sequence[Point], colour: Colour, *, smooth: int = 0) -> None:
        """Fill a polygon; `smooth` rounds its corners that many times (Chaikin)."""
        outline = np.asarray(points, np.float64)
        for _ in range(smooth):
            ahead = np.roll(outline, -1, 0)
            outline = np.stack([0.8 * outline + 0.2 * ahead, 0.2 * outline + 0.8 * ahead], 1)
            outline = outline.reshape(-1, 2)
        pixels = [self._pixels(outline)]
        cv2.fillPoly(self._bgr, pixels, colour)
        cv2.fillPoly(self._cover, pixels, 255)

    def box(self, low: Point, high: Point, colour: Colour, *, smooth: int = 0) -> None:
        """Fill the rectangle between two corners."""
        (x0, y0), (x1, y1) = low, high
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, smooth=smooth)

    def limb(self, path: Sequence[Point], width_m: float, colour: Colour) -> None:
        """A rounded stroke along `path`."""
        pixels = [self._pixels(path)]
        thickness = max(1, round(width_m * self._scale))
        cv2.polylines(self._bgr, pixels, False, colour, thickness)
        cv2.polylines(self._cover, pixels, False, 255, thickness)

    def disc(
        self, centre: Point, radius_m: float | Point, colour: Colour, *, degrees: float = 0
    ) -> None:
        """Fill a disc, or an ellipse when two radii are given."""
        rx, ry = radius_m if isinstance(radius_m, tuple) else (radius_m, radius_m)
        axes = (max(1, round(rx * self._scale)), max(1, round(ry * self._scale)))
        at = tuple(int(v) for v in self._pixels([centre])[0])
        angle = degrees if self._flip else -degrees
        cv2.ellipse(self._bgr, at, axes, angle, 0, 360, colour, -1)
        cv2.ellipse(self._cover, at, axes, angle, 0, 360, 255, -1)

    def finish(self, rng: np.random.Generator, *, grain: float = 5.0) -> Sprite:
        """Light it from above, darken its rim, add grain, and shrink it to a sprite."""
        shrink = OVERSAMPLE // STORED
        size = (self._cover.shape[1] // shrink, self._cover.shape[0] // shrink)
        colour = cv2.resize(self._bgr, size, interpolation=cv2.INTER_AREA)
        cover = cv2.resize(self._cover, size, interpolation=cv2.INTER_AREA)
        width, height = size
        soft = cv2.GaussianBlur(cover, (0, 0), max(0.8, 0.045 * self._scale / shrink))
        rim = np.clip((soft.astype(np.float32) - 110) / 120, 0, 1)
        fall = np.linspace(1.1, 0.84, height, dtype=np.float32)[:, None]
        light = fall * (0.74 + 0.26 * rim)
        coarse = rng.normal(0, grain, (height // STORED + 1, width // STORED + 1))
        noise = cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        noise = noise * (cover * np.float32(1 / 255))
        lit = cv2.multiply(colour, cv2.merge([light] * 3), dtype=cv2.CV_32F)
        lit = cv2.add(lit, cv2.merge([noise] * 3))
        image = np.empty((height, width, 4), np.uint8)
        # premultiplied: no channel may exceed its coverage
        image[..., :3] = np.minimum(np.clip(lit, 0, 255), cover[..., None])
        image[..., 3] = cover
        area = float(np.count_nonzero(cover >= 128)) / STORED**2
        ox, oy = self._origin
        return Sprite(image, (ox / shrink, oy / shrink), area)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (< 1) or lighter (> 1)."""
    b, g, r = (int(np.clip(c * factor, 0, 255)) for c in colour)
    return b, g, r


def pick(rng: np.random.Generator, colours: Sequence[Colour], spread: int = 14) -> Colour:
    """One of `colours`, a little different each time."""
    b, g, r = np.clip(
        np.array(colours[int(rng.integers(len(colours)))]) + rng.integers(-spread, spread + 1, 3),
        0,
        255,
    ).tolist()
    return b, g, r
