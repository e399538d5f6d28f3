"""The video sink: what ffmpeg and PyAV find in the file, growing, whole, and after accidents."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from pipeline.errors import ConfigError, SinkFull
from pipeline.instances import Instances
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.fitting import fit
from pipeline.sinks.timing import VideoTimeline
from pipeline.stages import Sink, resume_keeping
from pipeline.testing import make_end

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]


def decoded(path: Path) -> list[tuple[float, int, str, bool]]:
    """Time, brightness, picture type and key flag of each picture, in the order of the decoder."""
    with av.open(str(path)) as container:
        return [
            (
                float(frame.pts * frame.time_base),  # type: ignore[operator]
                round(float(frame.to_ndarray(format="bgr24").mean())),
                PictureType(frame.pict_type).name,
                frame.key_frame,
            )
            for frame in container.decode(video=0)
        ]


def ffmpeg_complaints(path: Path) -> str:
    """What ffmpeg says about a file it reads to its end; empty for a sound one."""
    ffmpeg = shutil.which("ffmpeg") or pytest.skip("needs ffmpeg")
    command = [ffmpeg, "-v", "warning", "-xerror", "-i", str(path)]
    command += ["-fps_mode", "passthrough", "-enc_time_base", "1/90000", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr


def numbers(pictures: list[tuple[float, int, str, bool]]) -> list[int]:
    """Frame numbers modulo 30, read off the grey that `make_picture` gives them."""
    return [round((grey - 110) / 4) for _, grey, _, _ in pictures]


def test_every_frame_is_there_once_in_order_with_its_time(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    rng = np.random.default_rng(3)
    times = 7.5 + np.cumsum(rng.uniform(0.001, 0.2, 50))
    sink = open_for_test(f"video:{tmp_path}/{{source}}.mp4")
    for i, pts_s in enumerate(times):
        sink.write(make_result(i, pts_s=float(pts_s)), make_picture(i))
    sink.finish(make_end())
    sink.close()
    pictures = decoded(tmp_path / "gate.mp4")
    assert [p[0] for p in pictures] == pytest.approx(list(times - times[0]), abs=0.6 / 90_000)
    assert numbers(pictures) == [i % 30 for i in range(50)]
    assert {p[2] for p in pictures} <= {"I", "P"}
    assert ffmpeg_complaints(tmp_path / "gate.mp4") == ""


@pytest.mark.parametrize("fps", [24_000 / 1001, 25, 29.97, 60, 7, 1, 0.5])
def test_a_key_picture_comes_every_second_or_sooner(fps: float) -> None:
    timeline = VideoTimeline(interval=round(90_000 / 25))
    placed = [timeline.place(0, i / fps) for i in range(200)]
    keys = [ticks for ticks, key in placed if key]
    assert keys[0] == 0
    assert max(np.diff(keys)) <= max(90_000, round(90_000 / fps))
    if fps > 2:  # and not much sooner
        assert min(np.diff(keys)) > 90_000 - 2 * 90_000 / fps


@pytest.mark.parametrize(
    ("frames", "ticks"),
    [
        pytest.param([(0, 5.0), (0, 5.04), (0, 5.08)], [0, 3600, 7200], id="starts at zero"),
        pytest.param([(0, -1.0), (0, -0.5)], [0, 45_000], id="negative times"),
        pytest.param(
            [(0, 0.0), (0, 0.1), (1, 0.0), (1, 0.2)], [0, 9000, 18_000, 36_000], id="epoch"
        ),
        pytest.param(
            [(0, 0.0), (0, 0.1), (1, 99.0), (1, 99.1)], [0, 9000, 18_000, 27_000], id="gap"
        ),
        pytest.param(
            [(0, 1.0), (0, 1.1), (0, 0.5), (0, 0.6)], [0, 9000, 18_000, 27_000], id="back"
        ),
        pytest.param([(0, 1.0), (0, 1.0), (0, 1.5)], [0, 1, 45_000], id="twice the same"),
        pytest.param([(0, 0.0), (0, 1e-6), (0, 2e-6)], [0, 1, 2], id="finer than a tick"),
        pytest.param([(0, 0.0), (1, 0.0)], [0, 3600], id="one frame epochs"),
        pytest.param(
            [(0, 95_440.0), (0, 95_444.0)], [0, 360_000], id="a gap within an epoch stays"
        ),
    ],
)
def test_times_only_grow_and_differences_within_an_epoch_are_kept(
    frames: list[tuple[int, float]], ticks: list[int]
) -> None:
    timeline = VideoTimeline(interval=3600)
    assert [timeline.place(epoch, pts_s)[0] for epoch, pts_s in frames] == ticks


def test_the_file_plays_while_it_is_being_written(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"video:{tmp_path}/x.mp4")
    for i in range(60):
        sink.write(make_result(i), make_picture(i))
        if i in (13, 26, 59):  # a fragment is 13 or 12 frames, and complete once the next begins
            complete = {13: 13, 26: 25, 59: 50}[i]
            assert numbers(decoded(tmp_path / "x.mp4")) == [i % 30 for i in range(complete)]
    assert ffmpeg_complaints(tmp_path / "x.mp4") == ""


def test_pictures_that_come_very_close_do_not_wait_for_half_a_second(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"video:{tmp_path}/x.mp4")
    for i in range(129):
        sink.write(make_result(i, pts_s=i * 1e-4), make_picture(i))
    assert len(decoded(tmp_path / "x.mp4")) == 128


def test_after_a_flush_every_frame_is_in_the_file(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"video:{tmp_path}/x.mp4")
    for i in range(5):
        sink.write(make_result(i), make_picture(i))
        assert sink.flush()["bytes"] == (tmp_path / "x.mp4").stat().st_size
        assert numbers(decoded(tmp_path / "x.mp4")) == list(range(i + 1))
    sink.close()
    times = [p[0] for p in decoded(tmp_path / "x.mp4")]
    assert times == pytest.approx([i / 25 for i in range(5)], abs=1e-6)


def test_a_killed_writer_loses_less_than_half_a_second(tmp_path: Path) -> None:
    code = (
        "import sys, time, types, numpy as np\n"
        "from pipeline.sinks import open_sink\n"
        "from pipeline.instances import Instances\n"
        "from pipeline.results import FrameResult\n"
        "sink = open_sink(sys.argv[1] + '?annotated=0', source_id='a', run='r', labels={})\n"
        "for i in range(110):\n"
        "    image = np.full((48, 64, 3), 110 + i, np.uint8)\n"
        "    found = Instances.empty((48, 64))\n"
        "    result = FrameResult('r', 'a', 0, i, i / 25, None, None, (48, 64), 'm', found, {})\n"
        "    sink.write(result, types.SimpleNamespace(image=image))\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    path = tmp_path / "x.mp4"
    child = subprocess.Popen([sys.executable, "-c", code, f"video:{path}"], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
        child.send_signal(signal.SIGKILL)
    pictures = decoded(path)
    assert [p[0] for p in pictures] == pytest.approx([i / 25 for i in range(100)], abs=1e-6)
    assert ffmpeg_complaints(path) == ""


@pytest.mark.parametrize("crash_after", [1, 13, 14, 40])
def test_after_a_crash_and_a_rerun_frames_order_and_times_are_the_same(
    crash_after: int,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    def write(sink: Sink, indices: range) -> None:
        for i in indices:  # the time line breaks at frame 20
            result = make_result(i, epoch=i // 20, pts_s=1.5 + (i % 20) * 0.0417)
            sink.write(result, make_picture(i))

    whole = open_for_test(f"video:{tmp_path}/whole.mp4")
    write(whole, range(60))
    whole.finish(make_end())
    whole.close()

    first = open_for_test(f"video:{tmp_path}/crashed.mp4")
    write(first, range(crash_after))
    position = json.loads(json.dumps(first.flush()))
    write(first, range(crash_after, 60))
    first.close()
    # A new encoder, of other settings even: its parameters come with it.
    for url in ("crashed.mp4", "crashed.mp4?preset=veryfast"):
        second = open_for_test(f"video:{tmp_path}/{url}", resume=position)
        write(second, range(crash_after, 60))
        second.finish(make_end())
        second.close()
        expected, found = decoded(tmp_path / "whole.mp4"), decoded(tmp_path / "crashed.mp4")
        assert [p[0] for p in found] == [p[0] for p in expected]
        assert numbers(found) == numbers(expected) == [i % 30 for i in range(60)]
        assert ffmpeg_complaints(tmp_path / "crashed.mp4") == ""


def test_a_whole_file_knows_its_duration_and_can_be_searched(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"video:{tmp_path}/x.mp4")
    for i in range(100):
        sink.write(make_result(i), make_picture(i))
    sink.finish(make_end())
    sink.close()
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.duration == 4_000_000
        stream = container.streams.video[0]
        container.seek(3 * 90_000, stream=stream)
        assert next(container.decode(stream)).pts == 3 * 90_000
    assert [i for i, p in enumerate(decoded(tmp_path / "x.mp4")) if p[3]] == [0, 25, 50, 75]
    data = (tmp_path / "x.mp4").read_bytes()
    assert data[4:12] == b"ftypiso5"
    assert data.count(b"moof") == 8
    assert int.from_bytes(data[-4:], "big") == len(data) - data.rindex(b"mfra") + 4


YEAR_S = 365.0 * 86_400


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([0.0, 0.04, 100_000.0, 200_000.0, 200_000.04], id="a day"),
        pytest.param([0.0, 50 * YEAR_S, 100 * YEAR_S], id="half a century"),
        pytest.param([0.0, 23_860.0, 47_722.0, 71_584.0], id="about the most one field holds"),
    ],
)
def test_pictures_may_be_any_time_apart(
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
    times: list[float],
) -> None:
    sink = open_for_test(f"video:{tmp_path}/x.mp4")
    for i, pts_s in enumerate(times):
        sink.write(make_result(i, pts_s=pts_s), make_picture(i))
    sink.finish(make_end())
    sink.close()
    pictures = decoded(tmp_path / "x.mp4")
    assert [p[0] for p in pictures] == pytest.approx(times, abs=0.6 / 90_000)
    assert numbers(pictures) == list(range(len(times)))
    if times[-1] < YEAR_S:  # the command drops time stamps that leap by more than 30 hours
        assert ffmpeg_complaints(tmp_path / "x.mp4") == ""
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.duration is not None
        assert container.duration > times[-1] * 1e6


def test_a_video_of_days_goes_on_after_its_last_picture(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"video:{tmp_path}/x.mp4")
    for i in range(3):
        sink.write(make_result(i, pts_s=i * 1e5), make_picture(i))
    position = sink.flush()
    for i in range(3, 6):
        sink.write(make_result(i, pts_s=i * 1e5), make_picture(i))
    sink.close()  # without an end, as after a crash
    sink = open_for_test(f"video:{tmp_path}/x.mp4", overwrite=True)
    resume_keeping(sink, position)
    sink.write(make_result(6, epoch=1, pts_s=0.0), make_picture(6))
    sink.finish(make_end())
    sink.close()
    pictures = decoded(tmp_path / "x.mp4")
    assert [p[0] for p in pictures[:6]] == [i * 1e5 for i in range(6)]
    assert pictures[6][0] > 5e5
    assert numbers(pictures) == [0, 1, 2, 3, 4, 5, 6]


def test_odd_sizes_are_padded_by_repeating_the_edge() -> None:
    pixels = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    padded = fit(pixels, (4, 6))
    assert np.array_equal(padded[:3, :5], pixels)
    assert np.array_equal(padded[3], padded[2])
    assert np.array_equal(padded[:, 5], padded[:, 4])


@pytest.mark.parametrize(
    ("later", "inside"),
    [
        pytest.param((24, 64), (slice(12, 36), slice(0, 64)), id="wide"),
        pytest.param((96, 64), (slice(0, 48), slice(16, 48)), id="high"),
        pytest.param((480, 640), (slice(0, 48), slice(0, 64)), id="large"),
        pytest.param((1, 1), (slice(0, 48), slice(8, 56)), id="one pixel"),
    ],
)
def test_a_later_size_is_scaled_as_a_whole_between_black_bars(
    later: tuple[int, int], inside: tuple[slice, slice]
) -> None:
    canvas = fit(np.full((*later, 3), 200, np.uint8), (48, 64))
    assert canvas.shape == (48, 64, 3)
    assert (canvas[inside] == 200).all()
    canvas[inside] = 0
    assert not canvas.any()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (47, 63), (240, 321)])
def test_any_first_size_plays(
    size: tuple[int, int],
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    sink = open_for_test(f"video:{tmp_path}/x.mp4")
    sink.write(make_result(0), make_picture(0, size=size))
    sink.write(make_result(1, epoch=1, pts_s=0.0), make_picture(1, size=(30, 40)))
    sink.finish(make_end())
    sink.close()
    with av.open(str(tmp_path / "x.mp4")) as container:
        shapes = {(f.height, f.width) for f in container.decode(video=0)}
    assert shapes == {(size[0] + size[0] % 2, size[1] + size[1] % 2)}
    assert len(decoded(tmp_path / "x.mp4")) == 2


def test_colours_survive_as_the_file_says_they_are_coded(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    blue_red = np.zeros((48, 64, 3), np.uint8)
    blue_red[:, :32, 0] = 200
    blue_red[:, 32:, 2] = 200
    picture = make_picture(0, image=blue_red)
    sink = open_for_test(f"video:{tmp_path}/x.mp4?annotated=0&crf=10")
    sink.write(make_result(0), picture)
    sink.finish(make_end())
    sink.close()
    with av.open(str(tmp_path / "x.mp4")) as container:
        frame = next(container.decode(video=0))
        back = frame.to_ndarray(format="bgr24").astype(int)
        assert (frame.colorspace, frame.color_range) == (6, 1)  # SMPTE 170M, limited
    assert np.abs(back[:, 2:28] - blue_red[:, 2:28]).max() < 12
    assert np.abs(back[:, 36:62] - blue_red[:, 36:62]).max() < 12


def test_pictures_are_drawn_only_where_they_are_wanted(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    for url, times in (("a.mp4", 1), ("b.mp4?annotated=0", 0)):
        drawn: list[Instances] = []
        sink = open_for_test(f"video:{tmp_path}/{url}")
        sink.write(make_result(0), make_picture(0, drawn=drawn))
        sink.close()
        assert len(drawn) == times, url


def test_a_run_without_frames_leaves_no_file(tmp_path: Path, open_for_test: Open) -> None:
    (tmp_path / "old.mp4").write_text("old")
    for name, overwrite in (("new.mp4", False), ("old.mp4", True)):
        sink = open_for_test(f"video:{tmp_path}/{name}", overwrite=overwrite)
        sink.flush()
        sink.finish(make_end())
        sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["h264_videotoolbox", "libopenh264"])
def test_an_encoder_that_is_not_there_is_said_at_once(
    codec: str, tmp_path: Path, open_for_test: Open
) -> None:
    if codec in av.codecs_available:
        pytest.skip(f"this PyAV has {codec}")
    with pytest.raises(ConfigError) as error:
        open_for_test(f"video:{tmp_path}/x.mp4?codec={codec}")
    assert str(error.value) == (
        f"video: this PyAV has no encoder '{codec}'; choose another codec, libx264 is in its wheels"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_bitrate_takes_the_place_of_the_quality(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    rng = np.random.default_rng(1)
    sizes = []
    for kbps in (100, 1000):
        sink = open_for_test(f"video:{tmp_path}/{kbps}.mp4?bitrate_kbps={kbps}&annotated=0")
        for i in range(50):
            noise = rng.integers(0, 255, (48, 64, 3), np.uint8)
            sink.write(make_result(i), make_picture(i, image=noise))
        sink.close()
        sizes.append((tmp_path / f"{kbps}.mp4").stat().st_size)
    assert sizes[1] > 3 * sizes[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_what_was_written_plays(
    small_disk: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    rng = np.random.default_rng(1)
    sink = open_for_test(f"video:{small_disk}/x.mp4?annotated=0")
    written = 0

    def write_until_full() -> None:
        nonlocal written
        while written < 2000:
            noise = rng.integers(0, 255, (48, 64, 3), np.uint8)
            sink.write(make_result(written), make_picture(written, image=noise))
            written += 1

    with pytest.raises(SinkFull, match=r"x\.mp4: the disk is full \(No space left on device\)"):
        write_until_full()
    sink.close()
    kept = len(decoded(small_disk / "x.mp4"))
    assert written - 2 * 13 <= kept < written
    assert ffmpeg_complaints(small_disk / "x.mp4") == ""
