"""Whether a file was cut off, from the sizes its container wrote down. Nothing is decoded.

A copy that was interrupted, or a recorder that lost its power, leaves a file whose outermost
boxes reach beyond its end. Containers that write no sizes (transport streams, raw streams, a
Matroska that is still being recorded) cannot be judged this way and count as whole. So do bytes
behind the end that only look like a box, and parts that hold no pictures.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_CLUSTER = b"\x1f\x43\xb6\x75"
_PICTURES = (b"moov", b"moof", b"mdat")
"""The boxes of MP4 without which pictures are missing."""


def is_cut_off(path: Path) -> bool:
    """Whether the file ends before its container says; False where it does not say."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        start = file.read(12)
        file.seek(0)
        return _reader(start)(file, length)


def pictures_are_whole(path: Path) -> bool:
    """Whether what holds the pictures ends within the file, so that only the rest is cut off.

    Of Matroska that is every cluster up to the end: whether there were more, only time can tell.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if file.read(4) == b"RIFF":
            return _movi_is_whole(file, length)
        return _segment(file) is not None and _clusters_are_whole(file, length)


def _reader(start: bytes) -> Callable[[BinaryIO, int], bool]:
    if start[4:8] in (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip"):
        return _boxes_reach_beyond
    if start[:4] == b"RIFF":
        return _riff_reaches_beyond
    if start[:4] == _EBML:
        return _segment_reaches_beyond
    return lambda file, length: False


def _boxes_reach_beyond(file: BinaryIO, length: int) -> bool:
    """MP4 and MOV: a row of boxes, each with its size before it; what follows is no box."""
    at, kind = 0, b""
    while at + 8 <= length:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
        elif size == 0:  # to the end of the file
            return False
        if size < 8:
            return False  # no size: nothing that can be judged
        at += size
    return kind in _PICTURES and (at > length or kind == b"moof")  # whose pictures come behind it


def _riff_reaches_beyond(file: BinaryIO, length: int) -> bool:
    """AVI: one outer chunk, or a first one of many."""
    file.seek(4)
    size = int.from_bytes(file.read(4), "little")
    return 0 < size < 0xFFFFFFFF and 8 + size > length


def _segment_reaches_beyond(file: BinaryIO, length: int) -> bool:
    """Matroska and WebM: a header, then one segment that may say its size."""
    size = _segment(file)
    return size is not None and file.tell() + size > length


def _segment(file: BinaryIO) -> int | None:
    """The size the segment says, with the file wound to its content; None where it says none."""
    file.seek(4)
    header = _number(file)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    return _number(file) if file.read(4) == _SEGMENT else None


def _movi_is_whole(file: BinaryIO, length: int) -> bool:
    """AVI: the list of all chunks with pictures."""
    at = 12
    while at + 12 <= length:
        file.seek(at)
        name, size, kind = struct.unpack("<4sI4s", file.read(12))
        at += 8 + size + size % 2
        if (name, kind) == (b"LIST", b"movi"):
            return bool(size > 4 and at <= length)
    return False


def _clusters_are_whole(file: BinaryIO, length: int) -> bool:
    while kind := _name(file):
        size = _number(file)
        if size is None or file.tell() + size > length:
            return kind != _CLUSTER
        file.seek(size, os.SEEK_CUR)
    return True


def _name(file: BinaryIO) -> bytes:
    """The name of an EBML element, of 1 to 4 bytes; empty where there is none."""
    first = file.read(1)
    return first + file.read(8 - first[0].bit_length()) if first and first[0] >= 0x10 else b""


def _number(file: BinaryIO) -> int | None:
    """An EBML number; None when it stands for `unknown`."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    mask = (1 << (7 - more)) - 1
    value = int.from_bytes(bytes([first[0] & mask]) + file.read(more), "big")
    return None if value == (1 << (7 * (more + 1))) - 1 else value
