"""The same work has the same name, wherever it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Not a video, but a file with content is all that matters here."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(256)) * 10)
    return path


def run_of(url: object, **more: Any) -> str:
    """What `prepare` calls the run; nothing is written where there is no sink."""
    sections = {
        name: more.pop(name) for name in ("model", "tracker", "workers", "run") if name in more
    }
    sources = [{"id": "a", "url": str(url)} | more]
    values = {"model": {"name": "blob"}, "sources": sources, **sections}
    with prepare(resolve(parse(values))).begun() as plan:
        return plan.streams[0].run


PINNED = [
    pytest.param({}, "ea16e2ba38552d27", id="defaults"),
    pytest.param(
        {
            "model": {"name": "blob", "precision": "fp32", "score_threshold": 0.2},
            "tracker": {"preset": "crowd", "track_buffer": 9},
            "min_score": 0.4,
            "classes": ["red"],
            "stride": 2,
            "max_fps": 5,
            "segment_every": 2,
            "start": 1,
            "duration": 2.5,
            "include": [[[0, 0], [9, 0], [9, 9]]],
            "ignore": [[[1, 1], [5, 1], [5, 5.5]]],
            "max_pixels": 1_000_000,
        },
        "73446b9200fa13da",
        id="everything",
    ),
]


@pytest.mark.parametrize(("given", "run"), PINNED)
def test_the_run_of_a_file_is_what_versions_before_called_it(
    clip: Path, given: dict[str, Any], run: str
) -> None:
    """The name is in every record, and what was cut off goes on by it."""
    assert run_of(clip, **given) == run


def test_weights_count_by_their_word_or_their_content() -> None:
    street = "synthetic://street?seed=1"
    demo, coco = run_of(street, id="s", model={"weights": "demo"}), run_of(street, id="s", model={})
    assert (demo, coco) == ("7a5538d4fa8eab7a", "ae5cde7aa3e31ad7")


def test_what_is_said_to_be_a_recording_is_planned_for_as_a_file() -> None:
    def planned(**more: Any) -> tuple[bool, bool]:
        sources = [{"id": "a", "url": "http://h/a.ts", **more}]
        plan = resolve(parse({"model": {"name": "blob"}, "sources": sources}))
        runs = {prepare(plan).plan.streams[0].run for _ in range(2)}
        return plan.streams[0].source.live, len(runs) == 1

    assert planned(live=False) == (False, True)
    assert planned(live="auto") == (True, False)
    assert planned(live=True) == (True, False)


def test_the_same_work_has_the_same_run_wherever_it_is_done(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.mp4"
    copy.write_bytes(clip.read_bytes())
    first = run_of(clip)
    assert run_of(copy) == first
    assert run_of(clip, workers={"segment": 4, "max_batch": 2}) == first
    assert run_of(clip, run={"executor": "local", "overwrite": True}) == first
    assert run_of(clip, read_timeout_s=9) == first


@pytest.mark.parametrize(
    "change",
    [
        {"min_score": 0.4}, {"classes": ["red"]}, {"max_fps": 5}, {"stride": 2}, {"start": 1.0},
        {"duration": 2.0}, {"segment_every": 2}, {"tracker": {"preset": "crowd"}},
        {"tracker": {"preset": "default", "track_buffer": 9}},
        {"model": {"name": "blob", "score_threshold": 0.2}},
        {"ignore": [[[0, 0], [9, 0], [9, 9]]]},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_results_changes_the_run(clip: Path, change: dict[str, Any]) -> None:
    assert run_of(clip, **change) != run_of(clip)


def test_another_file_is_another_run(clip: Path) -> None:
    before = run_of(clip)
    clip.write_bytes(clip.read_bytes() + b"!")
    assert run_of(clip) != before


def test_a_camera_has_a_run_of_its_own_that_is_kept_with_its_state(tmp_path: Path) -> None:
    assert run_of("rtsp://cam/1") != run_of("rtsp://cam/1")
    kept = {"state_dir": str(tmp_path / "state")}
    assert run_of("rtsp://cam/1", run=kept) == run_of("rtsp://cam/1", run=kept)
