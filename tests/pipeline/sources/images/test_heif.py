"""HEIC and AVIF: photographs of tiles are put together, films are given whole, the rest is said."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import SourceOpenError
from pipeline.sources import open_source, probe
from pipeline.sources.images.tiles import read_heif
from pipeline.sources.picture import PictureConverter
from pipeline.stages import Status

Pixels = NDArray[np.uint8]
TILE = 64
ENCODERS = {b"hvc1": "libx265", b"av01": "libsvtav1"}
OPTIONS = {
    b"hvc1": {"crf": "8", "x265-params": "log-level=none:keyint=1"},
    b"av01": {"crf": "8", "svtav1-params": "avif=1"},
}
CONFIG = {b"hvc1": b"hvcC", b"av01": b"av1C"}
BRAND = {b"hvc1": b"heic", b"av01": b"avif"}
HEVC, AV1 = b"hvc1", b"av01"


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def shading(height: int, width: int, blue: int = 0) -> Pixels:
    """Every place of it looks different."""
    y, x = np.mgrid[:height, :width]
    rows = (np.full_like(x, blue), 40 + y * 200 // height, 40 + x * 200 // width)
    return np.stack(rows, -1).astype(np.uint8)


@cache
def coded(
    pixels: bytes, size: tuple[int, int], kind: bytes, matrix: int = 2
) -> tuple[bytes, bytes]:
    """The configuration and the coded bytes of one picture, taken out of an MP4."""
    image = np.frombuffer(pixels, np.uint8).reshape(*size, 3)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream(ENCODERS[kind], rate=1, options=OPTIONS[kind])
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        picture = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
        stream.codec_context.colorspace = picture.colorspace = matrix
        for frame in (picture, None):
            for packet in stream.encode(frame):
                container.mux(packet)
    data = out.getvalue()
    return content(data, CONFIG[kind]), content(data, b"mdat")[8:]


def content(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind) - 4
    return data[at : at + struct.unpack_from(">I", data, at)[0]]


Item = tuple[bytes, bytes, Sequence[bytes]]
"""Kind, bytes, properties."""


def heif(
    items: Sequence[Item],
    primary: int,
    references: Sequence[tuple[bytes, int, Sequence[int]]] = (),
    *,
    brand: bytes = b"heic",
    hidden: Sequence[int] = (),
) -> bytes:
    """A file of these items, numbered from 1."""
    known = list(dict.fromkeys(one for _, _, properties in items for one in properties))
    uses = b"".join(
        struct.pack(">HB", number, len(properties))
        + bytes(known.index(one) + 1 for one in properties)
        for number, (_, _, properties) in enumerate(items, start=1)
    )
    names = [
        full(b"infe", struct.pack(">HH4s", i, 0, kind), b"\0", version=2, flags=int(i in hidden))
        for i, (kind, _, _) in enumerate(items, start=1)
    ]
    links = [
        box(kind, struct.pack(f">HH{len(to)}H", origin, len(to), *to))
        for kind, origin, to in references
    ]

    def meta(at: int) -> bytes:
        places = b""
        for number, (_, data, _) in enumerate(items, start=1):
            places += struct.pack(">HHHII", number, 0, 1, at, len(data))
            at += len(data)
        return full(
            b"meta",
            full(b"hdlr", struct.pack(">I4s", 0, b"pict"), bytes(13)),
            full(b"pitm", struct.pack(">H", primary)),
            full(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)), places),
            full(b"iinf", struct.pack(">H", len(items)), *names),
            full(b"iref", *links) if links else b"",
            box(b"iprp", box(b"ipco", *known), full(b"ipma", struct.pack(">I", len(items)), uses)),
        )

    start = box(b"ftyp", brand, bytes(4), b"mif1", brand)
    head = len(start) + len(meta(0)) + 8
    return start + meta(head) + box(b"mdat", *(data for _, data, _ in items))


def single(
    image: Pixels, kind: bytes, properties: Sequence[bytes] = (), *, matrix: int = 2
) -> Item:
    config, data = coded(image.tobytes(), image.shape[:2], kind, matrix)
    size = full(b"ispe", struct.pack(">II", image.shape[1], image.shape[0]))
    return kind, data, (config, size, *properties)


def grid(
    image: Pixels, kind: bytes, properties: Sequence[bytes] = (), *, wide: bool = False
) -> bytes:
    """A photograph as telephones write it: tiles beyond the edge, cut off there."""
    height, width = image.shape[:2]
    rows, columns = -(-height // TILE), -(-width // TILE)
    below, beside = rows * TILE - height, columns * TILE - width
    padded = np.pad(image, ((0, below), (0, beside), (0, 0)), mode="edge")
    tiles = [
        single(padded[y : y + TILE, x : x + TILE], kind)
        for y in range(0, rows * TILE, TILE)
        for x in range(0, columns * TILE, TILE)
    ]
    layout = struct.pack(">BBBB", 0, int(wide), rows - 1, columns - 1)
    layout += struct.pack(">II" if wide else ">HH", width, height)
    size = full(b"ispe", struct.pack(">II", width, height))
    number = len(tiles) + 1
    return heif(
        [*tiles, (b"grid", layout, (size, *properties))],
        number,
        [(b"dimg", number, range(1, number))],
        brand=BRAND[kind],
        hidden=range(1, number),
    )


def read(path: Path, data: bytes) -> tuple[list[Pixels], Any]:
    path.write_bytes(data)
    reading = open_source(str(path), source_id="photo")
    return [frame.image for frame in reading.frames()], reading.outcome


def difference(a: Pixels, b: Pixels) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("kind", [HEVC, AV1])
@pytest.mark.parametrize("size", [(128, 192), (100, 150), (64, 64), (60, 200)])
@pytest.mark.parametrize("wide", [False, True])
def test_a_photograph_of_tiles_is_whole(
    tmp_path: Path, kind: bytes, size: tuple[int, int], wide: bool
) -> None:
    image = shading(*size)
    images, outcome = read(tmp_path / "a.heic", grid(image, kind, wide=wide))
    assert (len(images), outcome.status, outcome.announced) == (1, Status.COMPLETE, 1)
    assert difference(images[0], image) < 3
    assert probe(str(tmp_path / "a.heic")).size == size  # type: ignore[union-attr]


def test_tiles_lie_as_another_decoder_puts_them(tmp_path: Path) -> None:
    data = grid(shading(100, 150), AV1)
    images, _ = read(tmp_path / "a.avif", data)
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert difference(images[0], np.asarray(other, np.uint8)) < 2


@pytest.mark.parametrize("kind", [HEVC, AV1])
@pytest.mark.parametrize(
    "how",
    [
        *[[box(b"irot", bytes([turns]))] for turns in range(4)],
        *[[box(b"imir", bytes([axis]))] for axis in range(2)],
        *[[box(b"irot", bytes([t])), box(b"imir", bytes([a]))] for t in (1, 3) for a in (0, 1)],
    ],
)
def test_turned_and_mirrored_as_ffmpeg_does_it(kind: bytes, how: list[bytes]) -> None:
    image = shading(128, 192)
    alone = heif([single(image, kind, how)], 1, brand=BRAND[kind])
    with av.open(io.BytesIO(alone), "r", format="mov") as container:
        expected = PictureConverter().convert(next(container.decode(video=0)))
    (still,) = read_heif(alone, 10**6)
    (tiled,) = read_heif(grid(image, kind, how), 10**6)
    assert still.image is not None
    assert tiled.image is not None
    assert np.array_equal(still.image, expected)
    assert difference(tiled.image, expected) < 3


def test_the_clean_aperture_is_cut_out_before_the_turn() -> None:
    numbers = struct.pack(">IIIIiIiI", 100, 1, 60, 1, 20, 1, -10, 1)
    how = [box(b"clap", numbers), box(b"irot", b"\1")]
    image = shading(128, 192)
    (still,) = read_heif(grid(image, HEVC, how), 10**6)
    assert still.image is not None
    expected = np.rot90(image[24:84, 66:166])  # the middle, 20 to the right, 10 up
    assert difference(still.image, np.ascontiguousarray(expected)) < 3


def test_thumbnails_and_maps_are_no_pictures_of_their_own() -> None:
    photo, small, depth = (single(shading(64, 64, blue), HEVC) for blue in (200, 100, 0))
    data = heif([small, photo, depth], 2, [(b"thmb", 1, [2]), (b"auxl", 3, [2])])
    (still,) = read_heif(data, 10**6)
    assert still.image is not None
    assert still.image[..., 0].mean() == pytest.approx(200, abs=3)


def test_a_file_of_several_photographs_gives_each(tmp_path: Path) -> None:
    items = [single(shading(64, 64, blue), HEVC) for blue in (0, 120, 240)]
    images, outcome = read(tmp_path / "a.heif", heif(items, 1, hidden=[]))
    assert [round(float(image[..., 0].mean()), -1) for image in images] == [0, 120, 240]
    assert (outcome.status, outcome.announced) == (Status.COMPLETE, 3)


def sequence(count: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="avif") as container:
        stream = container.add_stream(ENCODERS[AV1], rate=10, options={"crf": "8"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for number in range(count):
            image = shading(64, 96, 60 * number)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return out.getvalue()


def test_every_picture_of_a_sequence_comes_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    path.write_bytes(sequence(4))
    reading = open_source(str(path), source_id="film")
    frames = list(reading.frames())
    assert [frame.pts_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    for number, frame in enumerate(frames):
        assert difference(frame.image, shading(64, 96, 60 * number)) < 4
    assert (reading.outcome.status, reading.outcome.announced) == (Status.COMPLETE, 4)
    assert probe(str(path)).frames == 4  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["a.heic", "a.avif", "a.heif", "a.hif", "a.HEIC", "a.jpg"])
def test_the_name_does_not_matter(tmp_path: Path, name: str) -> None:
    images, _ = read(tmp_path / name, heif([single(shading(64, 64), HEVC)], 1))
    assert [image.shape for image in images] == [(64, 64, 3)]


def test_folders_of_photographs_hold_them(tmp_path: Path) -> None:
    for number in (10, 9):
        (tmp_path / f"IMG_{number}.HEIC").write_bytes(grid(shading(64, 64, 10 * number), HEVC))
    cv2.imwrite(str(tmp_path / "IMG_11.jpg"), shading(64, 64, 110))
    blues = [f.image[..., 0].mean() for f in open_source(str(tmp_path), source_id="p").frames()]
    assert blues == pytest.approx([90, 100, 110], abs=3)


def test_without_a_name_that_says_so_tiles_are_refused_and_films_are_whole(tmp_path: Path) -> None:
    """Whatever is not called a picture is taken for a video."""
    (tmp_path / "photo").write_bytes(grid(shading(100, 150), HEVC))
    with pytest.raises(SourceOpenError, match=r"it is a photograph in tiles; call it \.heic"):
        list(open_source(str(tmp_path / "photo"), source_id="p").frames())
    (tmp_path / "film").write_bytes(sequence(4))
    assert len(list(open_source(str(tmp_path / "film"), source_id="f").frames())) == 4


def broken_grid(rows: int = 2, columns: int = 2, size: tuple[int, int] = (128, 128)) -> bytes:
    """Four tiles of 64, and a layout that may not fit to them."""
    tiles = [single(shading(64, 64, 50 * i), HEVC) for i in range(4)]
    layout = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size[::-1])
    return heif([*tiles, (b"grid", layout, ())], 5, [(b"dimg", 5, [1, 2, 3, 4])])


def uneven() -> bytes:
    tiles = [single(shading(64, side, 9), HEVC) for side in (64, 96)]
    layout = struct.pack(">BBBBHH", 0, 0, 0, 1, 128, 64)
    return heif([*tiles, (b"grid", layout, ())], 3, [(b"dimg", 3, [1, 2])])


def overlay() -> bytes:
    items = [single(shading(64, 64), HEVC), (b"iovl", bytes(20), ())]
    return heif(items, 2, [(b"dimg", 2, [1])])


PHOTO = grid(shading(100, 150), HEVC)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(PHOTO[:-9], "is truncated", id="cut-in-the-last-tile"),
        pytest.param(PHOTO[: len(PHOTO) // 2], "is truncated", id="cut-in-the-middle"),
        pytest.param(PHOTO[:60], "is truncated", id="cut-in-the-index"),
        pytest.param(broken_grid(3, 2), "has 4 tiles for 3x2 places", id="tiles-missing"),
        pytest.param(broken_grid(1, 2), "has 4 tiles for 1x2 places", id="tiles-too-many"),
        pytest.param(broken_grid(size=(128, 200)), "has tiles that do not fill it", id="gap"),
        pytest.param(uneven(), "has tiles of different sizes", id="uneven"),
        pytest.param(
            overlay(), "is put together in a way that is not supported (iovl)", id="overlay"
        ),
        pytest.param(
            broken_grid(size=(60_000, 60_000)),
            "has 60000x60000 pixels, more than max_pixels",
            id="claim",
        ),
    ],
)
def test_what_cannot_be_whole_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    assert [(still.image, still.reason) for still in read_heif(data, 10**6)] == [(None, reason)]


@pytest.mark.parametrize("most", [100, 5000, 8000])
def test_tiles_and_wholes_are_bounded(most: int) -> None:
    (still,) = read_heif(PHOTO, most)
    assert still.reason == "has 150x100 pixels, more than max_pixels"
    (alone,) = read_heif(heif([single(shading(128, 192), AV1)], 1, brand=b"avif"), most)
    assert alone.reason == "has 192x128 pixels, more than max_pixels"


@pytest.mark.parametrize("kind", [HEVC, AV1])
def test_colours_that_cannot_be_converted_are_named(kind: bytes) -> None:
    item = single(shading(64, 64), kind, matrix=8)
    (still,) = read_heif(heif([item], 1, brand=BRAND[kind]), 64 * 64)
    assert still.image is None
    assert still.reason == (
        "cannot be shown: its colour matrix 8 (YCgCo) cannot be converted to RGB; re-encode it"
    )


def test_damage_anywhere_is_one_line_and_no_more(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    head = PHOTO.index(b"mdat")
    for _ in range(300):
        data = bytearray(PHOTO)
        for at in rng.integers(8, head, 3):
            data[at] = rng.integers(256)
        for still in read_heif(data, 10**6):
            assert (still.image is None) == bool(still.reason)
