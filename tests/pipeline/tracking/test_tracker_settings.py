"""What a user may tune, and what is said about mistakes."""

import re
import subprocess
import sys

import pytest

from pipeline.errors import ConfigError
from pipeline.tracking import PRESETS, TRACKER_KEYS, TrackerTuning, make_tracker


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_makes_a_tracker(preset: str) -> None:
    settings, options = make_tracker(preset).settings, PRESETS[preset].options
    assert {key: getattr(settings, key) for key in options} == options


def test_overrides_win_over_the_preset() -> None:
    assert make_tracker("static_camera", track_buffer=0.5).settings.track_buffer == 0.5


def test_the_names_people_know_are_there() -> None:
    known = {"track_high_thresh", "track_low_thresh", "new_track_thresh", "track_buffer"}
    assert known | {"match_thresh", "with_reid"} <= set(TRACKER_KEYS)


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        pytest.param(
            "defualt",
            {},
            "tracker preset 'defualt' does not exist, did you mean 'default'?",
            id="preset",
        ),
        pytest.param(
            "default",
            {"track_bufer": 1},
            "tracker.track_bufer does not exist, did you mean 'track_buffer'?",
            id="key",
        ),
        pytest.param(
            "default",
            {"match_thresh": 1.5},
            "tracker.match_thresh must be a number from 0 to 1, got 1.5",
            id="range",
        ),
        pytest.param(
            "default",
            {"track_buffer": "long"},
            "tracker.track_buffer must be a number from 0 to 3600, got 'long'",
            id="text",
        ),
        pytest.param(
            "default",
            {"track_buffer": float("nan")},
            "tracker.track_buffer must be a number from 0 to 3600, got nan",
            id="nan",
        ),
        pytest.param(
            "default",
            {"track_low_thresh": 0.9},
            "tracker.track_low_thresh (0.9) must not be above tracker.track_high_thresh",
            id="order",
        ),
    ],
)
def test_a_wrong_setting_is_named(preset: str, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        TrackerTuning.of(preset, **overrides)


def test_names_of_presets_and_keys_cost_no_heavy_import() -> None:
    code = (
        "import sys, pipeline.tracking;"
        "print([m for m in ('cv2', 'scipy', 'torch', 'av', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
