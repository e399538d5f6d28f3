"""A directory or glob of pictures is a stream: sorted by number, one frame a picture."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import SourceError, SourceOpenError
from pipeline.sources import open_source, probe
from pipeline.sources.images.header import read_header
from pipeline.stages import Source, Status


def draw(path: Path, value: int, size: tuple[int, int] = (30, 40)) -> Path:
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))
    return path


def source(url: Path | str, **options: Any) -> Source:
    return open_source(str(url), source_id="pictures", **options)


def test_pictures_come_by_their_number_not_by_their_spelling(tmp_path: Path) -> None:
    for number in (10, 2, 1, 20):
        draw(tmp_path / f"img{number}.png", number)
    (tmp_path / "notes.txt").write_text("no picture")
    draw(tmp_path / ".hidden.png", 99)
    reading = source(tmp_path, fps=4.0)
    frames = list(reading.frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10, 20]
    assert [(f.epoch, f.index, f.pts_s) for f in frames] == [
        (0, 0, 0.0),
        (0, 1, 0.25),
        (0, 2, 0.5),
        (0, 3, 0.75),
    ]
    assert (reading.outcome.status, reading.outcome.decoded) == (Status.COMPLETE, 4)
    assert (reading.outcome.announced, reading.decode_errors) == (4, 0)


def test_a_glob_takes_what_it_matches_and_a_picture_is_a_stream_of_one(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.png", "b1.png"):
        draw(tmp_path / name, 7)
    assert len(list(source(f"{tmp_path}/a*.png").frames())) == 2
    assert [f.pts_s for f in source(tmp_path / "b1.png").frames()] == [0.0]


def test_another_size_starts_an_epoch(tmp_path: Path) -> None:
    for i, size in enumerate([(30, 40), (30, 40), (40, 30), (30, 40)]):
        draw(tmp_path / f"{i}.png", i, size)
    frames = list(source(tmp_path).frames())
    assert [(f.epoch, f.index, f.size) for f in frames] == [
        (0, 0, (30, 40)),
        (0, 1, (30, 40)),
        (1, 2, (40, 30)),
        (2, 3, (30, 40)),
    ]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda data: data[: len(data) * 2 // 3], "is truncated", id="truncated"),
        pytest.param(lambda data: b"", "is empty", id="empty"),
        pytest.param(lambda data: b"hello" * 9, "is not a picture", id="text"),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_an_unreadable_picture_is_left_out_counted_and_said(
    tmp_path: Path, suffix: str, damage: Any, reason: str
) -> None:
    rng = np.random.default_rng(1)
    for i in range(3):
        cv2.imwrite(f"{tmp_path}/{i}.{suffix}", rng.integers(0, 255, (30, 40, 3), np.uint8))
    broken = tmp_path / f"1.{suffix}"
    broken.write_bytes(damage(broken.read_bytes()))
    reading = source(tmp_path)
    frames = list(reading.frames())
    assert [(f.index, f.pts_s) for f in frames] == [(0, 0.0), (1, 2.0)]
    assert reading.decode_errors == 1
    assert reading.outcome.status is Status.INCOMPLETE
    assert reading.outcome.reason == f"1 of 3 pictures left out, first 1.{suffix} {reason}"


def exif(orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda image: np.rot90(image),
}


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24], image[:16, 24:] = 200, 90
    data = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + exif(orientation) + data[2:])
    shown = next(iter(source(tmp_path).frames())).image
    expected = UPRIGHT[orientation](image)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(np.full((6, 5), 77, np.uint8), (77, 77, 77), id="grey"),
        pytest.param(np.full((6, 5), 257 * 9, np.uint16), (9, 9, 9), id="sixteen-bit"),
        pytest.param(np.full((6, 5, 4), (1, 2, 3, 0), np.uint8), (1, 2, 3), id="transparent"),
    ],
)
def test_every_depth_becomes_eight_bit_bgr(
    tmp_path: Path, image: NDArray[Any], expected: tuple[int, int, int]
) -> None:
    cv2.imwrite(f"{tmp_path}/a.png", image)
    frame = next(iter(source(tmp_path).frames()))
    assert frame.size == (6, 5)
    assert tuple(frame.image[0, 0]) == expected
    assert frame.image.flags.c_contiguous


def test_a_picture_that_claims_gigabytes_is_not_decoded(tmp_path: Path) -> None:
    size = struct.pack(">II", 200_000, 200_000)
    chunk = b"IHDR" + size + bytes([8, 2, 0, 0, 0])
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk)) + bytes(4) + b"IEND\xae\x42\x60\x82"
    (tmp_path / "a.png").write_bytes(bomb)
    draw(tmp_path / "b.png", 1)
    reading = source(tmp_path)
    assert [frame.size for frame in reading.frames()] == [(30, 40)]
    assert "a.png has 200000x200000 pixels, more than max_pixels" in str(reading.outcome.reason)


@pytest.mark.parametrize("at", [0, 2, 3, 5])
def test_resuming_gives_what_the_whole_run_gave(tmp_path: Path, at: int) -> None:
    for i, size in enumerate([(30, 40), (30, 40), (40, 30), (40, 30), (30, 40)]):
        draw(tmp_path / f"{i}.png", i, size)
    whole = list(source(tmp_path).frames())
    rest = list(source(tmp_path).frames({"epoch": 0, "index": at}))
    assert [(f.epoch, f.index, f.pts_s) for f in rest] == [
        (f.epoch, f.index, f.pts_s) for f in whole[at:]
    ]


def test_resuming_beyond_the_last_picture_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1)
    with pytest.raises(SourceError, match=r"cannot resume .* at picture 9: there are 1"):
        list(source(tmp_path).frames({"epoch": 0, "index": 9}))


def test_stop_ends_the_reading(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / f"{i}.png", i)
    reading = source(tmp_path)
    frames = reading.frames()
    next(frames)
    reading.stop()
    assert list(frames) == []
    assert (reading.outcome.status, reading.outcome.reason) == (Status.INCOMPLETE, "stopped")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda folder: None, "no picture in", id="empty-directory"),
        pytest.param(lambda folder: (folder / "a.png").touch(), "a.png is empty", id="all-empty"),
    ],
)
def test_nothing_to_read_is_one_clear_line(tmp_path: Path, make: Any, reason: str) -> None:
    make(tmp_path)
    reading = source(tmp_path)
    with pytest.raises(SourceOpenError, match=reason):
        list(reading.frames())
    assert reading.outcome.status is Status.FAILED


def test_a_picture_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SourceOpenError, match=r"gone.png cannot be read: no such file"):
        list(source(tmp_path / "gone.png").frames())


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "ppm"])
def test_the_size_is_read_from_the_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.zeros((37, 53, 3), np.uint8))
    header = read_header(path.read_bytes())
    assert header is not None
    assert (header.height, header.width, header.whole) == (37, 53, True)


@pytest.mark.parametrize("quality", [50, 101])
def test_both_kinds_of_webp_are_known(tmp_path: Path, quality: int) -> None:
    image = np.zeros((37, 53, 3), np.uint8)
    data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    header = read_header(data)
    assert header is not None
    assert (header.height, header.width) == (37, 53)


@pytest.mark.parametrize(
    "start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM", b"RIFF", b"II*\0", b"P6"]
)
def test_a_header_that_stops_at_once_is_no_header(start: bytes) -> None:
    assert read_header(start) is None


def test_a_probe_says_how_many_and_how_large(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / f"{i}.jpg", i)
    seen = probe(str(tmp_path))
    assert seen is not None
    assert (seen.size, seen.frames, seen.codec) == ((30, 40), 3, "jpeg")
