"""What a user may tune of the tracker: one validated value, and the presets that fill it.

Durations are seconds, because streams lose frames and change rate; everything that is a length is
relative to the size of the object. Names that the field knows keep their known meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from pipeline.catalogue import Catalogue, Entry, hint
from pipeline.errors import ConfigError

CLASS_GROUPS = (
    ("car", "truck", "bus", "van", "train"),
    ("person", "rider", "pedestrian"),
    ("bicycle", "motorcycle"),
)
"""Names a detector confuses on one and the same object; a track may change between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerTuning:
    """Settings of the tracker; every key may be given in YAML and on the command line.

    Raises:
        ConfigError: a value is outside its range.
    """

    track_high_thresh: float = 0.58
    """Detections from this score on may match any track and start new ones."""
    track_low_thresh: float = 0.1
    """Detections between this and the high threshold may only continue a track; lower ones
    are ignored."""
    new_track_thresh: float = 0.65
    """Score from which an unmatched detection starts a track."""
    track_buffer: float = 1.55
    """Seconds a track may stay unseen before it is forgotten."""
    match_thresh: float = 0.8
    """Largest cost, 1 - similarity, that is accepted as a match."""
    low_match_thresh: float = 0.35
    """The same for detections of low score."""
    confirm_evidence: float = 0.66
    """Evidence a new track needs before it is published: the sum of its scores above 0.4. Two
    detections of 0.75, three of 0.65; 0 publishes at once, as in the first frame of a stream."""
    confirm_within: float = 0.25
    """Seconds a new track may wait for its next detection."""
    height_weight: float = 1.0
    """Exponent of the ratio of heights; 0 leaves the height out."""
    lost_cost: float = 0.38
    """Similarity a track loses for each second it was not seen, up to one, so that tracks in sight
    go first."""
    mask_weight: float = 0.64
    """Share of the mask's overlap in the similarity; 0 compares boxes only."""
    birth_cover: float = 0.7
    """A detection starts no track where this share of its mask lies inside published ones."""
    duplicate_iou: float = 0.85
    """Of two tracks overlapping more than this the younger is removed."""
    predict_for: float = 0.3
    """Seconds a track is carried into frames that were not segmented."""
    with_reid: bool = False
    """Compare appearance embeddings, where the model gives them."""
    reid_weight: float = 0.25
    """Weight of the appearance's cosine similarity."""
    reid_buffer: float = 2.0
    """Seconds a lost track may be found again by appearance."""
    class_groups: tuple[tuple[str, ...], ...] = CLASS_GROUPS
    """Class names that may follow each other in one track."""
    min_score: float = 0.0
    """A track is published once its best score so far has reached this."""

    def __post_init__(self) -> None:
        for name in _SHARES:
            _check(name, getattr(self, name), low=0.0, high=1.0)
        for name in _POSITIVE:
            _check(name, getattr(self, name), low=0.0, high=3600.0)
        if self.track_low_thresh > self.track_high_thresh:
            raise ConfigError(
                f"tracker.track_low_thresh ({self.track_low_thresh}) must not be above "
                f"tracker.track_high_thresh ({self.track_high_thresh})"
            )

    @staticmethod
    def of(preset: str = "default", **overrides: Any) -> TrackerTuning:
        """The settings of a preset with single keys replaced.

        Raises:
            ConfigError: no such preset or key (the nearest name is given), or a wrong value.
        """
        if preset not in PRESETS:
            raise ConfigError(
                f"tracker preset {preset!r} does not exist{hint(preset, PRESETS)}; "
                f"there are {', '.join(PRESETS)} and none"
            )
        for key in overrides:
            if key not in TRACKER_KEYS:
                raise ConfigError(
                    f"tracker.{key} does not exist{hint(key, TRACKER_KEYS)}; "
                    f"known keys are {', '.join(sorted(TRACKER_KEYS))}"
                )
        try:
            return replace(TrackerTuning(**PRESETS[preset].options), **overrides)
        except TypeError as error:
            raise ConfigError(f"tracker: a value has the wrong type: {error}") from error


_SHARES = (
    "track_high_thresh",
    "track_low_thresh",
    "new_track_thresh",
    "match_thresh",
    "low_match_thresh",
    "lost_cost",
    "mask_weight",
    "birth_cover",
    "duplicate_iou",
    "reid_weight",
    "min_score",
)
_POSITIVE = (
    "confirm_evidence",
    "track_buffer",
    "confirm_within",
    "height_weight",
    "predict_for",
    "reid_buffer",
)

TRACKER_KEYS: tuple[str, ...] = tuple(f.name for f in fields(TrackerTuning))
"""Names a user may tune."""


@dataclass(frozen=True, slots=True)
class Preset(Entry):
    """One row; what it `opens` is called with `TrackerTuning` and the names of the classes."""

    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    """The settings it fills, by key."""


_Row = partial(Preset, opens="pipeline.tracking.tracker:StreamTracker")

PRESETS = Catalogue(
    "tracker",
    "maskstream.trackers",
    (
        _Row("default", summary="serves all situations"),
        _Row(
            "static_camera",
            summary="what is hidden comes back where it was",
            options={"track_buffer": 3.0},
        ),
        _Row(
            "crowd",
            summary="many of a kind, close to each other",
            options={"match_thresh": 0.7, "track_buffer": 2.0},
        ),
        _Row(
            "vehicles",
            summary="their height changes with where they drive",
            options={"height_weight": 0.5, "track_buffer": 2.0},
        ),
    ),
)
"""Settings for common situations, by name: `default` serves all of them; the others lean. Installed
packages offer more as `Preset`s in the entry points of this group."""


def _check(name: str, value: object, *, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise ConfigError(
            f"tracker.{name} must be a number from {low:g} to {high:g}, got {value!r}"
        )
