"""Rolling video: files that follow each other without a gap, and are called by the clock."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest

from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Sink
from pipeline.testing import make_end
from tests.pipeline.sinks.rolled import decoded, lines, names

Open = Callable[..., Sink]


MakeResult = Callable[..., FrameResult]


MakePicture = Callable[..., Picture]


END = make_end(source_id="gate", captured=9, published=9)


NOON = 1_764_417_600.0
"""2025-11-29 12:00:00 UTC."""


TEMPLATE = "{source}-{start}.mp4"


Write = Callable[..., None]


# -- the files ---------------------------------------------------------------------------------


def test_files_follow_each_other_without_a_gap(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=2s")
    write(sink, range(25))
    sink.flush()
    write(sink, range(25, 28))
    sink.finish(END)
    sink.close()
    assert names(tmp_path) == [
        "gate-19700101-000000.mp4",
        "gate-19700101-000002.mp4",
        "gate-19700101-000004.mp4",
    ]
    parts = [decoded(tmp_path / name) for name in names(tmp_path)]
    assert [number for numbers, _, _ in parts for number in numbers] == list(range(28))
    assert [times for _, times, _ in parts] == [
        [18_000 * i for i in range(10)],
        [18_000 * i for i in range(10)],
        [18_000 * i for i in range(8)],
    ]
    assert [duration for _, _, duration in parts] == [180_000, 180_000, 144_000]
    assert [(tmp_path / name).read_bytes()[-12:-8] for name in names(tmp_path)] == [b"mfro"] * 3
    assert [(one["file"], one["frame"], one["pts_s"], one["ticks"]) for one in lines(tmp_path)] == [
        ("gate-19700101-000000.mp4", 0, 0.0, 0),
        ("gate-19700101-000002.mp4", 10, 2.0, 180_000),
        ("gate-19700101-000004.mp4", 20, 4.0, 360_000),
    ]


def test_players_join_them_to_what_one_file_would_be(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe")
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1s")
    times = [0.0, 0.3, 0.7, 1.1, 1.15, 1.9, 2.05, 2.4]
    for i, pts_s in enumerate(times):
        sink.write(make_result(i, pts_s=pts_s), make_picture(i))
        sink.flush()  # the end of the last picture of a file is not known yet
    sink.finish(END)
    sink.close()
    (tmp_path / "all.txt").write_text("".join(f"file '{name}'\n" for name in names(tmp_path)))
    command = ["ffprobe", "-v", "error", "-f", "concat", "-i", str(tmp_path / "all.txt")]
    command += ["-show_entries", "packet=pts_time", "-of", "csv=p=0"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [float(line.strip(",")) for line in found.split()] == pytest.approx(times, abs=1e-4)


def test_the_file_that_grows_plays(tmp_path: Path, open_for_test: Open, write: Write) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=2s")
    write(sink, range(17))
    assert decoded(tmp_path / "gate-19700101-000000.mp4")[0] == list(range(10))
    assert decoded(tmp_path / "gate-19700101-000002.mp4")[0] == [10, 11, 12, 13, 14]
    sink.close()
    assert decoded(tmp_path / "gate-19700101-000002.mp4")[0] == list(range(10, 17))


def test_a_new_epoch_and_with_it_a_new_size_has_a_new_file(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1h")
    write(sink, range(3), at=NOON)
    write(sink, range(3, 6), epoch=1, at=NOON + 60, size=(30, 40))
    sink.finish(END)
    sink.close()
    shapes = []
    for name in names(tmp_path):
        with av.open(str(tmp_path / name)) as container:
            shapes.append((name, container.streams.video[0].width, container.duration))
    assert shapes == [
        ("gate-20251129-120000.mp4", 64, 600_000),
        ("gate-20251129-120100.mp4", 40, 600_000),
    ]


# -- the clock ---------------------------------------------------------------------------------


def test_borders_of_a_camera_lie_where_the_length_goes_into_its_clock(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=10min")
    for i in range(40):  # one picture a minute from 11:57:30 on
        result = make_result(i, pts_s=7.0 + 60 * i)
        sink.write(
            replace(result, captured_at_s=NOON - 150 + 60 * i, clock="sender"), make_picture(i)
        )
    sink.finish(END)
    sink.close()
    assert [(one["file"], one["frame"], one["start"]) for one in lines(tmp_path)] == [
        ("gate-20251129-115730.mp4", 0, "2025-11-29T11:57:30.000Z"),
        ("gate-20251129-121030.mp4", 13, "2025-11-29T12:10:30.000Z"),
        ("gate-20251129-122030.mp4", 23, "2025-11-29T12:20:30.000Z"),
        ("gate-20251129-123030.mp4", 33, "2025-11-29T12:30:30.000Z"),
    ]


def test_a_clock_that_goes_back_overwrites_nothing(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    (tmp_path / "gate-20251129-120000.mp4").write_bytes(b"somebody's")
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1h")
    for epoch in range(3):
        write(sink, range(3 * epoch, 3 * epoch + 3), epoch=epoch, at=NOON - 3 * epoch / 5)
    sink.finish(END)
    sink.close()
    assert (tmp_path / "gate-20251129-120000.mp4").read_bytes() == b"somebody's"
    assert [decoded(tmp_path / f"gate-20251129-120000-{n}.mp4")[0] for n in (2, 3, 4)] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
    ]


@pytest.mark.parametrize("at", [-1e300, -5.0, 1e300])
def test_a_clock_that_says_what_no_calendar_holds_is_no_reason_to_end(
    at: float, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1h")
    write(sink, range(2), at=at)
    sink.finish(END)
    sink.close()
    assert names(tmp_path) in (["gate-19700101-000000.mp4"], ["gate-99991231-235959.mp4"])


def test_a_start_may_name_folders_too_and_those_that_are_empty_go(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{{source}}/{{start:%Y-%m-%d/%H-%M-%S}}.mp4?segment=1s&keep=1s"
    sink = open_for_test(url)
    for day in range(3):
        write(sink, range(5 * day, 5 * day + 5), epoch=day, at=NOON + 86_400 * day)
        sink.flush()
    sink.close()
    assert names(tmp_path / "gate") == ["2025-11-30/12-00-01.mp4", "2025-12-01/12-00-02.mp4"]
    assert not (tmp_path / "gate" / "2025-11-29").exists()
