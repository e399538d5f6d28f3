"""What is allowed and may surprise is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.plan.notes import notes
from pipeline.plan.resolve import resolve


def notes_of(tracker: dict[str, Any] | None = None, **source: Any) -> list[str]:
    values = {"sources": [{"id": "gate", "url": "a.mp4", **source}], "tracker": tracker or {}}
    return notes(resolve(parse({"model": {"name": "blob"}, **values})))


def test_a_segmented_frame_that_comes_later_than_tracks_are_carried_is_noted() -> None:
    assert notes_of(segment_every=10) == [
        "source gate: with segment_every 10 and predict_for 0.3 s, frames are published without "
        "instances where fewer than 30 a second are taken; a larger tracker.predict_for carries "
        "them further"
    ]


def test_secrets_that_are_not_in_the_environment_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "q7-Word")
    hook = "https://h/x?secret_env=NOT_THERE&password_env=THERE"
    values: dict[str, Any] = {
        "model": {"name": "blob"},
        "sources": [
            {"id": "gate", "url": "rtsp://h/1", "username": "u", "password_env": "NOR_HERE"}
        ],
        "sinks": [hook],
    }
    assert notes(resolve(parse(values))) == [
        "sink https://h/x: the environment has no NOT_THERE here (secret_env)",
        "source gate: the environment has no NOR_HERE here (password_env)",
    ]


def test_a_file_of_a_password_that_is_not_there_is_noted() -> None:
    source = {"url": "rtsp://h/1", "username": "u", "password_file": "nothing"}
    assert notes_of(**source) == [
        "source gate: nothing is no file that can be read (password_file)"
    ]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="every frame"),
        pytest.param({"segment_every": 3}, id="soon enough for slow sources"),
        pytest.param(
            {"segment_every": 10, "tracker": {"settings": {"predict_for": 2.0}}}, id="carried on"
        ),
    ],
)
def test_what_leaves_no_gap_is_not_noted(given: dict[str, Any]) -> None:
    assert notes_of(given.pop("tracker", None), **given) == []


def test_few_pictures_are_noted_where_the_settings_say_so() -> None:
    (note,) = notes_of(segment_every=3, max_fps=5)
    assert "where fewer than 6.67 a second are taken" in note


def test_pictures_that_a_stride_leaves_out_carry_nothing_either() -> None:
    (note,) = notes_of(segment_every=3, stride=5)
    assert "where fewer than 6.67 a second are taken" in note


@pytest.mark.parametrize(("fps", "noted"), [(5, 1), (6, 1), (7, 0)])
def test_what_a_source_says_of_its_rate_counts(fps: int, noted: int) -> None:
    assert len(notes_of(segment_every=3, url=f"synthetic://street?frames=9&fps={fps}")) == noted


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert len(notes_of(segment_every=10, url=str(tmp_path / "a.mp4"))) == 1
