"""Whether a file was cut off, from the sizes its container wrote down. Nothing is decoded.

A copy that was interrupted, or a recorder that lost its power, leaves a file whose outermost
boxes reach beyond its end, or whose last page, packet or block does. Containers that write no sizes
(transport streams, raw streams) cannot be judged this way and count as whole, as does what ends
between two parts of a recording that goes on. So do bytes behind the end that only look like a
box, and parts that hold no pictures.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pipeline.sources.file.ebml import elements, find_segment, read_number
from pipeline.sources.file.pages import ogg_breaks_off, program_breaks_off
from pipeline.sources.file.rows import find_row

_EBML = b"\x1a\x45\xdf\xa3"
_CLUSTER = b"\x1f\x43\xb6\x75"
_BLOCKS = frozenset({b"\xa3", b"\xa0"})
_JPEG = b"\xff\xd8\xff"
_TAIL_BYTES = 1 << 24
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA_HEAD = 50
_PICTURES = (b"moov", b"moof", b"mdat")
"""The boxes of MP4 without which pictures are missing."""


def is_cut_off(path: Path) -> bool:
    """Whether the file ends before its container says; False where it does not say."""
    row = find_row(path)
    if row is not None:
        return row.cut
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        start = file.read(12)
        file.seek(0)
        return _reader(start)(file, length)


def says_more(start: bytes, length: int) -> bool:
    """Whether the beginning of a file says that it is longer; False where only its parts do."""
    reader = {
        b"RIFF": _riff_reaches_beyond,
        _EBML: _segment_is_longer,
        _ASF[:4]: _asf_reaches_beyond,
    }.get(start[:4])
    try:
        return reader is not None and reader(BytesIO(start), length)
    except struct.error:  # what says it lies further in
        return False


def pictures_are_whole(path: Path) -> bool:
    """Whether what holds the pictures ends within the file, so that only the rest is cut off.

    Of Matroska that is every cluster up to the end: whether there were more, only time can tell.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if file.read(4) == b"RIFF":
            return _movi_is_whole(file, length)
        return find_segment(file) and _clusters_are_whole(file, length)


def _reader(start: bytes) -> Callable[[BinaryIO, int], bool]:
    if start[4:8] in (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip"):
        return _boxes_reach_beyond
    if start[:4] == b"RIFF":
        return _riff_reaches_beyond
    if start[:4] == _EBML:
        return _segment_reaches_beyond
    if start[:4] == b"GIF8":
        return _gif_breaks_off
    if start == _ASF[:12]:
        return _asf_reaches_beyond
    if start[:4] == b"OggS":
        return ogg_breaks_off
    if start[:4] == b"\0\0\1\xba":
        return program_breaks_off
    if start[:3] == _JPEG:
        return _jpeg_breaks_off
    return lambda file, length: False


def _segment_is_longer(file: BinaryIO, length: int) -> bool:
    size = read_number(file) if find_segment(file) else None
    return size is not None and file.tell() + size > length


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
    """Matroska and WebM: a header, then one segment; without a size of it, its last part counts."""
    if not find_segment(file):
        return False
    if read_number(file) is None:
        return _cluster_reaches_beyond(file, length)
    return _segment_is_longer(file, length)


def _cluster_reaches_beyond(file: BinaryIO, length: int) -> bool:
    """Of a recording that goes on: the last cluster, or the last block of one without a size."""
    within = False
    while True:
        for name, size in elements(file, length):
            if name == _CLUSTER and size is None:
                within = True  # its blocks follow
                break
            if size is not None and file.tell() + size > length:
                return name == _CLUSTER or (within and name in _BLOCKS)
        else:
            return False


def _gif_breaks_off(file: BinaryIO, length: int) -> bool:
    """GIF: a row of extensions and pictures, each of blocks that say their length.

    One that ends between two of them has lost no picture that began: some writers leave out the
    byte that ends the file.
    """
    flags = file.read(13)[10:11]
    if not flags:
        return True
    _skip_palette(file, flags[0])
    while kind := file.read(1):
        if kind == b"!":  # an extension: its label, then blocks
            file.seek(1, os.SEEK_CUR)
        elif kind == b",":  # a picture: its place, its palette, how it is packed, then blocks
            place = file.read(9)
            if len(place) < 9:
                return True
            _skip_palette(file, place[8])
            file.seek(1, os.SEEK_CUR)
        else:
            return False  # the end, or nothing that can be judged
        while (size := file.read(1)) != b"\0":
            if not size:
                return True
            file.seek(size[0], os.SEEK_CUR)
    return file.tell() > length


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)


def _asf_reaches_beyond(file: BinaryIO, length: int) -> bool:
    """ASF and WMV: a row of objects; one of them holds the pictures, in packets of one size."""
    at = packet = 0
    while at + 24 <= length:
        file.seek(at)
        name, size = struct.unpack("<16sQ", file.read(24))
        if name == _ASF_DATA and size <= _ASF_DATA_HEAD:  # written where nothing can be filled in
            rest = (length - at - _ASF_DATA_HEAD) % packet if packet else 0
            file.seek(length - rest)
            begin = file.read(1)
            return bool(rest and begin) and begin[0] & 0x90 == 0x80
        if size < 24:
            return False
        if name == _ASF:
            packet = _asf_packet(file.read(min(size, _TAIL_BYTES)))
        at += size
        if name == _ASF_DATA:
            return bool(at > length)
    return False


def _asf_packet(header: bytes) -> int:
    """Bytes of a packet, as the properties of the file say; 0 where they do not."""
    at = header.find(_ASF_PROPERTIES)
    low, high = (
        struct.unpack_from("<II", header, at + 92) if 0 <= at <= len(header) - 100 else (0, 1)
    )
    return low if low == high else 0


def _jpeg_breaks_off(file: BinaryIO, length: int) -> bool:
    """JPEG after JPEG: where any of them has an end, the last one has it too, as the only one."""
    file.seek(max(0, length - _TAIL_BYTES))
    tail = file.read()
    end, begin = tail.rfind(b"\xff\xd9"), tail.rfind(_JPEG)
    return end < begin if end >= 0 else begin == 0


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
    if read_number(file) is None:
        return False
    for name, size in elements(file, length):
        if size is None or file.tell() + size > length:
            return name != _CLUSTER
    return True
