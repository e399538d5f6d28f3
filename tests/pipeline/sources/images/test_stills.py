"""What a picture file holds: every picture of it, and no gate stricter than the decoder."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.sources import open_source, probe
from pipeline.sources.images import stills
from pipeline.sources.images.header import read_header
from pipeline.stages import Source, Status

Pixels = NDArray[np.uint8]


def noise(seed: int, size: tuple[int, int] = (30, 40)) -> Pixels:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def encoded(suffix: str, image: Pixels, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, image, options)[1].tobytes())


def source(url: Path | str, **options: Any) -> Source:
    return open_source(str(url), source_id="pictures", **options)


def read(path: Path, data: bytes, **options: Any) -> tuple[list[Any], Source]:
    path.write_bytes(data)
    reading = source(path, **options)
    return list(reading.frames()), reading


def pillow(data: bytes) -> list[Pixels]:
    """The oracle's pictures, BGR."""
    image = Image.open(io.BytesIO(data))
    pictures = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        pictures.append(np.array(image.convert("RGB"))[..., ::-1])
    return pictures


# ---- valid pictures that look odd


def jpeg_with(between: bytes, image: Pixels | None = None) -> bytes:
    """`between` put before the header of the frame."""
    data = encoded(".jpg", noise(1) if image is None else image)
    at = data.index(b"\xff\xc0")
    return data[:at] + between + data[at:]


def os2_bmp(image: Pixels) -> bytes:
    height, width = image.shape[:2]
    rows = b"".join(row.tobytes() + bytes(-width * 3 % 4) for row in image[::-1])
    head = struct.pack("<IHHHH", 12, width, height, 1, 24)
    return b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + head + rows


def bmp_of_size(claimed: Callable[[int], int]) -> bytes:
    data = bytearray(encoded(".bmp", noise(1)))
    struct.pack_into("<I", data, 2, claimed(len(data)))
    return bytes(data)


def ppm(comment: bytes, image: Pixels) -> bytes:
    size = f"{image.shape[1]} {image.shape[0]}".encode()
    return b"P6\n" + comment + size + b"\n255\n" + image[..., ::-1].tobytes()


def bigtiff(image: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image[..., ::-1]).save(out, "TIFF", big_tiff=True)
    assert out.getvalue()[:4] == b"II+\0"
    return out.getvalue()


PNG = encoded(".png", noise(1))
JPEG = encoded(".jpg", noise(1))
BMP = encoded(".bmp", noise(1))
WEBP = encoded(".webp", noise(1))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("a.png", PNG + bytes(4096), id="png-zeros-behind"),
        pytest.param("a.png", PNG + b"<note>" * 99, id="png-text-behind"),
        pytest.param("a.png", PNG + PNG, id="png-png-behind"),
        pytest.param("a.jpg", jpeg_with(b"\0"), id="jpeg-stray-byte"),
        pytest.param("a.jpg", jpeg_with(b"stray bytes"), id="jpeg-stray-bytes"),
        pytest.param("a.jpg", jpeg_with(b"\xff\xd0"), id="jpeg-stray-restart"),
        pytest.param("a.jpg", jpeg_with(b"\xff\x01"), id="jpeg-stray-tem"),
        pytest.param("a.jpg", jpeg_with(b"\xff\xff\xff\xff"), id="jpeg-fill-bytes"),
        pytest.param("a.jpg", jpeg_with(b"\xff\0"), id="jpeg-stuffed-zero"),
        pytest.param("a.jpg", JPEG + bytes(512), id="jpeg-zeros-behind"),
        pytest.param("a.jpg", JPEG + JPEG[: len(JPEG) // 2], id="jpeg-half-a-jpeg-behind"),
        pytest.param("a.jpg", JPEG[:2] + b"\xff" * 99 + JPEG[2:], id="jpeg-fill-at-the-start"),
        pytest.param("a.tif", bigtiff(noise(1)), id="bigtiff"),
        pytest.param("a.bmp", os2_bmp(noise(1)), id="bmp-os2"),
        pytest.param("a.bmp", bmp_of_size(lambda size: size + 2), id="bmp-size-too-large"),
        pytest.param("a.bmp", bmp_of_size(lambda size: 2**32 - 1), id="bmp-size-of-4-gigabytes"),
        pytest.param("a.bmp", bmp_of_size(lambda size: 0), id="bmp-size-zero"),
        pytest.param("a.bmp", BMP + bytes(99), id="bmp-zeros-behind"),
        pytest.param("a.ppm", ppm(b"# " + b"x" * 5000 + b"\n", noise(1)), id="ppm-long-comment"),
        pytest.param("a.ppm", ppm(b"# 7 7\n" * 3000, noise(1)), id="ppm-many-comments"),
        pytest.param("a.webp", WEBP + bytes(64), id="webp-zeros-behind"),
        pytest.param("a.png", JPEG, id="jpeg-called-png"),
        pytest.param("a.jpg", WEBP, id="webp-called-jpg"),
    ],
)
def test_what_the_decoder_reads_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    frames, reading = read(tmp_path / name, data)
    assert (len(frames), reading.outcome.status) == (1, Status.COMPLETE)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(frames[0].image, expected)
    assert frames[0].size == (30, 40)


