"""What is allowed and may surprise: said by `check`, and before a run."""

from __future__ import annotations

from pipeline import tracking
from pipeline.build.naming import preset_of
from pipeline.config import Settings, SourceSettings

_SLOW_FPS = 10.0
"""Sources that are slower are rare."""


def notes(settings: Settings) -> list[str]:
    """One line each."""
    return [text for source in settings.sources if (text := _gaps(settings, source)) is not None]


def _gaps(settings: Settings, source: SourceSettings) -> str | None:
    """Where the tracker carries nothing any more before the next frame is segmented."""
    preset, every = preset_of(settings, source), source.segment_every
    if preset == "none" or every == 1:
        return None
    carried_s = tracking.TrackerTuning.of(preset, **settings.tracker.settings).predict_for
    needed_fps = (every - 1) / carried_s if carried_s > 0 else float("inf")
    if needed_fps <= min(source.max_fps or _SLOW_FPS, _SLOW_FPS):
        return None
    return (
        f"source {source.id}: with segment_every {every} and predict_for {carried_s:g} s, frames "
        f"are published without instances where fewer than {needed_fps:.3g} a second are taken; a "
        "larger tracker.predict_for carries them further"
    )
