"""A video file gives every picture once, in order, with its own time."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from pipeline.errors import SourceError
from pipeline.sources import open_source
from pipeline.sources.file.container import VideoFile
from pipeline.sources.file.file import FileSource
from pipeline.stages import Status

B_FRAMES = {"bf": "3", "g": "12", "x264-params": "b-adapt=0:scenecut=0"}


def source(path: Path, **options: Any) -> FileSource:
    opened = open_source(str(path), source_id="clip", **options)
    assert isinstance(opened, FileSource)
    return opened


def test_every_picture_comes_once_in_the_order_it_is_shown(clips: Any) -> None:
    reading = source(clips.write("b.mp4", frames=24, options=B_FRAMES))
    frames = list(reading.frames())
    assert [clips.number(frame.image) for frame in frames] == list(range(24))
    assert [frame.index for frame in frames] == list(range(24))
    assert {frame.epoch for frame in frames} == {0}
    assert {frame.size for frame in frames} == {(48, 64)}
    assert (reading.outcome.status, reading.outcome.reason) == (Status.COMPLETE, None)
    assert (reading.outcome.decoded, reading.outcome.announced) == (24, 24)
    assert reading.decode_errors == 0


def test_frames_are_read_only_contiguous_and_of_no_wall_clock(clips: Any) -> None:
    frame = next(source(clips.write("a.mp4", size=(34, 38))).frames())
    assert frame.image.flags.c_contiguous
    assert not frame.image.flags.writeable
    assert (frame.captured_at_s, frame.clock) == (None, None)


def test_times_are_the_files_own_to_the_last_bit(clips: Any) -> None:
    pts = [7, 907, 1810, 2711, 90007, 90901, 200003]
    base = Fraction(1, 90000)
    path = clips.write("vfr.mkv", frames=7, codec="ffv1", pts=pts, time_base=base)
    # Matroska keeps milliseconds: what is written, not what was asked for, is the file's time
    with av.open(str(path)) as container:
        expected = [
            float(packet.pts * packet.time_base) for packet in container.demux() if packet.size
        ]
    assert [frame.pts_s for frame in source(path).frames()] == expected
    pts = [p - 7 for p in pts]  # an edit list begins at whole milliseconds
    exact = clips.write("vfr.mp4", frames=7, pts=pts, time_base=base, options={"bf": "2"})
    assert [frame.pts_s for frame in source(exact).frames()] == [p / 90000 for p in pts]


def test_a_stream_without_time_stamps_is_spaced_by_its_rate(clips: Any) -> None:
    frames = list(source(clips.write("raw.h264", frames=5, rate=25)).frames())
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_a_wrong_count_in_a_header_does_not_make_a_whole_file_incomplete(clips: Any) -> None:
    path = clips.write("lies.avi", frames=24, options=B_FRAMES)
    data = bytearray(path.read_bytes())
    length_at = data.index(b"vids", data.index(b"strh")) + 32  # dwLength of the stream header
    data[length_at : length_at + 4] = (48).to_bytes(4, "little")
    path.write_bytes(data)
    reading = source(path)
    frames = list(reading.frames())
    assert [clips.number(frame.image) for frame in frames] == list(range(24))
    assert (reading.outcome.decoded, reading.outcome.announced) == (24, 48)
    assert reading.outcome.status is Status.COMPLETE
    times = [frame.pts_s for frame in frames]
    assert all(later > earlier for earlier, later in pairwise(times))


def test_pictures_hidden_by_an_edit_list_are_neither_given_nor_announced(clips: Any) -> None:
    whole = clips.write("whole.mp4", frames=20, options={"bf": "0", "g": "10"})
    trimmed = whole.with_name("trimmed.mp4")
    with av.open(str(whole)) as src, av.open(str(trimmed), "w") as dst:
        stream = src.streams.video[0]
        copy = dst.add_stream_from_template(stream)
        for packet in src.demux(stream):
            if packet.size:
                packet.pts -= 4 * packet.duration
                packet.dts -= 4 * packet.duration
                packet.stream = copy
                dst.mux(packet)
    reading = source(trimmed)
    assert [clips.number(frame.image) for frame in reading.frames()] == list(range(4, 20))
    assert (reading.outcome.decoded, reading.outcome.announced) == (16, 16)
    assert reading.outcome.status is Status.COMPLETE


def test_a_cover_picture_is_not_taken_for_the_video(clips: Any, tmp_path: Path) -> None:
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 160, 120, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((120, 160, 3), np.uint8), "bgr24")
        container.mux(cover.encode(picture))
        for i in range(5):
            container.mux(
                video.encode(av.VideoFrame.from_ndarray(clips.picture(i), format="bgr24"))
            )
        container.mux(video.encode(None))
    frames = list(source(path).frames())
    assert [frame.size for frame in frames] == [(48, 64)] * 5


@pytest.mark.parametrize("threads", [1, 3])
def test_a_new_picture_size_starts_an_epoch_and_masks_get_the_right_size(
    clips: Any, threads: int
) -> None:
    small = clips.write("small.ts", frames=6)
    large = clips.write("large.ts", frames=5, size=(96, 128))
    reading = source(clips.join("change.ts", small, large), threads=threads)
    frames = list(reading.frames())
    assert [(f.epoch, f.index, f.size) for f in frames] == [
        *((0, i, (48, 64)) for i in range(6)),
        *((1, i, (96, 128)) for i in range(6, 11)),
    ]
    assert reading.outcome.status is Status.COMPLETE


def test_time_that_goes_back_starts_an_epoch_and_the_index_goes_on(clips: Any) -> None:
    part = clips.write("part.ts", frames=5)
    frames = list(source(clips.join("twice.ts", part, part)).frames())
    assert [(f.epoch, f.index) for f in frames] == [(i // 5, i) for i in range(10)]
    assert [f.pts_s for f in frames[:5]] == [f.pts_s for f in frames[5:]]


def test_stop_ends_the_reading_at_the_next_picture(clips: Any) -> None:
    reading = source(clips.write("a.mp4"))
    frames = reading.frames()
    next(frames)
    reading.stop()
    reading.stop()
    assert list(frames) == []
    assert (reading.outcome.status, reading.outcome.reason) == (Status.INCOMPLETE, "stopped")


def test_stop_before_the_start_gives_nothing(clips: Any) -> None:
    reading = source(clips.write("a.mp4"))
    reading.stop()
    assert list(reading.frames()) == []


def test_a_reader_that_is_left_closes_the_file(clips: Any) -> None:
    reading = source(clips.write("a.mp4"))
    frames = reading.frames()
    next(frames)
    video = reading._video
    frames.close()
    with pytest.raises(AssertionError, match="not open"):
        video.container.dumps_format()


@pytest.mark.parametrize("at", [0, 4, 8, 11])
def test_resuming_gives_what_the_whole_run_gave(clips: Any, at: int) -> None:
    parts = (clips.write("s.ts", frames=6), clips.write("l.ts", frames=5, size=(96, 128)))
    path = clips.join("change.ts", *parts)
    whole = list(source(path).frames())
    epoch = whole[at].epoch if at < len(whole) else 1
    reading = source(path)
    rest = list(reading.frames({"epoch": epoch, "index": at}))
    assert [(f.epoch, f.index, f.pts_s) for f in rest] == [
        (f.epoch, f.index, f.pts_s) for f in whole[at:]
    ]
    for again, before in zip(rest, whole[at:], strict=True):
        np.testing.assert_array_equal(again.image, before.image)
    assert (reading.outcome.status, reading.outcome.decoded) == (Status.COMPLETE, 11)


@pytest.mark.parametrize("position", [{"epoch": 0, "index": 40}, {"epoch": 3, "index": 4}])
def test_resuming_refuses_a_file_that_does_not_fit(clips: Any, position: dict[str, int]) -> None:
    reading = source(clips.write("a.mp4"))
    with pytest.raises(SourceError, match="the file has changed since"):
        list(reading.frames(position))
    assert reading.outcome.status is Status.FAILED


@pytest.mark.parametrize("threads", [2, 4])
def test_more_threads_give_the_same_pictures(clips: Any, threads: int) -> None:
    path = clips.write("b.mp4", frames=24, options=B_FRAMES)
    for one, many in zip(
        source(path).frames(), source(path, threads=threads).frames(), strict=True
    ):
        assert (one.index, one.pts_s) == (many.index, many.pts_s)
        np.testing.assert_array_equal(one.image, many.image)


@pytest.mark.parametrize(
    "name",
    [
        *("book.mkv", "bt709_full_range.mp4", "classroom.gif", "dog.mp4", "h264_10bits.mp4"),
        *("h265_10bits.mp4", "h265_video.mp4", "nasa_13013.mp4", "walk.mkv"),
        *("person-bicycle-car-detection.gif", "store-aisle-detection.gif", "bedroom.mp4"),
        *("bottle-detection.mp4", "car-detection.mp4", "one-by-one-person-detection.mp4"),
    ],
)
def test_real_videos_have_as_many_pictures_as_ffmpeg_counts(
    shared_data: Path, ffmpeg: Any, name: str
) -> None:
    path = shared_data / "videos" / name
    result = ffmpeg(
        *("-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "-")
    )
    expected = sum(not line.startswith(b"#") for line in result.stdout.splitlines())
    with VideoFile(path, name=name, max_pixels=10**7, threads=1) as video:
        assert sum(1 for _ in video.frames()) == expected
        assert video.missing() is None
        assert video.announced in (None, expected)
