"""Rows of frames, pages and packets: cut off within one is known, what lies behind is no part."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipeline.sources import open_source
from pipeline.sources.file.rows import find_row
from pipeline.stages import Outcome, Status

BEHIND = {
    "text": b"Recorded by the camera at the gate; uploaded at night.\n" * 2,
    "a line break": b"\n",
    "zeros": bytes(4096),
    "ones": b"\xff" * 300,
}
SMALL, PAL = (48, 64), (576, 720)


class Kind(NamedTuple):
    """How to write a file."""

    codec: str
    options: Mapping[str, str] = MappingProxyType({})
    size: tuple[int, int] = SMALL
    pipe: str | None = None
    pix_fmt: str = "yuv420p"


KINDS = {
    "a.y4m": Kind("rawvideo"),
    "grey.y4m": Kind("rawvideo", pix_fmt="gray"),
    "wide.y4m": Kind("rawvideo", pix_fmt="yuv444p"),
    "a.dv": Kind("dvvideo", size=PAL),
    "a.gxf": Kind("mpeg2video", {"g": "1"}, PAL),
    "a.obu": Kind("libsvtav1", {"preset": "12", "svtav1-params": "pred-struct=1:rc=0"}),
    "a.nut": Kind("libx264"),
    "a.ogv": Kind("libvpx"),
    "a.mpg": Kind("mpeg2video", size=(144, 176)),
    "a.mjpeg": Kind("mjpeg", pix_fmt="yuvj420p"),
    "pipe.ogv": Kind("libvpx", pipe="ogg"),
    "pipe.mkv": Kind("libx264", {"bf": "0"}, pipe="matroska"),
    "pipe.webm": Kind("libvpx", pipe="webm"),
    "live.mkv": Kind("libx264", {"bf": "0"}, pipe="matroska"),
    "pipe.wmv": Kind("wmv2", pipe="asf"),
    "pipe.avi": Kind("mjpeg", pix_fmt="yuvj420p", pipe="avi"),
    "pipe.ivf": Kind("libvpx", pipe="ivf"),
}
SAYS_NOTHING = {"a.nut"}
TAKES_MORE = {"pipe.ivf"}
"""Its only way to tell where a picture ends is the size before the next one."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, request: Any) -> Any:
    """Each kind of file, written once."""
    from_conftest = request.getfixturevalue("clips_class")
    clips, done = from_conftest(tmp_path_factory.mktemp("rows")), set()

    def write(name: str) -> Path:
        kind = KINDS[name]
        if name not in done:
            done.add(name)
            noise = np.random.default_rng(1).integers(0, 255, (10, *kind.size, 3), np.uint8)
            clips.write(
                name,
                images=list(noise // 4 + 90),
                rate=25,
                codec=kind.codec,
                options=dict(kind.options),
                pix_fmt=kind.pix_fmt,
                pipe=kind.pipe,
                mux={"live": "1"} if name == "live.mkv" else {},
            )
        path: Path = clips.folder / name
        return path

    return write


def outcome(path: Path) -> Outcome:
    reading = open_source(str(path), source_id="clip")
    given = sum(1 for _ in reading.frames())
    assert reading.outcome.decoded == given
    return reading.outcome


@pytest.fixture
def copy(written: Any, tmp_path: Path) -> Any:
    """A copy of a file, changed."""

    def make(name: str, *, keep: float = 1.0, behind: bytes = b"") -> Path:
        path = Path(shutil.copy(written(name), tmp_path / name))
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)] + behind)
        return path

    return make


@pytest.mark.parametrize("name", KINDS)
def test_what_muxers_write_is_whole(copy: Any, name: str) -> None:
    ended = outcome(copy(name))
    assert (ended.status, ended.reason, ended.decoded) == (Status.COMPLETE, None, 10)
    assert ended.announced in (None, 10)


@pytest.mark.parametrize("keep", [0.87, 0.66])
@pytest.mark.parametrize("name", sorted(set(KINDS) - SAYS_NOTHING))
def test_a_file_that_ends_within_a_part_is_incomplete(copy: Any, name: str, keep: float) -> None:
    ended = outcome(copy(name, keep=keep))
    assert ended.status is Status.INCOMPLETE
    assert ended.decoded is not None
    assert (
        ended.reason == f"truncated: {ended.decoded} pictures are there, then the file is cut off"
    )
    assert ended.decoded < 10 or keep > 0.8


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("name", sorted(set(KINDS) - TAKES_MORE))
def test_what_lies_behind_is_neither_a_picture_nor_costs_one(
    copy: Any, name: str, behind: bytes
) -> None:
    ended = outcome(copy(name, behind=behind))
    assert (ended.status, ended.reason, ended.decoded) == (Status.COMPLETE, None, 10)


@pytest.mark.parametrize("name", ["a.y4m", "a.obu", "a.gxf"])
def test_a_row_that_goes_on_behind_a_damaged_part_is_not_taken_for_its_end(
    copy: Any, name: str
) -> None:
    path = copy(name)
    data = bytearray(path.read_bytes())
    row = find_row(path)
    assert row is not None
    marks = {"a.y4m": b"FRAME", "a.obu": b"\x12\x00", "a.gxf": b"\0\0\0\0\1\xbf"}
    data[data.index(marks[name], row.end // 3)] = 0x93
    path.write_bytes(data)
    assert find_row(path) is None


@pytest.mark.parametrize("colour", ["C411", "C422p10", "Cmono16", "C444alpha", "C420paldv", ""])
def test_the_size_of_a_picture_is_known_from_the_header(tmp_path: Path, colour: str) -> None:
    size = {
        "C411": 5 * 3 + 2 * 2 * 3,
        "C422p10": 2 * (5 * 3 + 2 * 3 * 3),
        "Cmono16": 2 * 5 * 3,
        "C444alpha": 4 * 5 * 3,
        "C420paldv": 5 * 3 + 2 * 3 * 2,
        "": 5 * 3 + 2 * 3 * 2,
    }[colour]
    head = f"YUV4MPEG2 W5 H3 F25:1 Ip {colour} XCOLORRANGE=LIMITED\n".encode()
    path = tmp_path / "a.y4m"
    frame = b"FRAME Xmore\n" + bytes(size)
    path.write_bytes(head + frame * 3)
    assert find_row(path) == (len(head) + 3 * len(frame), False)
    for less in (1, size, size + 1, size + 11):
        path.write_bytes((head + frame * 3)[:-less])
        assert find_row(path) == (len(head) + 2 * len(frame), True)
    for words in (b"", b" W5 Hx C420", b" W5 H3 Cwhat"):
        path.write_bytes(b"YUV4MPEG2 " + words + b"\n" + frame)
        assert find_row(path) is None


def test_of_ogg_streams_one_behind_the_other_all_pictures_come(
    written: Any, clips: Any, ffmpeg: Any
) -> None:
    theora = clips.folder / "theora.ogv"
    ffmpeg("-i", str(written("a.mjpeg")), "-c:v", "libtheora", str(theora))
    for path in (written("a.ogv"), theora):
        ended = outcome(clips.join(f"twice-{path.name}", path, path))
        assert (ended.status, ended.reason, ended.decoded) == (Status.COMPLETE, None, 20)


@pytest.mark.parametrize(("name", "keep"), [("a.dv", 0.03), ("a.mjpeg", 0.07)])
def test_a_file_that_ends_within_its_first_picture_is_incomplete(
    copy: Any, name: str, keep: float
) -> None:
    ended = outcome(copy(name, keep=keep))
    assert (ended.status, ended.decoded) == (Status.INCOMPLETE, 1)
