"""Puts sprites and their shadows into a picture, seen through a camera that moves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.sources.street.pen import STORED, Point, Sprite

_Window = tuple[int, int, int, int]
"""Whole pixels of a picture: x0, y0, x1, y1, the last two exclusive."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A thing's pixels as the camera sees them."""

    window: tuple[int, int, int, int]
    """Where in the picture: x0, y0, x1, y1."""
    colour: NDArray[np.uint8]
    """(h, w, 3) BGR, premultiplied."""
    cover: NDArray[np.uint8]
    """(h, w); a pixel belongs to the thing from 128 on."""


def see(
    sprite: Sprite, foot: Point, camera: NDArray[np.float64], *, size: tuple[int, int]
) -> Patch | None:
    """A sprite as the camera sees it; None if it is outside the picture.

    Args:
        sprite: what stands there.
        foot: where its anchor is, in pixels of the resting camera.
        camera: (3, 3), maps pixels of the resting camera to those of the picture.
        size: (height, width) of the picture.
    """
    ax, ay = sprite.anchor
    h, w = sprite.image.shape[:2]
    k = 1 / STORED
    place = np.array([[k, 0, foot[0] - ax * k], [0, k, foot[1] - ay * k], [0, 0, 1]])
    full = camera @ place
    corners = full[:2] @ np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1]])
    window = _clip(*corners.min(1).tolist(), *corners.max(1).tolist(), size=size)
    if window is None:
        return None
    x0, y0, x1, y1 = window
    local = full[:2].copy()
    local[:, 2] -= (x0, y0)
    local[:, 2] += 0.5 * (local[:, 0] + local[:, 1]) - 0.5  # corners to pixel centres
    warped = cv2.warpAffine(sprite.image, local, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    pixels = np.asarray(warped, np.uint8)
    colour, cover = np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
    return Patch(window, colour, cover)


def lay_over(image: NDArray[np.uint8], patch: Patch) -> None:
    """Draw a patch over what is there."""
    x0, y0, x1, y1 = patch.window
    crop = image[y0:y1, x0:x1]
    behind = cv2.multiply(crop, cv2.merge([255 - patch.cover] * 3), scale=1 / 255)
    crop[:] = cv2.add(behind, patch.colour)


def cast_shadow(
    image: NDArray[np.uint8],
    camera: NDArray[np.float64],
    spot: Point,
    radii: Point,
    *,
    soft: float,
    darkness: float,
) -> None:
    """Darken an ellipse of the ground; its edge fades over `soft` pixels."""
    rx, ry = radii
    cx, cy, _ = camera @ (spot[0], spot[1], 1.0)
    wide, high = rx + 2 * soft, ry + 2 * soft
    window = _clip(cx - wide, cy - high, cx + wide, cy + high, size=image.shape[:2])
    if window is None:
        return
    x0, y0, x1, y1 = window
    xs = (np.arange(x0, x1, dtype=np.float32) + 0.5 - cx) / (rx + soft)
    ys = (np.arange(y0, y1, dtype=np.float32) + 0.5 - cy) / (ry + soft)
    distance = xs[None, :] ** 2 + ys[:, None] ** 2
    keep = 1 - darkness * np.clip(1.35 * (1 - distance), 0, 1)
    crop = image[y0:y1, x0:x1]
    crop[:] = cv2.multiply(crop, cv2.merge([keep] * 3), dtype=cv2.CV_8U)


def _clip(x0: float, y0: float, x1: float, y1: float, *, size: tuple[int, ...]) -> _Window | None:
    """Whole pixels that hold the rectangle, cut to the picture; None if nothing is left."""
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(size[1], int(np.ceil(x1))), min(size[0], int(np.ceil(y1)))
    return (left, top, right, bottom) if left < right and top < bottom else None
