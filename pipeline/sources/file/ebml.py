"""The elements of Matroska and WebM: a name, a size, and what lies in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"


def find_segment(file: BinaryIO) -> bool:
    """Wind a file to the size of its segment, which holds everything; False where there is none."""
    file.seek(0)
    if file.read(4) != _EBML:
        return False
    header = read_number(file)
    if header is None:
        return False
    file.seek(header, os.SEEK_CUR)
    return file.read(4) == _SEGMENT


def elements(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int | None]]:
    """Name and size of each element from where the file stands; it stands at the content of each.

    Ends at `end`, at what is no element, and behind the first one of unknown size (None).
    """
    while file.tell() < end and (name := _read_name(file)):
        size = read_number(file)
        content = file.tell()
        yield name, size
        if size is None:
            return
        file.seek(content + size)


def read_number(file: BinaryIO) -> int | None:
    """A number as sizes are written; None when it stands for `unknown`."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    mask = (1 << (7 - more)) - 1
    value = int.from_bytes(bytes([first[0] & mask]) + file.read(more), "big")
    return None if value == (1 << (7 * (more + 1))) - 1 else value


def _read_name(file: BinaryIO) -> bytes:
    """Of 1 to 4 bytes; empty where there is none."""
    first = file.read(1)
    return first + file.read(8 - first[0].bit_length()) if first and first[0] >= 0x10 else b""
