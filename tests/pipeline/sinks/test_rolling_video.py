"""Rolling video: files that follow each other without a gap, are called by the clock, and go."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.errors import ConfigError, SinkError, SinkFull
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import SinkTarget
from pipeline.sinks.segmented import open_segmented
from pipeline.sinks.urls import parse_sink
from pipeline.stages import Outcome, Sink, Status, resume_keeping
from pipeline.testing import check_sink, make_end

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]
END = make_end(source_id="gate", captured=9, published=9)
NOON = 1_764_417_600.0
"""2025-11-29 12:00:00 UTC."""
TEMPLATE = "{source}-{start}.mp4"

Write = Callable[..., None]


@pytest.fixture
def write(make_result: MakeResult, make_picture: MakePicture) -> Write:
    """Frames of a file, 5 a second, or of a camera whose clock said so."""

    def write(
        sink: Sink,
        frames: range,
        *,
        epoch: int = 0,
        at: float | None = None,
        size: tuple[int, int] = (48, 64),
    ) -> None:
        for i in frames:
            result = make_result(i, epoch=epoch, pts_s=i / 5)
            if at is not None:
                result = replace(result, captured_at_s=at + i / 5, clock="arrival")
            sink.write(result, make_picture(i, size=size))

    return write


def decoded(path: Path) -> tuple[list[int], list[int], int]:
    """Frame numbers by their grey, times in ticks, and the duration the file says it has."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert frames[0].key_frame
        assert stream.time_base is not None
        assert (1 / stream.time_base) == 90_000
        greys = [float(frame.to_ndarray(format="bgr24").mean()) for frame in frames]
        duration = round((container.duration or 0) * 0.09)
        return [round((g - 110) / 4) for g in greys], [f.pts or 0 for f in frames], duration


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.mp4"))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "gate.segments").read_text().splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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