def test_of_a_jpeg_with_previews_behind_it_the_first_is_the_picture(tmp_path: Path) -> None:
    out = io.BytesIO()
    first, second = (Image.fromarray(noise(i)) for i in (1, 2))
    first.save(out, "MPO", save_all=True, append_images=[second])
    frames, reading = read(tmp_path / "a.jpg", out.getvalue())
    assert (len(frames), reading.outcome.status) == (1, Status.COMPLETE)
    assert np.array_equal(frames[0].image, pillow(out.getvalue())[0])


@pytest.mark.parametrize(
    ("data", "size"),
    [
        pytest.param(os2_bmp(noise(1, (7, 9))), (7, 9), id="os2"),
        pytest.param(bigtiff(noise(1, (7, 9))), (7, 9), id="bigtiff"),
        pytest.param(ppm(b"#\n# 9\r#\n", noise(1, (7, 9))), (7, 9), id="comments"),
        pytest.param(b"P1 9 # wide\n7 " + b"0 1" * 40, (7, 9), id="plain-bits"),
        pytest.param(b"P4\n9 7\n" + bytes(14), (7, 9), id="bits"),
        pytest.param(jpeg_with(b"\0\xff\xd7\xff\xff", noise(1, (7, 9))), (7, 9), id="jpeg"),
    ],
)
def test_the_size_of_odd_files_is_known(data: bytes, size: tuple[int, int]) -> None:
    header = read_header(data)
    assert header is not None
    assert (header.height, header.width, header.whole) == (*size, True)


def claiming(width: int, height: int) -> dict[str, bytes]:
    """Headers that claim a size."""
    sof = (
        b"\xff\xc0\0\x0b\x08"
        + struct.pack(">HHB", height & 0xFFFF, width & 0xFFFF, 1)
        + b"\1\x11\0"
    )
    entries = struct.pack("<HHHIIHHII", 2, 256, 4, 1, width, 257, 4, 1, height)
    big = struct.pack("<QHHQQHHQQQ", 2, 256, 16, 1, width, 257, 16, 1, height, 0)
    return {
        "fill.jpg": b"\xff\xd8\xff\xff\xff\xd0" + sof + b"\xff\xda\0\x02\xff\xd9",
        "stray.jpg": b"\xff\xd8zzz" + sof + b"\xff\xda\0\x02\xff\xd9",
        "os2.bmp": b"BM" + struct.pack("<IHHIIHHHH", 99, 0, 0, 26, 12, width, height, 1, 24),
        "a.bmp": b"BM" + struct.pack("<IHHIIiiHHI", 99, 0, 0, 54, 40, width, -height, 1, 24, 0),
        "a.tif": b"II*\0" + struct.pack("<I", 8) + entries + bytes(4),
        "big.tif": b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + big,
        "a.ppm": b"P6 #" + b"z" * 9000 + b"\n%d %d 255\n" % (width, height),
        "a.pbm": b"P4 %d %d\n" % (width, height),
    }


@pytest.mark.parametrize("name", sorted(claiming(1, 1)))
def test_a_claim_beyond_max_pixels_is_refused_undecoded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(claiming(60_000, 50_000)[name])
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    (still,) = stills.read_stills(tmp_path / name, 10_000_000)
    assert still.reason == "has 60000x50000 pixels, more than max_pixels"


