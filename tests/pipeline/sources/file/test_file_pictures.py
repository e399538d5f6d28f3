"""Pixels come out as BGR, 8 bit, upright, whatever the file keeps."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import SourceOpenError
from pipeline.sources import open_source, probe
from pipeline.sources.picture import Orientation, orientation_of, upright
from pipeline.stages import Status


def first_image(path: Path) -> NDArray[np.uint8]:
    return next(iter(open_source(str(path), source_id="clip").frames())).image


def noise(shape: tuple[int, ...], dtype: type = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(7).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_grey_becomes_three_equal_channels(clips: Any) -> None:
    grey = noise((30, 46))
    image = first_image(
        clips.write("g.mkv", images=[grey], codec="ffv1", pix_fmt="gray", source_format="gray")
    )
    np.testing.assert_array_equal(image, np.repeat(grey[:, :, None], 3, axis=2))


def test_sixteen_bit_grey_is_scaled_to_eight(clips: Any) -> None:
    grey = noise((30, 46), np.uint16)
    path = clips.write(
        "g.mkv", images=[grey], codec="ffv1", pix_fmt="gray16le", source_format="gray16le"
    )
    difference = first_image(path).astype(int) - (grey[:, :, None] / 257)
    assert np.abs(difference).max() < 2


def test_alpha_is_dropped(clips: Any) -> None:
    image = noise((30, 46, 4))
    path = clips.write("a.mkv", images=[image], codec="ffv1", pix_fmt="bgra", source_format="bgra")
    np.testing.assert_array_equal(first_image(path), image[:, :, :3])


@pytest.mark.parametrize("size", [(1, 1), (17, 13), (33, 99), (48, 64)])
def test_odd_sizes_keep_every_pixel(clips: Any, size: tuple[int, int]) -> None:
    image = noise((*size, 3))
    path = clips.write("o.avi", images=[image], codec="rawvideo", pix_fmt="bgr24")
    np.testing.assert_array_equal(first_image(path), image)


BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)
MPEG, JPEG = 1, 2


@pytest.mark.parametrize(
    ("matrix", "weights", "value_range"),
    [
        pytest.param(6, BT601, MPEG, id="601-limited"),
        pytest.param(1, BT709, MPEG, id="709-limited"),
        pytest.param(6, BT601, JPEG, id="601-full"),
        pytest.param(1, BT709, JPEG, id="709-full"),
        pytest.param(2, BT601, MPEG, id="not-said"),
    ],
)
@pytest.mark.parametrize("bits", [8, 10])
def test_matrix_and_range_are_the_streams_own(
    clips: Any, matrix: int, weights: tuple[float, float], value_range: int, bits: int
) -> None:
    yuv = np.array([120, 90, 150])
    path = clips.write(
        "c.mkv",
        images=[np.full((32, 32, 3), yuv, np.uint8)],
        pix_fmt="yuv444p" if bits == 8 else "yuv444p10le",
        source_format="yuv444p",
        options={"qp": "0"},
        colour={"colorspace": matrix, "color_range": value_range},
    )
    np.testing.assert_allclose(
        first_image(path)[16, 16], bgr_of(yuv, weights, full=value_range == JPEG), atol=2
    )


def bgr_of(yuv: NDArray[Any], weights: tuple[float, float], *, full: bool) -> NDArray[np.float64]:
    """The definition of the matrices, ITU-R BT.601 and BT.709."""
    red, blue = weights
    green = 1 - red - blue
    y = yuv[0] / 255 if full else (yuv[0] - 16) / 219
    cb, cr = (yuv[1:] - 128) / (255 if full else 224)
    b, r = y + cb * 2 * (1 - blue), y + cr * 2 * (1 - red)
    g = (y - red * r - blue * b) / green
    return 255 * np.array([b, g, r])


def jpegs(count: int, size: tuple[int, int] = (48, 64), **options: int) -> list[bytes]:
    """JPEG pictures, each a little brighter than the one before."""
    settings = [value for key, on in options.items() for value in (getattr(cv2, key), on)]
    pictures = [np.full((*size, 3), 20 + 9 * i, np.uint8) for i in range(count)]
    return [cv2.imencode(".jpg", picture, settings)[1].tobytes() for picture in pictures]


def with_thumbnail(picture: bytes) -> bytes:
    """A JPEG that holds another one in its first segment, as cameras write them."""
    inner = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + jpegs(1, (12, 16))[0]
    return picture[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + picture[2:]


@pytest.mark.parametrize("name", ["raw.mjpeg", "raw.mjpg", "raw"])
@pytest.mark.parametrize(
    "pictures",
    [
        pytest.param(jpegs(10), id="baseline"),
        pytest.param(jpegs(10, IMWRITE_JPEG_PROGRESSIVE=1), id="progressive"),
        pytest.param([with_thumbnail(picture) for picture in jpegs(10)], id="thumbnails"),
        pytest.param(jpegs(1), id="a single one"),
    ],
)
def test_pictures_one_after_another_are_a_film(
    tmp_path: Path, clips: Any, name: str, pictures: list[bytes]
) -> None:
    path = tmp_path / name
    for behind in (b"", b"\n", bytes(5000)):
        path.write_bytes(b"".join(pictures) + behind)
        reading = open_source(str(path), source_id="clip")
        frames = list(reading.frames())
        assert [clips.number(frame.image) for frame in frames] == list(range(len(pictures)))
        assert [frame.pts_s for frame in frames] == [i / 25 for i in range(len(pictures))]
        assert reading.outcome.status is Status.COMPLETE


def test_a_film_of_pictures_may_change_its_size(tmp_path: Path) -> None:
    path = tmp_path / "raw.mjpeg"
    path.write_bytes(b"".join(jpegs(2) + jpegs(3, (32, 48))))
    frames = list(open_source(str(path), source_id="clip").frames())
    assert [(frame.epoch, frame.size) for frame in frames] == [(0, (48, 64))] * 2 + [
        (1, (32, 48))
    ] * 3


NO_WAY = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE ST 2085",
    12: "derived from its primaries",
    13: "derived from its primaries, with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}


def in_matrix(clips: Any, matrix: int) -> Path:
    """A file whose pictures say that they are stored in a matrix of H.273."""
    return clips.write(
        "m.mkv",
        images=[np.full((32, 32, 3), (120, 90, 150), np.uint8)] * 3,
        pix_fmt="yuv444p",
        source_format="yuv444p",
        colour={"colorspace": matrix},
    )


@pytest.mark.parametrize("matrix", range(18))
def test_a_matrix_is_converted_or_named(clips: Any, matrix: int) -> None:
    reading = open_source(str(in_matrix(clips, matrix)), source_id="clip")
    if matrix not in NO_WAY:
        assert sum(1 for _ in reading.frames()) == 3
        return
    with pytest.raises(SourceOpenError) as refused:
        next(iter(reading.frames()))
    assert str(refused.value) == (
        f"clip: no picture can be shown: its colour matrix {matrix} ({NO_WAY[matrix]}) cannot be "
        "converted to RGB; re-encode it"
    )
    assert reading.decode_errors == 0
    with pytest.raises(SourceOpenError, match="no picture can be shown: its colour matrix"):
        probe(str(in_matrix(clips, matrix)))


def test_pictures_in_a_matrix_that_begins_later_are_left_out_by_name(clips: Any) -> None:
    picture = np.full((32, 32, 3), (120, 90, 150), np.uint8)
    parts = [
        clips.write(
            f"{matrix}.h264",
            images=[picture] * 4,
            pix_fmt="yuv444p",
            source_format="yuv444p",
            options={"bf": "0"},
            colour={"colorspace": matrix},
        )
        for matrix in (1, 8)
    ]
    reading = open_source(str(clips.join("m.h264", *parts)), source_id="clip")
    assert sum(1 for _ in reading.frames()) == 4
    assert reading.outcome.status is Status.INCOMPLETE
    assert reading.outcome.reason == (
        "4 pictures left out: its colour matrix 8 (YCgCo) cannot be converted to RGB; re-encode it"
    )
    assert reading.decode_errors == 4


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("angle", [0, 90, 180, -90])
def test_the_display_matrix_is_applied(clips: Any, angle: int, hflip: bool) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    path = clips.write("r.mp4", images=[image], rotation=(angle, hflip, False), pix_fmt="yuv444p")
    expected = np.rot90(image, angle // 90)
    if hflip:
        expected = expected[:, ::-1]
    shown = first_image(path)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 5
    assert shown.flags.c_contiguous


def test_no_frame_waits_for_the_garbage_collector(clips: Any) -> None:
    path = clips.write("a.mp4", frames=24, rotation=(90, False, False))
    gc.collect()
    gc.freeze()  # what was there before is not looked at, frame by frame
    gc.disable()
    try:
        for _ in open_source(str(path), source_id="clip").frames():
            kept = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
            assert kept < 6  # what the decoder and the loop hold, and the one looked at
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        pytest.param((1, 0, 0, 1), Orientation(), id="upright"),
        pytest.param((-1, 0, 0, 1), Orientation(mirror_x=True), id="mirrored"),
        pytest.param((0, 1, 1, 0), Orientation(transpose=True), id="transposed"),
        pytest.param((0, 1, -1, 0), Orientation(True, mirror_x=True), id="quarter-turn"),
        pytest.param((0.99, 0.1, -0.1, 0.99), Orientation(), id="slanted"),
    ],
)
def test_a_matrix_maps_stored_points_to_shown_ones(
    matrix: tuple[float, float, float, float], expected: Orientation
) -> None:
    a, b, c, d = (int(number * 65536) for number in matrix)
    orientation = orientation_of(np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32))
    assert orientation == expected
    image = noise((5, 7, 3))
    y, x = 1, 2
    where = np.array([x * a + y * c, x * b + y * d]) / 65536
    where = np.rint(where).astype(int)
    shown = upright(image, orientation)
    column, row = where % np.array([shown.shape[1], shown.shape[0]])
    if "slanted" not in str(matrix) and not any(number < 0 for number in matrix):
        np.testing.assert_array_equal(shown[row, column], image[y, x])


@pytest.mark.parametrize(
    "pix_fmt",
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p16le", "yuva420p", "gray12le", "bgr0"],
)
def test_pixels_are_those_of_ffmpeg(clips: Any, ffmpeg: Any, pix_fmt: str) -> None:
    path = clips.write("p.mkv", images=[noise((46, 62, 3))] * 2, codec="ffv1", pix_fmt=pix_fmt)
    judge = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
    expected = np.frombuffer(judge.stdout, np.uint8).reshape(2, 46, 62, 3)
    frames = open_source(str(path), source_id="clip").frames()
    np.testing.assert_array_equal(np.stack([frame.image for frame in frames]), expected)


@pytest.mark.parametrize(
    "name",
    [
        *("bt709_full_range.mp4", "dog.mp4", "walk.mkv", "classroom.gif"),
        *("h264_10bits.mp4", "h265_10bits.mp4"),
    ],
)
def test_pixels_of_real_videos_are_those_of_ffmpeg(
    shared_data: Path, ffmpeg: Any, name: str
) -> None:
    path = shared_data / "videos" / name
    output = ("-map", "0:v:0", "-frames:v", "2", "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
    judge = ffmpeg("-i", str(path), *output)
    frames = open_source(str(path), source_id="clip").frames()
    ours = np.stack([next(frames).image, next(frames).image])
    np.testing.assert_array_equal(ours.reshape(-1), np.frombuffer(judge.stdout, np.uint8))


COLOUR_PLACES = ["left", "center", "topleft", "top", "bottomleft", "bottom"]


@pytest.mark.parametrize("place", range(-1, 6), ids=["not said", *COLOUR_PLACES])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p10le"])
def test_where_colour_lies_between_pixels_is_not_looked_at(
    clips: Any, ffmpeg: Any, pix_fmt: str, place: int
) -> None:
    said = {} if place < 0 else {"x264-params": f"chromaloc={place}"}
    path = clips.write("p.mkv", images=[noise((46, 62, 3))] * 2, pix_fmt=pix_fmt, options=said)
    assert_pixels_of(ffmpeg, path)


@pytest.mark.parametrize("field", ["tff", "bff"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p"])
def test_a_picture_is_taken_for_progressive_whatever_its_flag_says(
    clips: Any, ffmpeg: Any, pix_fmt: str, field: str
) -> None:
    images = [noise((64, 64, 3)), noise((64, 64, 3))[::-1]]
    options = {"x264-params": f"{field}=1"}
    path = clips.write("i.mkv", images=images, pix_fmt=pix_fmt, options=options)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    assert_pixels_of(ffmpeg, path)


def assert_pixels_of(ffmpeg: Any, path: Path) -> None:
    judge = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
    frames = open_source(str(path), source_id="clip").frames()
    ours = np.stack([frame.image for frame in frames])
    np.testing.assert_array_equal(ours.reshape(-1), np.frombuffer(judge.stdout, np.uint8))
