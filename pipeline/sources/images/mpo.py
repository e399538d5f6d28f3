"""The pictures behind the first one of a JPEG file (MPO): of stereo cameras and of panoramas.

A list in the first picture (CIPA DC-007) says where the others are and what they are for. Those of
equal rank are pictures; previews, and whatever is not named, such as gain maps, are none.
"""

from __future__ import annotations

import struct

from pipeline.sources.images.header import jpeg_segments

_SIGNATURE = b"MPF\0"
_ENTRIES = 0xB002
_KIND = 0xFFFFFF
_PICTURES = frozenset({0x020001, 0x020002, 0x020003})
"""Of a panorama, for two eyes, from several angles."""


def more_pictures(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Begin and end of each picture behind the first; none where there is no list, or no sense."""
    try:
        at = next(
            at + 6
            for marker, at in jpeg_segments(data)
            if marker == 0xE2 and data[at + 2 : at + 6] == _SIGNATURE
        )
        order = ">" if data[at : at + 2] == b"MM" else "<"
        kinds = _entries(data, at, order)
    except (StopIteration, struct.error, ValueError, IndexError):
        return []
    return [
        (at + offset, at + offset + size)
        for kind, size, offset in kinds
        if kind & _KIND in _PICTURES and offset
    ]


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
