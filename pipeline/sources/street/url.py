"""`synthetic://street?seed=1&frames=250&size=640x384&fps=25`: the address of a street."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pipeline.catalogue import nearest
from pipeline.errors import ConfigError

MIN_SIDE, MAX_SIDE = 96, 4096
MAX_FPS = 240.0
_KEYS = ("seed", "frames", "size", "fps")


@dataclass(frozen=True, slots=True)
class StreetUrl:
    """What an address asks for."""

    seed: int = 1
    frames: int = 250
    size: tuple[int, int] = (384, 640)
    """(height, width) in pixels."""
    fps: float = 25.0

    @staticmethod
    def parse(url: str) -> StreetUrl:
        """Read an address; what is left out has its default.

        Raises:
            ConfigError: another scene, an unknown key, or a value out of range.
        """
        parts = urlsplit(url)
        scene = parts.netloc + parts.path.rstrip("/")
        if parts.scheme != "synthetic" or scene != "street":
            raise ConfigError(f"{url}: unknown scene {scene!r}; there is synthetic://street")
        values = StreetUrl()
        seed, frames, size, fps = values.seed, values.frames, values.size, values.fps
        seen: set[str] = set()
        for key, text in parse_qsl(parts.query, keep_blank_values=True):
            if key not in _KEYS:
                near = nearest(key, _KEYS)
                hint = f"; did you mean {near!r}?" if near else ""
                raise ConfigError(
                    f"{url}: unknown key {key!r}; known keys are {', '.join(_KEYS)}{hint}"
                )
            if key in seen:
                raise ConfigError(f"{url}: {key} is given twice")
            seen.add(key)
            if key == "seed":
                seed = _whole(url, key, text, 0, 2**32 - 1)
            elif key == "frames":
                frames = _whole(url, key, text, 1, 2**31 - 1)
            elif key == "size":
                size = _size(url, text)
            else:
                fps = _rate(url, text)
        return StreetUrl(seed, frames, size, fps)


def _whole(url: str, key: str, text: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
        raise ConfigError(f"{url}: {key} must be a whole number {low}..{high}, got {text!r}")
    return int(text)


def _size(url: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text)
    sides = [int(side) for side in match.groups()] if match else []
    if not sides or not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        raise ConfigError(
            f"{url}: size must be WIDTHxHEIGHT, each {MIN_SIDE}..{MAX_SIDE}, got {text!r}"
        )
    return sides[1], sides[0]


def _rate(url: str, text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 0 < fps <= MAX_FPS:  # refuses nan as well
        raise ConfigError(f"{url}: fps must be above 0 and at most {MAX_FPS:g}, got {text!r}")
    return fps
