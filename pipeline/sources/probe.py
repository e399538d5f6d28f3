"""`Probe`: what a source announces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Probe:
    """What a source says about itself; an announcement, never used to count or to time."""

    size: tuple[int, int]
    """(height, width) of the first picture as shown."""
    fps: float | None
    """Mean frames a second."""
    codec: str
    pixel_format: str
    frames: int | None
    """Frames announced, or worked out from the duration."""
    duration_s: float | None