def test_a_file_beyond_the_bound_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(stills.MAX_BYTES + 1)  # of holes
    (still,) = stills.read_stills(tmp_path / "a.png", 10_000_000)
    assert still.reason == "cannot be read: larger than 1024 MiB"


@pytest.mark.parametrize("moving", [False, True])
def test_a_chunk_that_claims_gigabytes_is_not_asked_for(
    tmp_path: Path, moving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(film(".png", [noise(1), noise(2)], [40, 40]) if moving else PNG)
    at = data.rindex(b"fdAT" if moving else b"IDAT")
    struct.pack_into(">I", data, at - 4, 0x7FFFFFF0)
    (tmp_path / "a.png").write_bytes(data)
    seen: list[int] = []
    for name in ("imdecode", "imdecodeanimation"):
        decode = getattr(cv2, name)
        monkeypatch.setattr(cv2, name, lambda d, *a, f=decode: seen.append(len(d)) or f(d, *a))
    reasons = [still.reason for still in stills.read_stills(tmp_path / "a.png", 10_000)]
    assert reasons == (["", "ends after 1 of 2 pictures"] if moving else ["is truncated"])
    assert all(size == at - 4 for size in seen)


# ---- several pictures in one file


def film(suffix: str, pictures: list[Pixels], shown_ms: list[int]) -> bytes:
    animation = cv2.Animation()
    animation.frames = pictures
    animation.durations = shown_ms
    return bytes(cv2.imencodeanimation(suffix, animation, [cv2.IMWRITE_WEBP_QUALITY, 101])[1])


def stack(pictures: list[Pixels], **options: Any) -> bytes:
    out = io.BytesIO()
    first, *rest = (Image.fromarray(picture[..., ::-1]) for picture in pictures)
    first.save(out, "TIFF", save_all=True, append_images=rest, **options)
    return out.getvalue()


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
@pytest.mark.parametrize("window", [1, 2, 3, 100])
def test_every_picture_of_a_film_comes_with_its_time(
    tmp_path: Path, name: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stills, "WINDOW_BYTES", 30 * 40 * 4 * window)
    data = film(Path(name).suffix, [noise(i) for i in range(5)], [40, 250, 100, 30, 80])
    frames, reading = read(tmp_path / name, data)
    assert [frame.pts_s for frame in frames] == pytest.approx([0.0, 0.04, 0.29, 0.39, 0.42])
    assert [(f.epoch, f.index) for f in frames] == [(0, i) for i in range(5)]
    for frame, expected in zip(frames, pillow(data), strict=True):
        assert np.array_equal(frame.image, expected)
    assert (reading.outcome.status, reading.outcome.announced) == (Status.COMPLETE, 5)
    assert probe(str(tmp_path / name)).frames == 5  # type: ignore[union-attr]


def test_a_picture_of_a_film_that_is_shown_for_no_time_has_a_tenth_of_a_second(
    tmp_path: Path,
) -> None:
    frames, _ = read(tmp_path / "a.png", film(".png", [noise(1), noise(2), noise(3)], [0, 0, 0]))
    assert [frame.pts_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize(
    "options",
    [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}],
    ids=["raw", "bigtiff", "lzw", "jpeg"],
)
def test_every_picture_of_a_stack_is_given(tmp_path: Path, options: Any) -> None:
    data = stack([noise(i) for i in range(4)], **options)
    frames, reading = read(tmp_path / "a.tif", data, fps=2.0)
    assert [frame.pts_s for frame in frames] == [0.0, 0.5, 1.0, 1.5]
    for frame, expected in zip(frames, pillow(data), strict=True):
        assert np.abs(frame.image.astype(int) - expected).max() <= (
            3 if "jpeg" in str(options) else 0
        )
    assert (reading.outcome.status, reading.outcome.announced) == (Status.COMPLETE, 4)
    assert probe(str(tmp_path / "a.tif")).frames == 4  # type: ignore[union-attr]


def test_pictures_of_a_stack_are_decoded_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tif").write_bytes(stack([noise(i) for i in range(300)]))
    decoded: list[int] = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *given: decoded.append(1) or decode(*given))
    for count, still in enumerate(stills.read_stills(tmp_path / "a.tif", 10_000), start=1):
        assert (len(decoded), still.reason) == (count, "")
    assert len(decoded) == 300


