"""What a picture file says of its size before anything is decoded.

OpenCV allocates what a header claims; 200 bytes may claim gigabytes. This bounds what is decoded
and decides nothing else: it reads as leniently as the decoders do, whose word on a picture is the
last. Only the formats that are taken as pictures are known; whatever is not recognised is not
decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipeline.sources.images.tiff import first_directory


class PictureHeader(NamedTuple):
    """What a header says."""

    kind: str
    width: int
    height: int
    whole: bool = True
    """False: the end of the picture is missing, which explains why it could not be decoded."""
    moving: int = 0
    """Pictures an animation announces; 0 where it is none."""
    white: int = 0
    """Of Netpbm, the number that stands for it where the decoder takes another; else 0."""

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self.width * self.height


def read_header(data: bytes | bytearray) -> PictureHeader | None:
    """The header of a picture file, None when it is none that is known."""
    for start, reader in _READERS:
        if data.startswith(start):
            try:
                return reader(data)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def _png(data: bytes | bytearray) -> PictureHeader:
    width, height = struct.unpack_from(">II", data, 16)
    moving, last = 0, b""
    for kind, at, _ in png_chunks(data):
        last = kind
        if kind == b"acTL":
            (moving,) = struct.unpack_from(">I", data, at + 8)
    return PictureHeader("png", width, height, last == b"IEND", moving)


def png_chunks(data: bytes | bytearray) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of each chunk that is there whole, to the end of the picture."""
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):  # a decoder would take memory for what it claims
            return
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def _jpeg(data: bytes | bytearray) -> PictureHeader | None:
    size, at = (0, 0), 2
    for marker, at in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = max(size, struct.unpack_from(">HH", data, at + 3), key=lambda s: s[0] * s[1])
    if size == (0, 0):
        return None
    # behind the last segment is coded data: an end marker in it can only be the end
    return PictureHeader("jpeg", size[1], size[0], data.find(b"\xff\xd9", at) > 0)


def jpeg_segments(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Marker and begin of each segment with a length, to that before the first coded data.

    As decoders do, from marker to marker, whatever stands between two segments skipped.

    Raises:
        ValueError, IndexError, struct.error: it is cut off before.
    """
    at, marker = 2, 0
    while marker != 0xDA:
        at = data.index(b"\xff", at) + 1
        marker = data[at]
        if marker == 0xFF:  # filling
            continue
        at += 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # without a length
            continue
        yield marker, at
        if marker != 0xDA:
            at += struct.unpack_from(">H", data, at)[0]


def _bmp(data: bytes | bytearray) -> PictureHeader:
    start, length = struct.unpack_from("<II", data, 10)
    packed = False
    if length == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, form = struct.unpack_from("<iiHHI", data, 18)
        packed = form in (1, 2, 4, 5)
    rows = abs(height) * (abs(width) * bits + 31 >> 5) * 4
    return PictureHeader("bmp", abs(width), abs(height), packed or len(data) >= start + rows)


def _webp(data: bytes | bytearray) -> PictureHeader | None:
    whole = len(data) >= _u32(data, 4) + 8
    kind = data[12:16]
    moving = 0
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        moving = _webp_pictures(data) if data[20] & 2 else 0
    elif kind == b"VP8L":
        bits = _u32(data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        return None
    return PictureHeader("webp", width, height, whole, moving)


def _webp_pictures(data: bytes | bytearray) -> int:
    at, count = 12, 0
    while at + 8 <= len(data):
        count += data[at : at + 4] == b"ANMF"
        length = _u32(data, at + 4)
        at += 8 + length + length % 2
    return count


def _tiff(data: bytes | bytearray) -> PictureHeader:
    _u32(data, 4)  # whole, or no header at all
    first = first_directory(data)
    return PictureHeader("tiff", first.width, first.height) if first else _CUT_TIFF


_CUT_TIFF = PictureHeader("tiff", 0, 0, whole=False)

_NUMBER = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*(\d{1,9})")
_CHANNELS = {b"P5": 1, b"P6": 3}


def _netpbm(data: bytes | bytearray) -> PictureHeader | None:
    found = netpbm_at(data, 0)
    if found is None:
        return None
    header, end = found
    return header._replace(whole=end is None or len(data) >= end)


def netpbm_at(data: bytes | bytearray, at: int) -> tuple[PictureHeader, int | None] | None:
    """The picture that begins at `at` and where its pixels end; None for those in plain text."""
    kind = bytes(data[at : at + 2])
    numbers, place = [], at + 2
    for _ in range(2 if kind in (b"P1", b"P4") else 3):
        match = _NUMBER.match(data, place)
        if match is None:
            return None
        numbers.append(int(match[1]))
        place = match.end()
    width, height = numbers[:2]
    plain = kind in (b"P1", b"P2", b"P3", b"P4")
    white = numbers[2] if len(numbers) > 2 else 0
    if white in (255, 65535) or (plain and white < 256):
        white = 0
    header = PictureHeader("netpbm", width, height, white=white)
    if kind == b"P4":
        return header, place + 1 + (width + 7) // 8 * height
    if kind not in _CHANNELS:
        return header, None
    depth = 1 if numbers[2] < 256 else 2
    return header, place + 1 + width * height * depth * _CHANNELS[kind]


def _u32(data: bytes | bytearray, at: int) -> int:
    (value,) = struct.unpack_from("<I", data, at)
    return int(value)


_READERS: tuple[tuple[bytes, Callable[[bytes | bytearray], PictureHeader | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8", _jpeg),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"II+\0", _tiff),
    (b"MM\0+", _tiff),
    *((f"P{digit}".encode(), _netpbm) for digit in (1, 2, 3, 4, 5, 6)),
)
