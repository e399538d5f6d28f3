"""JPEG files of several pictures: those of equal rank come, previews and the unnamed do not."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources import Kind, kind_of, open_source, probe
from pipeline.sources.images.mpo import more_pictures
from pipeline.stages import Status

UNNAMED, PREVIEW, LARGE_PREVIEW, PRIMARY = 0, 0x010001, 0x010002, 0x030000
PANORAMA, OTHER_EYE, ANGLE = 0x020001, 0x020002, 0x020003
SIZE = (24, 32)


def several(*kinds: int, turned: bool = False) -> bytes:
    """Grey pictures, each lighter than the one before, listed as `kinds`."""
    pictures = [Image.new("RGB", SIZE[::-1], (20 + 30 * i,) * 3) for i in range(len(kinds))]
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    out = io.BytesIO()
    first, *others = pictures  # all of them say that they are turned, if one does
    first.save(out, "MPO", save_all=True, append_images=others, exif=exif.tobytes())
    data = bytearray(out.getvalue())
    at, base = entries(data), data.index(b"MPF\0") + 4
    begins = [found.start() for found in re.finditer(b"\xff\xd8\xff", data)]
    for number, (kind, begin, end) in enumerate(
        zip(kinds, begins, [*begins[1:], len(data)], strict=True)
    ):
        values = kind | 0x20000000, end - begin, begin - base if number else 0
        struct.pack_into("<III", data, at + 16 * number, *values)  # Pillow's are wrong from the 3rd
    return bytes(data)


def entries(data: bytes | bytearray) -> int:
    """Where the list of pictures stands."""
    at = data.index(b"MPF\0") + 4
    tag = data.index(struct.pack("<HH", 0xB002, 7), at)
    return at + int(struct.unpack_from("<I", data, tag + 8)[0])


def read(path: Path, data: bytes, **options: Any) -> tuple[list[int], Any]:
    path.write_bytes(data)
    reading = open_source(str(path), source_id="pictures", **options)
    return [round((float(frame.image.mean()) - 20) / 30) for frame in reading.frames()], reading


@pytest.mark.parametrize(
    ("kinds", "given"),
    [
        ((OTHER_EYE, OTHER_EYE), [0, 1]),
        ((PRIMARY, OTHER_EYE), [0, 1]),
        ((PANORAMA,) * 4, [0, 1, 2, 3]),
        ((ANGLE, ANGLE, PREVIEW), [0, 1]),
        ((PRIMARY, PREVIEW, LARGE_PREVIEW), [0]),
        ((PRIMARY, UNNAMED), [0]),
        ((OTHER_EYE, UNNAMED, OTHER_EYE), [0, 2]),
    ],
)
def test_pictures_of_equal_rank_come(tmp_path: Path, kinds: Any, given: list[int]) -> None:
    for name in ("a.mpo", "a.jpg"):
        found, reading = read(tmp_path / name, several(*kinds))
        assert found == given
        assert (reading.outcome.status, reading.outcome.announced) == (Status.COMPLETE, len(given))
        looked = probe(str(tmp_path / name))
        assert looked is not None
        assert (looked.frames, looked.size) == (len(given), SIZE)


def test_a_file_of_several_is_a_picture_by_its_name() -> None:
    assert kind_of("street.MPO") is Kind.IMAGES


def test_every_picture_is_turned_as_it_says_itself(tmp_path: Path) -> None:
    _, reading = read(tmp_path / "a.mpo", several(OTHER_EYE, OTHER_EYE, turned=True))
    assert [frame.size for frame in reading.frames()] == [(32, 24), (32, 24)]


def test_pictures_that_cannot_be_had_are_counted(tmp_path: Path) -> None:
    data = several(PANORAMA, PANORAMA, PANORAMA)
    found, reading = read(tmp_path / "cut.mpo", data[:-10])
    assert found == [0, 1]
    assert reading.outcome.reason == "1 of 3 pictures left out, first cut.mpo is truncated"
    lost = bytearray(data)
    struct.pack_into("<I", lost, entries(data) + 16 + 8, 20)  # leads into the list itself
    found, reading = read(tmp_path / "lost.mpo", bytes(lost))
    assert found == [0, 2]
    assert reading.outcome.reason == "1 of 3 pictures left out, first lost.mpo is not a picture"
    claims = bytearray(data)
    struct.pack_into(">HH", claims, data.rindex(b"\xff\xc0") + 5, 60_000, 60_000)
    found, reading = read(tmp_path / "big.mpo", bytes(claims))
    assert found == [0, 1]
    assert "60000x60000 pixels, more than max_pixels" in str(reading.outcome.reason)


@pytest.mark.parametrize("seed", range(20))
def test_a_list_of_nonsense_leads_nowhere(seed: int) -> None:
    data = bytearray(several(PRIMARY, OTHER_EYE))
    at = data.index(b"MPF\0") + 4
    rng = np.random.default_rng(seed)
    for place in rng.integers(at, at + 90, 30):
        data[place] = rng.integers(0, 256)
    assert all(begin < end for begin, end in more_pictures(data) if end - begin)
    assert more_pictures(bytes(data[: at + 20])) == []
    assert more_pictures(np.zeros(100, np.uint8).tobytes()) == []