def test_the_sizes_inside_a_stack_may_differ_and_one_too_large_is_left_out(tmp_path: Path) -> None:
    pictures = [noise(0), noise(1, (300, 400)), noise(2, (20, 50)), noise(3, (20, 50))]
    frames, reading = read(tmp_path / "a.tif", stack(pictures), max_pixels=2000)
    assert [(f.epoch, f.index, f.pts_s, f.size) for f in frames] == [
        (0, 0, 0.0, (30, 40)),
        (1, 1, 2.0, (20, 50)),
        (1, 2, 3.0, (20, 50)),
    ]
    assert (reading.outcome.status, reading.decode_errors) == (Status.INCOMPLETE, 1)
    assert reading.outcome.reason == (
        "1 of 4 pictures left out, first a.tif has 400x300 pixels, more than max_pixels"
    )


def classic_tiff(pages: list[tuple[Pixels, int]], *, end: int = 0) -> bytes:
    """Grey pictures with a kind each; `end` is where the last points to."""
    out = bytearray(b"II*\0" + bytes(4))
    link = 4
    for image, kind in pages:
        strip = len(out)
        out += image.tobytes() + bytes(image.size % 2)
        struct.pack_into("<I", out, link, len(out))
        height, width = image.shape
        tags = [(254, kind), (256, width), (257, height), (258, 8), (259, 1), (262, 1)]
        tags += [(273, strip), (277, 1), (278, height), (279, image.size)]
        out += struct.pack("<H", len(tags))
        out += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        link = len(out)
        out += struct.pack("<I", end)
    return bytes(out)


def grey(value: int) -> Pixels:
    return np.full((6, 8), value, np.uint8)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        pytest.param([0, 1, 1], [0], id="reduced-copies"),
        pytest.param([1, 0], [1], id="thumbnail-first"),
        pytest.param([0, 4, 0], [0, 2], id="mask"),
        pytest.param([2, 2, 2], [0, 1, 2], id="pages"),
        pytest.param([1, 1], [0, 1], id="nothing-but-copies"),
    ],
)
def test_copies_and_masks_in_a_tiff_are_no_pictures(
    tmp_path: Path, kinds: list[int], expected: list[int]
) -> None:
    data = classic_tiff([(grey(10 * i), kind) for i, kind in enumerate(kinds)])
    frames, reading = read(tmp_path / "a.tif", data)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [10 * i for i in expected]
    assert reading.outcome.status is Status.COMPLETE


def test_a_stack_that_leads_back_into_itself_ends(tmp_path: Path) -> None:
    once = classic_tiff([(grey(1), 0), (grey(2), 0)])
    first = struct.unpack_from("<I", once, 4)[0]
    data = classic_tiff([(grey(1), 0), (grey(2), 0)], end=first)
    frames, reading = read(tmp_path / "a.tif", data)
    assert (len(frames), reading.outcome.status) == (2, Status.COMPLETE)


def test_a_stack_that_is_cut_off_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    data = classic_tiff([(grey(1), 0), (grey(2), 0)], end=1 << 20)
    frames, reading = read(tmp_path / "a.tif", data)
    assert (len(frames), reading.outcome.decoded, reading.outcome.announced) == (2, 2, 3)
    assert reading.outcome.reason == "1 of 3 pictures left out, first a.tif is truncated"


def test_a_film_that_announces_more_than_it_has_is_incomplete(tmp_path: Path) -> None:
    data = bytearray(film(".png", [noise(1), noise(2), noise(3)], [50, 50, 50]))
    at = data.index(b"acTL")
    struct.pack_into(">I", data, at + 4, 5)
    struct.pack_into(">I", data, at + 12, zlib.crc32(data[at : at + 12]))
    _, reading = read(tmp_path / "a.png", bytes(data))
    assert reading.outcome.status is Status.INCOMPLETE
    assert "pictures left out, first a.png ends after" in str(reading.outcome.reason)


