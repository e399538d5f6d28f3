"""The name tags of instances: what they say, how large, and where there is room for them."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.render.palette import BGR, ink

Rectangle = tuple[int, int, int, int]
FONT = cv2.FONT_HERSHEY_DUPLEX


def text_height(size: tuple[int, int]) -> int:
    """Height of capital letters in pixels for a picture of `size` (height, width)."""
    return max(9, round(min(size[0], size[1] * 9 / 16) / 56))


def plain(text: str) -> str:
    """The text in the letters the font has: accents dropped, anything else a question mark."""
    folded = unicodedata.normalize("NFKD", text)
    letters = (char for char in folded if not unicodedata.combining(char))
    return "".join(char if " " <= char <= "~" else "?" for char in letters)


@lru_cache(maxsize=2048)
def tag(text: str, height: int, background: BGR) -> NDArray[np.uint8]:
    """A small picture (h, w, 3) with the text on its background; the same object every time."""
    scale = cv2.getFontScaleFromHeight(FONT, height, 1)
    thickness = max(1, round(height / 14))
    (width, tall), below = cv2.getTextSize(text, FONT, scale, thickness)
    pad = max(2, height // 3)
    picture = np.full((tall + below // 2 + 2 * pad, width + 2 * pad, 3), background, np.uint8)
    cv2.putText(
        picture, text, (pad, pad + tall), FONT, scale, ink(background), thickness, cv2.LINE_AA
    )
    picture.flags.writeable = False
    return picture


class Room:
    """The places in a picture that tags have taken."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._height, self._width = size
        self._taken = np.zeros((0, 4), np.int64)

    def place(self, box: Rectangle, tag_size: tuple[int, int]) -> tuple[int, int]:
        """Where a tag of (height, width) goes: over the box, in it, or under it; x, y."""
        tall, wide = tag_size
        x0, y0, _, y1 = box
        x = max(min(x0, self._width - wide), 0)
        choices = [(x, y) for y in (y0 - tall, y0, y1 - tall, y1)]
        inside = [(x, y) for x, y in choices if 0 <= y <= self._height - tall]
        free = (place for place in inside if not self._collides(*place, wide, tall))
        x, y = next(free, inside[0] if inside else (x, 0))
        self._taken = np.vstack([self._taken, [x, y, x + wide, y + tall]])
        return x, y

    def _collides(self, x: int, y: int, wide: int, tall: int) -> bool:
        taken = self._taken
        apart = (taken[:, 0] >= x + wide) | (taken[:, 2] <= x)
        apart |= (taken[:, 1] >= y + tall) | (taken[:, 3] <= y)
        return not apart.all()
