"""Tracking: the names of presets and settings, and the two objects a stream needs.

Importing this package is light; the tracker itself is imported when one is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.tracking.settings import PRESETS, TRACKER_KEYS, TrackerTuning

if TYPE_CHECKING:
    from pipeline.tracking.camera import OpticalFlowMotion
    from pipeline.tracking.tracker import StreamTracker

__all__ = ["PRESETS", "TRACKER_KEYS", "TrackerTuning", "make_camera_motion", "make_tracker"]


def make_tracker(
    preset: str = "default", *, class_names: Mapping[int, str] | None = None, **overrides: Any
) -> StreamTracker:
    """A tracker for one stream.

    Args:
        preset: one of `PRESETS`.
        class_names: names by class id, so that e.g. car and truck may be one track.
        overrides: keys of `TrackerTuning`, `min_score` among them: instances are published
            once the best score of their track has reached it.

    Raises:
        ConfigError: an unknown preset or key, or a value out of range.
    """
    settings = TrackerTuning.of(preset, **overrides)
    tracker: StreamTracker = PRESETS[preset].load()(settings, class_names=class_names)
    return tracker


def make_camera_motion(*, max_side_px: int = 480) -> OpticalFlowMotion:
    """An estimator of camera motion for one stream.

    Args:
        max_side_px: pictures are reduced to this before points are followed.
    """
    from pipeline.tracking.camera import OpticalFlowMotion

    return OpticalFlowMotion(max_side_px=max_side_px)
