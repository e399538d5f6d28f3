"""Whether a file was cut off, from the sizes its container wrote down. Nothing is decoded.

A copy that was interrupted, or a recorder that lost its power, leaves a file whose outermost
boxes reach beyond its end. Containers that write no sizes (transport streams, raw streams, a
Matroska that is still being recorded) cannot be judged this way and count as whole.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"


def is_cut_off(path: Path) -> bool:
    """Whether the file ends before its container says; False where it does not say."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        start = file.read(12)
        file.seek(0)
        return _reader(start)(file, length)


def _reader(start: bytes) -> Callable[[BinaryIO, int], bool]:
    if start[4:8] in (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip"):
        return _boxes_reach_beyond
    if start[:4] == b"RIFF":
        return _riff_reaches_beyond
    if start[:4] == _EBML:
        return _segment_reaches_beyond
    return lambda file, length: False


def _boxes_reach_beyond(file: BinaryIO, length: int) -> bool:
    """MP4 and MOV: a row of boxes, each with its size before it."""
    at = 0
    while at + 8 <= length:
        file.seek(at)
        size, _ = struct.unpack(">I4s", file.read(8))
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
        elif size == 0:  # to the end of the file
            return False
        if size < 8:
            return False  # no size: nothing that can be judged
        at += size
    return at > length


def _riff_reaches_beyond(file: BinaryIO, length: int) -> bool:
    """AVI: one outer chunk, or a first one of many."""
    file.seek(4)
    size = int.from_bytes(file.read(4), "little")
    return 0 < size < 0xFFFFFFFF and 8 + size > length


def _segment_reaches_beyond(file: BinaryIO, length: int) -> bool:
    """Matroska and WebM: a header, then one segment that may say its size."""
    file.seek(4)
    header = _number(file)
    if header is None:
        return False
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return False
    size = _number(file)
    return size is not None and file.tell() + size > length


def _number(file: BinaryIO) -> int | None:
    """An EBML number; None when it stands for `unknown`."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    mask = (1 << (7 - more)) - 1
    value = int.from_bytes(bytes([first[0] & mask]) + file.read(more), "big")
    return None if value == (1 << (7 * (more + 1))) - 1 else value
