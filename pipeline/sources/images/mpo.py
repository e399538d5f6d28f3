"""The pictures behind the first one of a JPEG file (MPO): of stereo cameras and of panoramas.

A list in the first picture (CIPA DC-007) says where the others are and what they are for. Those of
equal rank are pictures; previews, and whatever is not named, such as gain maps, are none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIGNATURE = b"MPF\0"
_ENTRIES = 0xB002
_KIND = 0xFFFFFF
_PICTURES = frozenset({0x020001, 0x020002, 0x020003})
"""Of a panorama, for two eyes, from several angles."""


def more_pictures(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Begin and end of each picture behind the first; none where there is no list, or no sense."""
    try:
        at = next(_lists(data))
        order = ">" if data[at : at + 2] == b"MM" else "<"
        kinds = _entries(data, at, order)
    except (StopIteration, struct.error, ValueError, IndexError):
        return []
    return [
        (at + offset, at + offset + size)
        for kind, size, offset in kinds
        if kind & _KIND in _PICTURES and offset
    ]


def _lists(data: bytes | bytearray) -> Iterator[int]:
    """Where a list begins, among the segments before the first coded data."""
    at = 2
    while True:
        at = data.index(b"\xff", at) + 1
        marker = data[at]
        if marker == 0xFF:  # filling
            continue
        at += 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # without a length
            continue
        if marker == 0xDA:
            return
        if marker == 0xE2 and data[at + 2 : at + 6] == _SIGNATURE:
            yield at + 6
        at += struct.unpack_from(">H", data, at)[0]


def _entries(data: bytes | bytearray, at: int, order: str) -> list[tuple[int, int, int]]:
    """What for, size and offset from the list, of each picture."""
    (first,) = struct.unpack_from(f"{order}I", data, at + 4)
    (count,) = struct.unpack_from(f"{order}H", data, at + first)
    for number in range(count):
        tag, _, size, place = struct.unpack_from(f"{order}HHII", data, at + first + 2 + 12 * number)
        if tag == _ENTRIES:
            places = range(at + place, at + place + size - size % 16, 16)
            return [struct.unpack_from(f"{order}III", data, where) for where in places]
    return []
