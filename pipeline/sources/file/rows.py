"""Containers that are a row of frames or packets: where the row ends, and whether within one.

Each of them says, or has, a length; what follows the last whole one is the beginning of another,
and then the file was cut off, or no part of the row at all. FFmpeg would take that for a picture,
or lose the last one over it, so it is shown the row alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

_DIF = b"\x1f\x07\x00"
"""The header that every frame of DV begins with."""
_DIF_SEQUENCE = 12_000
_GXF, _GXF_LEADER, _GXF_MARK, _GXF_PICTURES = b"\0\0\0\0\1", 16, b"\0\0\0\0\xe1\xe2", b"\xbf"
_DELIMITER = b"\x12\x00"
"""Begins every picture of a stream of OBUs."""
_OBU_KINDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 15})
_NUT_INDEX = b"\x4e\x58\xdd\x67\x2f\x23\xe6\x4e"
_TAIL_BYTES = 1 << 24
_PLANES = {
    "mono": (0, 1, 1),
    "411": (2, 4, 1),
    "420": (2, 2, 2),
    "422": (2, 2, 1),
    "444": (2, 1, 1),
    "444alpha": (3, 1, 1),
}
"""Of Y4M, beside that of brightness: how many, and how much narrower and lower they are."""
_Y4M_COLOURS = re.compile(r"(mono|411|420|422|444alpha|444)(?:p?(\d+)|[a-z]\w*)?")


class RowEnd(NamedTuple):
    """The row of a file."""

    end: int
    """Behind the last whole part."""
    cut: bool
    """Whether another part begins there."""


def find_row(path: Path) -> RowEnd | None:
    """The row of a file; None where it is another container, or does not say."""
    with path.open("rb") as file:
        start = file.read(32)
        length = os.fstat(file.fileno()).st_size
        reader = next((read for begin, read in _READERS if start.startswith(begin)), None)
        return None if reader is None else reader(file, length)


def _y4m(file: BinaryIO, length: int) -> RowEnd | None:
    file.seek(0)
    size = _y4m_size(file.readline(1024).decode("latin-1").split())
    at = file.tell()
    while size is not None and at < length:
        head = file.readline(256)
        if not head.startswith(b"FRAME"[: length - at]):
            return _ended(file, at, b"FRAME")
        end = at + len(head) + size
        if end > length or not head.endswith(b"\n"):
            return RowEnd(at, cut=True)
        at = end
        file.seek(at)
    return None if size is None else RowEnd(at, cut=False)


def _y4m_size(words: list[str]) -> int | None:
    """Bytes of a picture, as its header says."""
    said = {"C": "420", **{word[0]: word[1:] for word in words}}
    found = _Y4M_COLOURS.fullmatch(said["C"])
    if found is None or not all(said.get(side, "").isdigit() for side in "WH"):
        return None
    width, height = int(said["W"]), int(said["H"])
    count, narrower, lower = _PLANES[found[1]]
    samples = width * height + count * (-(-width // narrower) * -(-height // lower))
    return samples * (2 if int(found[2] or 8) > 8 else 1)


def _dv(file: BinaryIO, length: int) -> RowEnd | None:
    for sequences in (10, 12, 20, 24, 40, 48):
        size = sequences * _DIF_SEQUENCE
        if size == length or _read(file, size, 3) == _DIF:
            end = length // size * size
            rest = _read(file, end, 3)
            return RowEnd(end, cut=bool(rest) and _DIF.startswith(rest))
    return RowEnd(0, cut=True) if length < 10 * _DIF_SEQUENCE else None


def _gxf(file: BinaryIO, length: int) -> RowEnd | None:
    at = 0
    while head := _read(file, at, _GXF_LEADER):
        kind, size = head[5:6], int.from_bytes(head[6:10], "big")
        ours = head.startswith(_GXF[: len(head)])
        if len(head) == _GXF_LEADER and not (ours and head.endswith(_GXF_MARK)):
            return _ended(file, at, _GXF_MARK)
        if len(head) < _GXF_LEADER or at + size > length:
            return RowEnd(at, cut=ours and kind in (b"", _GXF_PICTURES))
        at += max(size, _GXF_LEADER)
    return RowEnd(at, cut=False)


def _obu(file: BinaryIO, length: int) -> RowEnd | None:
    at = 0
    while head := _read(file, at, 10):
        kind, flags = head[0] >> 3 & 15, head[0]
        if flags & 0x81 or not flags & 2 or kind not in _OBU_KINDS:
            return _ended(file, at, _DELIMITER)
        begin = 2 if flags & 4 else 1
        size, shift = 0, 0
        for byte in head[begin:]:
            begin += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if at + begin + size > length:
            return RowEnd(at, cut=True)
        at += begin + size
    return RowEnd(at, cut=False)


def _nut(file: BinaryIO, length: int) -> RowEnd | None:
    """The index is the last part; without one a file may be whole."""
    first = max(0, length - _TAIL_BYTES)
    tail = _read(file, first, length - first)
    found = tail.rfind(_NUT_INDEX)
    if found < 0:
        return None
    at, size = found + len(_NUT_INDEX), 0
    for byte in tail[at : at + 8]:
        at += 1
        size = size << 7 | byte & 0x7F
        if byte < 0x80:
            break
    end = first + at + size + (4 if size > 4096 else 0)
    return RowEnd(min(end, length), cut=False)  # of the index itself something may be missing


def _ended(file: BinaryIO, at: int, mark: bytes) -> RowEnd | None:
    """A row behind which something else begins; none where it goes on behind a damaged part."""
    return None if mark in _read(file, at, _TAIL_BYTES) else RowEnd(at, cut=False)


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


_READERS: tuple[tuple[bytes, Callable[[BinaryIO, int], RowEnd | None]], ...] = (
    (b"YUV4MPEG2 ", _y4m),
    (_DIF, _dv),
    (_GXF, _gxf),
    (_DELIMITER, _obu),
    (b"nut/multimedia container\0", _nut),
)