def test_raw_netpbm_pictures_may_stand_one_behind_the_other(tmp_path: Path) -> None:
    grey16 = b"P5 # deep\n3 2 65535\n" + bytes(range(12))
    bits = b"P4 9 2\n" + bytes(4)
    data = ppm(b"", noise(1)) + grey16 + bits + ppm(b"#x\n", noise(2))
    frames, reading = read(tmp_path / "a.ppm", data)
    assert [frame.size for frame in frames] == [(30, 40), (2, 3), (2, 9), (30, 40)]
    assert np.array_equal(frames[3].image, noise(2))
    assert (reading.outcome.status, reading.outcome.announced) == (Status.COMPLETE, 4)


def test_a_row_of_netpbm_pictures_that_is_cut_off_says_so(tmp_path: Path) -> None:
    frames, reading = read(tmp_path / "a.ppm", (ppm(b"", noise(1)) + ppm(b"", noise(2)))[:-7])
    assert len(frames) == 1
    assert reading.outcome.reason == "1 of 2 pictures left out, first a.ppm is truncated"


def test_films_and_stacks_in_a_folder_take_their_time_among_the_others(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    (tmp_path / "2.webp").write_bytes(film(".webp", [noise(1), noise(2)], [300, 200]))
    (tmp_path / "3.tif").write_bytes(stack([noise(3), noise(4)]))
    (tmp_path / "4.png").write_bytes(PNG)
    frames = list(source(tmp_path).frames())
    assert [f.pts_s for f in frames] == pytest.approx([0.0, 1.0, 1.3, 1.5, 2.5, 3.5])
    assert [f.index for f in frames] == list(range(6))


@pytest.mark.parametrize("at", range(6))
def test_resuming_inside_a_film_or_stack_gives_what_the_whole_run_gave(
    tmp_path: Path, at: int
) -> None:
    (tmp_path / "1.webp").write_bytes(film(".webp", [noise(i) for i in range(3)], [30, 30, 30]))
    (tmp_path / "2.tif").write_bytes(stack([noise(3), noise(4), noise(5)]))
    whole = list(source(tmp_path).frames())
    rest = list(source(tmp_path).frames({"epoch": 0, "index": at}))
    assert [(f.epoch, f.index, f.pts_s) for f in rest] == [
        (f.epoch, f.index, f.pts_s) for f in whole[at:]
    ]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(rest, whole[at:], strict=True))


def test_stop_ends_the_reading_inside_a_stack(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(stack([noise(i) for i in range(5)]))
    reading = source(tmp_path / "a.tif")
    frames = reading.frames()
    next(frames)
    reading.stop()
    assert list(frames) == []
    assert (reading.outcome.status, reading.outcome.reason) == (Status.INCOMPLETE, "stopped")


@pytest.mark.parametrize("white", [1, 15, 100, 254, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_white_is_white_whatever_number_netpbm_has_for_it(
    tmp_path: Path, kind: str, white: int
) -> None:
    shares = np.array([0, 0.25, 0.5, 1, 0, 1])
    numbers = np.rint(shares * white).astype(int).repeat(3 if kind in ("P3", "P6") else 1)
    raw = numbers.astype(">u2" if white > 255 else "u1").tobytes()
    text = " ".join(map(str, numbers)).encode() + b"\n"
    data = f"{kind}\n3 2\n{white}\n".encode() + (text if kind in ("P2", "P3") else raw)
    (frame,), _ = read(tmp_path / "a.pnm", data)
    expected = np.rint(np.rint(shares * white) * 255 / white).reshape(2, 3, 1)
    assert np.abs(frame.image.astype(int) - expected).max() <= 1
    assert frame.image.max() == 255


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_of_a_tiff_is_dropped_not_multiplied(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(noise(1)).convert(mode[:-1])
    image.putalpha(Image.fromarray(noise(2)[..., 0]))
    out = io.BytesIO()
    image.save(out, "TIFF", save_all=True, append_images=[image])
    frames, _ = read(tmp_path / "a.tif", out.getvalue())
    expected = np.array(image.convert(mode[:-1]).convert("RGB"))[..., ::-1]
    assert [np.array_equal(frame.image, expected) for frame in frames] == [True, True]
