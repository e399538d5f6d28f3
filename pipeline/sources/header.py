"""The size of a picture from the first bytes of its file, before anything is decoded.

OpenCV allocates what a header claims; 200 bytes may claim gigabytes. Only the formats that are
taken as pictures are known here; whatever is not recognised is not decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple


class PictureHeader(NamedTuple):
    """What a header says."""

    kind: str
    width: int
    height: int
    whole: bool = True
    """False: the end of the picture is missing."""


def read_header(data: bytes) -> PictureHeader | None:
    """The header of a picture file, None when it is none that is known."""
    for start, reader in _READERS:
        if data.startswith(start):
            try:
                return reader(data)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def _png(data: bytes) -> PictureHeader:
    width, height = struct.unpack_from(">II", data, 16)
    return PictureHeader("png", width, height, b"IEND" in data[-64:])


def _jpeg(data: bytes) -> PictureHeader | None:
    at, size = 2, None
    while True:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = struct.unpack_from(">HH", data, at + 5)
        if marker == 0xDA:  # coded data: an end marker in it can only be the end
            break
        at += 2 + length
    if size is None:
        return None
    return PictureHeader("jpeg", size[1], size[0], data.find(b"\xff\xd9", at) > 0)


def _bmp(data: bytes) -> PictureHeader:
    width, height = struct.unpack_from("<ii", data, 18)
    return PictureHeader("bmp", abs(width), abs(height), len(data) >= _u32(data, 2))


def _webp(data: bytes) -> PictureHeader | None:
    whole = len(data) >= _u32(data, 4) + 8
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        bits = _u32(data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        return None
    return PictureHeader("webp", width, height, whole)


def _tiff(data: bytes) -> PictureHeader | None:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for i in range(entries):
        tag, kind, _ = struct.unpack_from(order + "HHI", data, at + 2 + 12 * i)
        (tags[tag],) = struct.unpack_from(
            order + ("H" if kind == 3 else "I"), data, at + 10 + 12 * i
        )
    return PictureHeader("tiff", tags[256], tags[257]) if {256, 257} <= set(tags) else None


def _netpbm(data: bytes) -> PictureHeader | None:
    text = re.sub(rb"#[^\n]*\n", b"\n", data[:4096])
    match = re.match(rb"P[2356]\s+(\d+)\s+(\d+)\s", text)
    return PictureHeader("netpbm", int(match[1]), int(match[2])) if match else None


def _u32(data: bytes, at: int) -> int:
    (value,) = struct.unpack_from("<I", data, at)
    return int(value)


_READERS: tuple[tuple[bytes, Callable[[bytes], PictureHeader | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8", _jpeg),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    *((f"P{digit}".encode(), _netpbm) for digit in (2, 3, 5, 6)),
)