# -- what stays --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        pytest.param("2s", [3, 4], id="by time"),
        pytest.param("2400ms", [2, 3, 4], id="one that is needed in part"),
        pytest.param("500ms", [4], id="less than one file"),
        pytest.param("1d", [0, 1, 2, 3, 4], id="all"),
        pytest.param("1MB", [0, 1, 2, 3, 4], id="all by size"),
        pytest.param("0.001MB", [4], id="the last one always stays"),
    ],
)
def test_the_oldest_whole_files_go(
    keep: str, left: list[int], tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    (tmp_path / "gate-19700101-000009.mp4").write_bytes(b"somebody's")
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1s&keep={keep}")
    for second in range(5):
        write(sink, range(5 * second, 5 * second + 5))
        sink.flush()
    sink.flush()
    assert [one["number"] for one in lines(tmp_path)] == left
    expected = [f"gate-19700101-00000{number}.mp4" for number in [*left, 9]]
    assert names(tmp_path) == expected
    sink.finish(END)
    sink.close()


def test_the_last_one_stays_also_where_nothing_grows(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=1s&keep=0.001MB"
    sink = open_for_test(url)
    write(sink, range(10))
    position = sink.flush()
    sink.close()
    again = open_for_test(url, overwrite=True)
    resume_keeping(again, position)
    for _ in range(3):  # the camera is not there yet
        again.flush()
    again.close()
    assert names(tmp_path) == ["gate-19700101-000001.mp4"]


def test_what_the_last_checkpoint_speaks_of_stays(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=1s&keep=500ms"
    sink = open_for_test(url)
    write(sink, range(3))
    position = json.loads(json.dumps(sink.flush()))
    write(sink, range(3, 25))
    sink.flush()  # killed before this one is kept
    sink.close()
    again = open_for_test(url, resume=position)
    write(again, range(3, 25))
    again.finish(END)
    again.close()
    assert [decoded(tmp_path / name)[0] for name in names(tmp_path)] == [
        list(range(5 * second, 5 * second + 5)) for second in range(5)
    ]


# -- whose files they are ----------------------------------------------------------------------


def test_what_is_there_is_refused_and_replaced_only_where_it_is_listed(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=1s"
    first = open_for_test(url)
    write(first, range(10))
    with pytest.raises(SinkError, match="another process is writing it"):
        open_for_test(url, overwrite=True)
    first.finish(END)
    first.close()
    (tmp_path / "gate-19700101-000009.mp4").write_bytes(b"somebody's")
    before = content(tmp_path)
    with pytest.raises(ConfigError, match=r"gate\.segments: lists segments that are there already"):
        open_for_test(url)
    second = open_for_test(url, overwrite=True)
    second.close()
    failed = open_for_test(url, overwrite=True)
    failed.finish(make_end(Outcome(Status.FAILED, "the cable")))
    failed.close()
    assert content(tmp_path) == before
    third = open_for_test(url, overwrite=True)
    write(third, range(5))
    third.finish(END)
    third.close()
    assert names(tmp_path) == ["gate-19700101-000000.mp4", "gate-19700101-000009.mp4"]
    assert decoded(tmp_path / "gate-19700101-000000.mp4")[0] == [0, 1, 2, 3, 4]
    assert (tmp_path / "gate-19700101-000009.mp4").read_bytes() == b"somebody's"


def test_a_list_that_was_meddled_with_leads_to_nobodys_files(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    theirs = tmp_path / "theirs.mp4"
    theirs.write_bytes(b"somebody's")
    url = f"video:{tmp_path}/out/{TEMPLATE}?segment=1s"
    (tmp_path / "out").mkdir()
    line = {"number": 0, "epoch": 0, "frame": 0, "pts_s": 0, "ticks": 0, "size": [2, 2]}
    wrong: list[Any] = ["../theirs.mp4", str(theirs), "x/../../theirs.mp4", ""]
    text = "".join(json.dumps(line | {"file": file, "breaks": 0}) + "\n" for file in wrong)
    (tmp_path / "out" / "gate.segments").write_text(text + '[1]\n{"number":\n\n"x"\nnull\n7')
    sink = open_for_test(url, overwrite=True)
    write(sink, range(2))
    sink.close()
    assert theirs.read_bytes() == b"somebody's"
    assert decoded(tmp_path / "out" / "gate-19700101-000000.mp4")[0] == [0, 1]


def test_a_line_that_the_disk_has_no_room_for_is_not_there_in_part(
    tmp_path: Path, open_for_test: Open, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1s")
    write(sink, range(5))
    half = os.write
    monkeypatch.setattr("pipeline.sinks.listfile.os.write", lambda fd, data: half(fd, data[:9]))
    with pytest.raises(SinkFull, match=r"gate\.segments: the disk is full"):
        write(sink, range(5, 6))
    monkeypatch.undo()
    sink.close()
    assert [one["number"] for one in lines(tmp_path)] == [0]


def test_a_run_without_frames_leaves_nothing(tmp_path: Path, open_for_test: Open) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1s")
    sink.flush()
    sink.finish(END)
    sink.close()
    assert list(tmp_path.iterdir()) == []


# -- accidents ---------------------------------------------------------------------------------


def test_it_keeps_what_a_sink_promises(tmp_path: Path) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        url = parse_sink(f"video:{folder}/{TEMPLATE}?segment=1s")
        target = SinkTarget(
            scheme="video",
            location=url.located("cam"),
            root=url.root,
            options={**url.options, "segment": 0.3},  # the kit's stream is short
            source_id="cam",
            run="run",
            labels={},
            fps_hint=10.0,
            overwrite=overwrite,
        )
        return open_segmented(target)

    def seen(folder: Path) -> object:
        times = []
        for line in (folder / "cam.segments").read_text().splitlines():
            with av.open(str(folder / json.loads(line)["file"])) as container:
                start = json.loads(line)["ticks"]
                times += [start + (frame.pts or 0) for frame in container.decode(video=0)]
        return times

    check_sink(opened, seen, tmp_path)


@pytest.mark.parametrize("crash_after", [1, 9, 10, 11, 27])
def test_after_a_crash_and_a_rerun_the_files_are_the_same(
    crash_after: int, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    whole = open_for_test(f"video:{tmp_path}/whole/{TEMPLATE}?segment=2s")
    write(whole, range(30))
    whole.finish(END)
    whole.close()

    url = f"video:{tmp_path}/crashed/{TEMPLATE}?segment=2s"
    first = open_for_test(url)
    write(first, range(crash_after))
    position = json.loads(json.dumps(first.flush()))
    finished = content(tmp_path / "crashed")
    write(first, range(crash_after, 30))
    first.close()
    for _ in range(2):
        second = open_for_test(url, resume=position)
        grew = max(name for name in finished if name.endswith(".mp4"))
        for name in set(finished) - {grew, "gate.segments"}:
            assert (tmp_path / "crashed" / name).read_bytes() == finished[name]
        write(second, range(crash_after, 30))
        second.finish(END)
        second.close()
        assert names(tmp_path / "crashed") == names(tmp_path / "whole")
        for name in names(tmp_path / "whole"):
            assert decoded(tmp_path / "crashed" / name) == decoded(tmp_path / "whole" / name)
        assert lines(tmp_path / "crashed") == lines(tmp_path / "whole")


@pytest.mark.parametrize("lost", ["all", "some"])
def test_a_file_that_cannot_go_on_is_said_so_and_nothing_is_changed(
    lost: str, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=2s"
    sink = open_for_test(url)
    write(sink, range(15))
    position = sink.flush()
    sink.close()
    (tmp_path / "gate-19700101-000000.mp4").unlink()  # whose disk it is may tidy up
    grew = tmp_path / "gate-19700101-000002.mp4"
    open_for_test(url, resume=position).close()
    if lost == "all":
        grew.unlink()
    else:
        grew.write_bytes(grew.read_bytes()[:-1])
    before = content(tmp_path)
    with pytest.raises(ConfigError, match=r"0002\.mp4: cannot be resumed, the last checkpoint"):
        open_for_test(url, resume=position)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("flushed", "written", "torn", "kept"),
    [
        pytest.param(0, 0, 0, [[20, 21]], id="nothing"),
        pytest.param(0, 4, 0, [[0, 1, 2, 3], [20, 21]], id="before the first checkpoint"),
        pytest.param(6, 8, 0, [list(range(8)), [20, 21]], id="in the file of the checkpoint"),
        pytest.param(6, 8, 1, [list(range(6)), [20, 21]], id="torn"),
        pytest.param(6, 6, 0, [list(range(6)), [20, 21]], id="nothing since"),
        pytest.param(
            3, 14, 0, [list(range(10)), [10, 11, 12, 13], [20, 21]], id="in the file behind it"
        ),
        pytest.param(3, 14, 1, [list(range(10)), [10, 11, 12], [20, 21]], id="torn there"),
        pytest.param(3, 11, 9999, [list(range(10)), [20, 21]], id="nothing of it is whole"),
    ],
)
def test_of_a_camera_what_is_whole_stays_and_the_rest_has_a_new_file(
    flushed: int,
    written: int,
    torn: int,
    kept: list[list[int]],
    tmp_path: Path,
    open_for_test: Open,
    write: Write,
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=2s"
    first = open_for_test(url)
    write(first, range(flushed), at=NOON)
    position = json.loads(json.dumps(first.flush()))
    write(first, range(flushed, written), at=NOON)
    first.close()  # writes what is left; a killed process has up to half a second less
    if torn:
        last = tmp_path / names(tmp_path)[-1]
        last.write_bytes(last.read_bytes()[: -min(torn, last.stat().st_size)])
    second = open_for_test(url, overwrite=True)
    resume_keeping(second, position)
    again = second.flush()
    second.close()
    third = open_for_test(url, overwrite=True)  # killed once more before there was a picture
    resume_keeping(third, again)
    write(third, range(20, 22), epoch=1, at=NOON + 60)
    third.finish(END)
    third.close()
    parts = [decoded(tmp_path / one["file"]) for one in lines(tmp_path)]
    assert [numbers for numbers, _, _ in parts] == kept
    starts = [one["ticks"] for one in lines(tmp_path)]
    durations = [duration for _, _, duration in parts]
    assert [start + span for start, span in zip(starts, durations, strict=True)][:-1] == starts[1:]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "url", ["video:{folder}/{{source}}-{{start}}.mp4?segment=1s", "hls:{folder}/?segment=1s"]
)
def test_on_a_full_disk_what_was_written_plays(
    url: str, small_disk: Path, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    sink = open_for_test(url.format(folder=small_disk))

    def write_until_full() -> None:
        for second in range(200):
            write(sink, range(5 * second, 5 * second + 5))
            sink.flush()

    with pytest.raises(SinkFull, match=r"the disk is full \(No space left on device\)"):
        write_until_full()
    sink.close()
    assert not list(small_disk.rglob("*.part"))
    if url.startswith("hls"):
        parts = [small_disk / name for name in _told(small_disk / "index.m3u8")]
        joined = b"".join(path.read_bytes() for path in parts)
        (tmp_path / "all.mp4").write_bytes(joined)
        assert decoded(tmp_path / "all.mp4")[0] == [n % 30 for n in range(5 * (len(parts) - 1))]
    else:
        files = [path for path in sorted(small_disk.glob("*.mp4")) if path.stat().st_size]
        numbers = [number for path in files for number in decoded(path)[0]]
        assert numbers == [n % 30 for n in range(len(numbers))]
        assert len(numbers) > 5 * (len(files) - 1)


def _told(playlist: Path) -> list[str]:
    """The files a playlist names, its header first."""
    text = playlist.read_text()
    return [text.partition('URI="')[2].partition('"')[0]] + [
        line for line in text.splitlines() if not line.startswith("#")
    ]
