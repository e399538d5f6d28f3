"""A file with all its pictures is complete, whatever its sizes say and whatever lies behind it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources import open_source
from pipeline.stages import Outcome, Status

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
BEHIND = {
    "text": b"Recorded by the camera at the gate; uploaded at night.\n" * 2,
    "a line break": b"\n",
    "a few zeros": bytes(7),
    "a block of zeros": bytes(4096),
    "a block of ones": b"\xff" * 300,
    "a tag of music": b"TAG" + bytes(125),
    "a box of nothing": struct.pack(">I4s", 40, b"free") + bytes(32),
    "a box of nothing, cut off": struct.pack(">I4s", 400, b"free") + bytes(32),
    "a box of one's own": struct.pack(">I4s", 40, b"uuid") + bytes(32),
    "a box of one's own, cut off": struct.pack(">I4s", 400, b"uuid") + bytes(32),
}


def outcome(path: Path, **options: Any) -> Outcome:
    reading = open_source(str(path), source_id="clip", **options)
    given = sum(1 for _ in reading.frames())
    assert reading.outcome.decoded == given
    return reading.outcome


def result(path: Path, **options: Any) -> tuple[Status, str | None, int | None]:
    """How it ended, and how many pictures there were."""
    ended = outcome(path, **options)
    return ended.status, ended.reason, ended.decoded


def patched(path: Path, change: Callable[[bytearray], None]) -> Path:
    """The file with bytes of it changed in place."""
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize(
    "name", ["mp4", "faststart.mp4", "fragmented.mp4", "mov", "mkv", "webm", "avi", "ts", "flv"]
)
def test_bytes_behind_the_end_make_no_file_incomplete(clips: Any, name: str, behind: bytes) -> None:
    mux = {"movflags": "faststart"} if name == "faststart.mp4" else {}
    mux = FRAGMENTED if name == "fragmented.mp4" else mux
    codec = "libvpx" if name == "webm" else "libx264"
    path = clips.write(f"a.{name}", codec=codec, options={"g": "4", "bf": "0"}, mux=mux)
    path.write_bytes(path.read_bytes() + behind)
    assert result(path) == (Status.COMPLETE, None, 10)


@pytest.mark.parametrize("behind", ["text", "a block of ones"])
def test_what_a_container_takes_for_one_more_picture_is_none(clips: Any, behind: str) -> None:
    path = clips.write("a.ivf", codec="libvpx")
    path.write_bytes(path.read_bytes() + BEHIND[behind])
    assert outcome(path) == Outcome(Status.COMPLETE, None, 10, 10)


@pytest.mark.parametrize("behind", ["text", "a line break", "a block of ones"])
def test_raw_pictures_end_where_less_than_one_is_left(clips: Any, behind: str) -> None:
    path = clips.write("a.y4m", codec="rawvideo")
    path.write_bytes(path.read_bytes() + BEHIND[behind])
    assert result(path) == (Status.COMPLETE, None, 10)


def test_raw_pictures_that_break_off_in_the_middle_are_incomplete(clips: Any) -> None:
    def scribble(data: bytearray) -> None:
        data[data.index(b"FRAME", len(data) // 2)] = 0

    ended = outcome(patched(clips.write("a.y4m", codec="rawvideo"), scribble))
    assert (ended.status, ended.decoded) == (Status.INCOMPLETE, 5)
    assert "the container broke off" in str(ended.reason)


def test_a_part_of_a_file_with_bytes_behind_it_is_whole(clips: Any) -> None:
    path = clips.write("a.mp4", frames=25, rate=5, options={"g": "5"})
    path.write_bytes(path.read_bytes() + BEHIND["text"])
    assert result(path, start_s=3.0) == (Status.COMPLETE, None, 10)


@pytest.mark.parametrize("more", [-100, 100, 1_000_000])
def test_an_index_of_samples_is_believed_before_the_size_of_their_box(
    clips: Any, more: int
) -> None:
    def lie(data: bytearray) -> None:
        at = data.index(b"mdat") - 4
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + more)

    options = {"g": "5", "bf": "0"}
    path = clips.write("a.mp4", frames=25, rate=5, options=options, mux={"movflags": "faststart"})
    assert outcome(patched(path, lie)) == Outcome(Status.COMPLETE, None, 25, 25)
    assert result(path, start_s=3.0) == (Status.COMPLETE, None, 10)


@pytest.mark.parametrize("more", [-100, 100, 1_000_000])
@pytest.mark.parametrize("counted", [0, 7, 10, 12])
def test_a_wrong_size_of_an_avi_does_not_matter_where_its_list_of_pictures_is_whole(
    clips: Any, more: int, counted: int
) -> None:
    def lie(data: bytearray) -> None:
        struct.pack_into("<I", data, 4, len(data) - 8 + more)
        struct.pack_into("<I", data, data.index(b"avih") + 24, counted)
        struct.pack_into("<I", data, data.index(b"strh") + 40, counted)

    path = patched(clips.write("a.avi", options={"bf": "0"}), lie)
    assert result(path) == (Status.COMPLETE, None, 10)


@pytest.mark.parametrize("more", [-100, 100, 1_000_000])
@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_a_wrong_size_of_a_segment_does_not_matter_where_its_clusters_fill_its_time(
    clips: Any, name: str, more: int
) -> None:
    def lie(data: bytearray) -> None:
        at = data.index(b"\x18\x53\x80\x67") + 4
        struct.pack_into(">Q", data, at, 1 << 56 | len(data) - at - 8 + more)

    codec = "libvpx" if name.endswith("webm") else "libx264"
    path = patched(clips.write(name, codec=codec, options={"bf": "0"}), lie)
    assert result(path) == (Status.COMPLETE, None, 10)


@pytest.mark.parametrize(
    ("name", "index"), [("a.avi", b"idx1"), ("a.mkv", b"\x1c\x53\xbb\x6b")], ids=["avi", "mkv"]
)
def test_a_file_that_lacks_only_the_index_behind_its_pictures_lacks_no_picture(
    clips: Any, name: str, index: bytes
) -> None:
    path = clips.write(name, options={"bf": "0"})
    data = path.read_bytes()
    for end in (data.rindex(index), data.rindex(index) + 9):
        path.write_bytes(data[:end])
        assert result(path) == (Status.COMPLETE, None, 10)
    path.write_bytes(data[: data.rindex(index) - 4])
    assert outcome(path).status is Status.INCOMPLETE


def test_a_matroska_that_ends_between_two_clusters_before_its_time_is_incomplete(
    clips: Any,
) -> None:
    options = {"g": "5", "bf": "0"}
    path = clips.write("a.mkv", options=options, mux={"cluster_time_limit": "450"})
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\x1f\x43\xb6\x75")])
    ended = outcome(path)
    assert (ended.status, ended.decoded) == (Status.INCOMPLETE, 5)


def test_a_fragmented_file_that_ends_before_the_pictures_of_its_last_index_is_incomplete(
    clips: Any,
) -> None:
    path = clips.write("a.mp4", options={"g": "5", "bf": "0"}, mux=FRAGMENTED)
    data = path.read_bytes()
    last = data.rindex(b"moof") - 4
    for end in (last + 20, data.rindex(b"mdat") - 4, data.rindex(b"mdat")):
        path.write_bytes(data[:end])
        ended = outcome(path)
        assert (ended.status, ended.decoded) == (Status.INCOMPLETE, 5)


@pytest.mark.parametrize("less", [1, 20, 200])
def test_a_sample_that_is_not_whole_is_missing_although_the_index_counts_it(
    clips: Any, less: int
) -> None:
    path = clips.write("a.mp4", mux={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-less])
    assert outcome(path).status is Status.INCOMPLETE


def test_a_sample_without_a_byte_is_no_picture_that_is_missing(clips: Any) -> None:
    def empty(data: bytearray) -> None:
        sizes = data.index(b"stsz") + 16  # behind version, common size and count
        struct.pack_into(">I", data, sizes + 4 * 9, 0)  # of the last one

    path = clips.write("a.mp4", options={"bf": "0"})
    assert outcome(patched(path, empty)) == Outcome(Status.COMPLETE, None, 9, 9)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.gif", "gif", "rgb8"), ("a.asf", "wmv2", "yuv420p")]
)
def test_what_is_left_of_a_file_is_not_all_of_it(
    clips: Any, name: str, codec: str, pix_fmt: str
) -> None:
    path = clips.write(name, codec=codec, pix_fmt=pix_fmt)
    assert outcome(path).status is Status.COMPLETE
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    ended = outcome(path)
    assert ended.status is Status.INCOMPLETE
    assert str(ended.reason).startswith("truncated: ")
