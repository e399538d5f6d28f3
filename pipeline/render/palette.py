"""Colours that stay with a track, and the ink that can be read on them.

Hues follow one another by the golden ratio, so neighbours in number are far apart in colour and
any count of them fills the circle evenly. All share one chroma and three close lightnesses of the
OKLCH space, in which equal steps look equal: no colour shouts, none drowns in asphalt.
"""

from __future__ import annotations

import math
from functools import lru_cache

BGR = tuple[int, int, int]
GOLDEN = (math.sqrt(5) - 1) / 2
CHROMA = 0.17
LIGHTNESSES = (0.72, 0.64, 0.80)


@lru_cache(maxsize=4096)
def colour(number: int) -> BGR:
    """The colour of a track or class, the same in every frame, process and run."""
    hue = math.tau * ((0.08 + number * GOLDEN) % 1.0)
    return oklch(LIGHTNESSES[number % len(LIGHTNESSES)], CHROMA, hue)


def ink(background: BGR) -> BGR:
    """Black or white, whichever stands out more from the background."""
    blue, green, red = (_linear(value / 255) for value in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (16, 16, 16) if luminance > 0.18 else (255, 255, 255)


def oklch(lightness: float, chroma: float, hue: float) -> BGR:
    """A colour of the OKLCH space as sRGB bytes, chroma lowered until it can be shown."""
    while True:
        a, b = chroma * math.cos(hue), chroma * math.sin(hue)
        long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
        medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
        short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
        bgr = (
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        )
        if chroma <= 0 or all(-1e-4 <= value <= 1 + 1e-4 for value in bgr):
            blue, green, red = (round(255 * _encoded(min(max(v, 0.0), 1.0))) for v in bgr)
            return blue, green, red
        chroma = max(chroma - 0.005, 0.0)


def _encoded(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _linear(encoded: float) -> float:
    return encoded / 12.92 if encoded <= 0.04045 else ((encoded + 0.055) / 1.055) ** 2.4
