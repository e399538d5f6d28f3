"""`start` and `duration` cut a file exactly where its time stamps say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources import open_source
from pipeline.sources.file.file import FileSource
from pipeline.stages import Status

B_FRAMES = {"bf": "3", "g": "12", "x264-params": "b-adapt=0:scenecut=0"}


def kept(path: Path, **options: Any) -> list[Any]:
    return list(open_source(str(path), source_id="clip", **options).frames())


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize(
    ("start_s", "duration_s", "numbers"),
    [
        pytest.param(0.5, None, range(5, 24), id="near-start"),
        pytest.param(2.0, None, range(20, 24), id="worth-a-seek"),
        pytest.param(2.15, 0.1, range(22, 23), id="between-pictures"),
        pytest.param(0.0, 0.3, range(3), id="duration-alone"),
    ],
)
def test_a_range_keeps_the_pictures_whose_time_lies_in_it(
    clips: Any, container: str, start_s: float, duration_s: float | None, numbers: range
) -> None:
    path = clips.write(f"clip.{container}", frames=24, options=B_FRAMES)
    if container == "avi":  # decoding times of B-frames are a little off what was written
        path = clips.write("clip.avi", frames=24, options={"bf": "0", "g": "12"})
    whole = kept(path)
    frames = kept(path, start_s=start_s, duration_s=duration_s)
    assert [clips.number(frame.image) for frame in frames] == list(numbers)
    assert [(f.epoch, f.index) for f in frames] == [(0, i) for i in range(len(numbers))]
    assert [f.pts_s for f in frames] == [whole[i].pts_s for i in numbers]
    for frame, number in zip(frames, numbers, strict=True):
        np.testing.assert_array_equal(frame.image, whole[number].image)


@pytest.mark.parametrize("name", ["nasa_13013.mp4", "walk.mkv"])
def test_a_seek_gives_the_same_pictures_as_reading_all(shared_data: Path, name: str) -> None:
    path = shared_data / "videos" / name
    whole = kept(path)
    frames = kept(path, start_s=2.2)
    origin = whole[0].pts_s
    expected = [frame for frame in whole if frame.pts_s - origin >= 2.2 - 1e-6]
    assert [f.pts_s for f in frames] == [f.pts_s for f in expected]
    for frame, same in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image, same.image)


def test_a_seek_is_used_where_there_is_a_key_picture_to_go_to(clips: Any) -> None:
    path = clips.write("clip.mp4", frames=24, options=B_FRAMES)
    reading = open_source(str(path), source_id="clip", start_s=2.0)
    assert isinstance(reading, FileSource)
    list(reading.frames())
    assert reading._video is not None
    assert reading._video.decoder.decoded == 12  # from the key picture 12 on


def test_a_range_is_counted_from_the_first_picture_of_a_file_that_starts_late(clips: Any) -> None:
    path = clips.write("late.mp4", frames=24, pts=[100 + i for i in range(24)], options=B_FRAMES)
    frames = kept(path, start_s=2.0, duration_s=0.2)
    assert [clips.number(frame.image) for frame in frames] == [20, 21]


def test_resuming_inside_a_range_gives_what_the_whole_range_gave(clips: Any) -> None:
    path = clips.write("clip.mp4", frames=24, options=B_FRAMES)
    options = {"start_s": 0.5, "duration_s": 1.0}
    whole = kept(path, **options)
    again = open_source(str(path), source_id="clip", **options)
    rest = list(again.frames({"epoch": 0, "index": 3}))
    assert [(f.index, f.pts_s) for f in rest] == [(f.index, f.pts_s) for f in whole[3:]]


def test_a_start_behind_the_end_is_said_so(clips: Any) -> None:
    path = clips.write("clip.mp4")
    with pytest.raises(SourceError, match=r"clip: .*clip.mp4 ends before start = 7 s"):
        kept(path, start_s=7.0)


@pytest.mark.parametrize("start_s", [0.0, 1.3])
def test_a_range_that_ends_before_the_damage_is_complete(clips: Any, start_s: float) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (24, 48, 64, 3), np.uint8)
    mux = {"movflags": "faststart"}
    path = clips.cut(clips.write("clip.mp4", images=list(noise), options={"g": "12"}, mux=mux), 0.8)
    reading = open_source(str(path), source_id="clip", start_s=start_s, duration_s=0.3)
    assert len(list(reading.frames())) == 3
    assert (reading.outcome.status, reading.outcome.announced) == (Status.COMPLETE, None)


@pytest.mark.parametrize("start_s", [0.0, 1.0, 2.1])
def test_a_range_that_meets_the_end_of_a_truncated_file_is_incomplete(
    clips: Any, start_s: float
) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (48, 48, 64, 3), np.uint8)
    mux = {"movflags": "faststart"}
    path = clips.cut(clips.write("clip.mp4", images=list(noise), options={"g": "12"}, mux=mux), 0.5)
    reading = open_source(str(path), source_id="clip", start_s=start_s, duration_s=2.5)
    assert len(list(reading.frames())) < 25
    assert reading.outcome.status is Status.INCOMPLETE
    assert "truncated" in str(reading.outcome.reason)
