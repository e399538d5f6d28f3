"""The edges a container leaves out are not shown, as in players and in FFmpeg 7.1 and later."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.sources import open_source, probe
from pipeline.sources.file.cropping import crop_of
from pipeline.sources.picture import WHOLE, Crop


def images(path: Path, **options: Any) -> list[NDArray[np.uint8]]:
    source = open_source(str(path), source_id="clip", **options)
    shown = [frame.image for frame in source.frames()]
    assert all(image.flags.c_contiguous for image in shown)
    return shown


def blocks() -> NDArray[np.uint8]:
    """48 x 64 in blocks of 2 x 2, no two alike."""
    rng = np.random.default_rng(5)
    return np.kron(rng.integers(0, 256, (24, 32, 3)), np.ones((2, 2, 1))).astype(np.uint8)


# -- MP4 and MOV ---------------------------------------------------------------------------------


def with_clap(path: Path, *values: int, entry: bytes = b"avc1") -> Path:
    """Put a `clap` box into the sample entry of an MP4 whose index lies at the end."""
    data = bytearray(path.read_bytes())
    at = data.index(entry, data.index(b"stsd"))
    end = at - 4 + struct.unpack_from(">I", data, at - 4)[0]
    box = struct.pack(">I4s8i", 40, b"clap", *values)
    data[end:end] = box
    for kind in (entry, b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        outer = data.rindex(kind, 0, at + 4) - 4
        struct.pack_into(">I", data, outer, struct.unpack_from(">I", data, outer)[0] + len(box))
    path.write_bytes(data)
    return path


CENTRED = (40, 1, 30, 1, 0, 1, 0, 1)


@pytest.mark.parametrize(
    ("values", "crop"),
    [
        pytest.param(CENTRED, Crop(9, 9, 12, 12), id="centred"),
        pytest.param((40, 1, 30, 1, 7, 1, -4, 1), Crop(5, 13, 19, 5), id="off the middle"),
        pytest.param((80, 2, 90, 3, -24, 2, 9, 1), Crop(18, 0, 0, 24), id="up to the edges"),
        pytest.param((63, 1, 47, 1, -1, 2, 1, 2), Crop(1, 0, 0, 1), id="an edge each"),
        pytest.param((41, 1, 31, 1, 0, 1, 0, 1), Crop(8, 9, 11, 12), id="odd"),
        pytest.param((81, 2, 61, 2, 1, 3, 0, 1), Crop(8, 9, 12, 12), id="fractions"),
        pytest.param((64, 1, 48, 1, 0, 1, 0, 1), WHOLE, id="everything"),
        pytest.param((70, 1, 30, 1, 0, 1, 0, 1), WHOLE, id="wider than the picture"),
        pytest.param((40, 1, 30, 1, 20, 1, 0, 1), WHOLE, id="beyond the right edge"),
        pytest.param((40, 0, 30, 1, 0, 1, 0, 1), WHOLE, id="divided by nothing"),
        pytest.param((40, 1, 30, 1, 0, -1, 0, 1), WHOLE, id="divided by less than nothing"),
        pytest.param((0, 1, 0, 1, 0, 1, 0, 1), WHOLE, id="nothing"),
    ],
)
def test_a_clean_aperture_is_what_is_left_around_its_middle(
    clips: Any, values: tuple[int, ...], crop: Crop
) -> None:
    path = clips.write("a.mp4", frames=1)
    (whole,) = images(path)
    with_clap(path, *values)
    (shown,) = images(path)
    rows, columns = crop.of((48, 64))
    np.testing.assert_array_equal(shown, whole[rows, columns])
    assert crop_of(path, track_id=1, number=0).of((48, 64)) == (rows, columns)
    assert probe(str(path)).size == shown.shape[:2]


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("angle", [0, 90, 180, -90])
def test_cropping_comes_before_rotation(clips: Any, angle: int, hflip: bool) -> None:
    path = clips.write("r.mp4", images=[blocks()], rotation=(angle, hflip, False))
    (whole,) = images(path)
    (shown,) = images(with_clap(path, 40, 1, 30, 1, 7, 1, -4, 1))
    back = np.rot90(whole[:, ::-1] if hflip else whole, -angle // 90)  # as it is stored
    expected = np.rot90(back[5:35, 19:59], angle // 90)
    np.testing.assert_array_equal(shown, expected[:, ::-1] if hflip else expected)
    assert probe(str(path)).size == shown.shape[:2]


def test_cropping_of_the_container_comes_on_top_of_the_codecs_own(clips: Any) -> None:
    image = blocks()[:46, :50]  # H.264 codes 48 x 64 and crops them itself
    path = clips.write("c.mp4", images=[image])
    (whole,) = images(path)
    (shown,) = images(with_clap(path, 40, 1, 30, 1, 0, 1, 0, 1))
    assert whole.shape == (46, 50, 3)
    np.testing.assert_array_equal(shown, whole[8:38, 5:45])


def test_a_cropped_file_resumes_and_winds_forward_within_its_cropping(clips: Any) -> None:
    path = with_clap(clips.write("w.mp4", frames=25, rate=5, options={"g": "5"}), *CENTRED)
    assert [image.shape for image in images(path, start_s=3.0)] == [(30, 40, 3)] * 10
    resumed = open_source(str(path), source_id="clip").frames({"index": 20, "epoch": 0})
    assert [frame.size for frame in resumed] == [(30, 40)] * 5


@pytest.mark.parametrize("version", [0, 1])
def test_the_track_is_told_by_its_id(tmp_path: Path, version: int) -> None:
    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    def track(number: int, edge: int) -> bytes:
        times = bytes(16 if version else 8)
        clap = struct.pack(">8i", 64 - 2 * edge, 1, 48, 1, 0, 1, 0, 1)
        visual = bytes(24) + struct.pack(">HH", 64, 48) + bytes(50)
        entry = box(b"avc1", visual + box(b"pasp", bytes(8)) + box(b"clap", clap))
        table = box(b"stbl", box(b"stsd", bytes(8) + entry))
        return box(
            b"trak",
            box(b"tkhd", bytes([version, 0, 0, 0]) + times + struct.pack(">I", number))
            + box(b"mdia", box(b"mdhd", b"") + box(b"minf", table)),
        )

    path = tmp_path / "two.mov"
    path.write_bytes(box(b"ftyp", b"qt  ") + box(b"moov", track(3, 4) + track(7, 6)))
    assert crop_of(path, track_id=7, number=0) == Crop(0, 0, 6, 6)
    assert crop_of(path, track_id=3, number=0) == Crop(0, 0, 4, 4)
    assert crop_of(path, track_id=5, number=0) == WHOLE
    data = path.read_bytes()
    for length in range(len(data)):  # torn anywhere: nothing that is not there is believed
        path.write_bytes(data[:length])
        assert crop_of(path, track_id=7, number=0) == WHOLE


# -- Matroska and WebM ---------------------------------------------------------------------------


def element(name: str, content: bytes, *, unknown: bool = False) -> bytes:
    size = b"\x01" + (b"\xff" * 7 if unknown else len(content).to_bytes(7, "big"))
    return bytes.fromhex(name) + size + content


def video_track(**edges: int) -> bytes:
    names = {"top": "54bb", "bottom": "54aa", "left": "54cc", "right": "54dd"}
    inside = b"".join(element(names[edge], bytes([0, n])) for edge, n in edges.items())
    return element("ae", element("83", b"\1") + element("e0", element("b0", b"\x40") + inside))


@pytest.mark.parametrize("unknown", [False, True])
def test_every_edge_of_a_matroska_track_counts(tmp_path: Path, unknown: bool) -> None:
    sound = element("ae", element("83", b"\2"))
    tracks = sound + video_track(left=3) + video_track(top=20, bottom=10, left=16, right=24)
    segment = element("ec", bytes(5)) + element("1654ae6b", tracks) + element("1f43b675", bytes(9))
    path = tmp_path / "two.mkv"
    path.write_bytes(element("1a45dfa3", bytes(4)) + element("18538067", segment, unknown=unknown))
    assert crop_of(path, track_id=0, number=0) == Crop(left=3)
    assert crop_of(path, track_id=0, number=1) == Crop(20, 10, 16, 24)
    assert crop_of(path, track_id=0, number=2) == WHOLE


@pytest.mark.parametrize("name", ["p.mkv", "p.webm"])
def test_a_matroska_file_is_shown_without_the_edges_it_names(clips: Any, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    path = clips.write(name, images=[blocks()] * 3, codec=codec)
    whole = images(path)
    data = bytearray(path.read_bytes())
    at = data.index(
        b"\x23\xe3\x83\x84"
    )  # DefaultDuration, 8 bytes before Video: they change places
    assert data[at + 8] == 0xE0
    end = at + 10 + (data[at + 9] & 0x7F)
    video = bytes([0xE0, data[at + 9] + 8]) + data[at + 10 : end]
    data[at:end] = video + bytes.fromhex("54cc8110 54bb8106")  # PixelCropLeft, PixelCropTop
    path.write_bytes(data)
    for shown, uncropped in zip(images(path), whole, strict=True):
        np.testing.assert_array_equal(shown, uncropped[6:, 16:])


def test_edges_that_would_leave_nothing_are_not_cropped(clips: Any) -> None:
    assert Crop(24, 24, 0, 0).of((48, 64)) == WHOLE.of((48, 64))
    assert Crop(0, 0, 63, 0).of((48, 64)) == (slice(0, 48), slice(63, 64))


@pytest.mark.parametrize("name", ["a.avi", "a.ts", "a.flv"])
def test_other_containers_crop_nothing(clips: Any, name: str) -> None:
    path = clips.write(name, frames=1)
    assert images(path)[0].shape == (48, 64, 3)
    assert crop_of(path, track_id=0, number=0) == WHOLE
