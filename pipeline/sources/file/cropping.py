"""The edges a container says are not to be shown: PixelCrop of Matroska, `clap` of MP4 and MOV.

They come on top of what the codec itself crops. FFmpeg knows them from version 7.1 on, but as data
of the stream that PyAV does not hand out, so they are read from the file here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from pipeline.sources.file.ebml import elements, find_segment, read_number
from pipeline.sources.picture import WHOLE, Crop

_TRACKS = b"\x16\x54\xae\x6b"
_TRACK, _TYPE, _VIDEO = b"\xae", b"\x83", b"\xe0"
_EDGES = {b"\x54\xbb": "top", b"\x54\xaa": "bottom", b"\x54\xcc": "left", b"\x54\xdd": "right"}
_SAMPLE_ENTRY = 78
"""Bytes of an entry of a video track before the boxes in it."""


def crop_of(path: Path, *, track_id: int, number: int) -> Crop:
    """What the container of a file crops.

    Args:
        path: a file of any kind.
        track_id: of the stream in MP4 and MOV.
        number: of the stream among those of video, which is what counts in Matroska.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if find_segment(file):
            read_number(file)
            return _pixel_crop(file, length, number)
        return _clean_aperture(file, length, track_id)


def _pixel_crop(file: BinaryIO, length: int, number: int) -> Crop:
    for name, size in elements(file, length):
        if name == _TRACKS and size is not None:
            crops = list(_crops_of_tracks(file, min(length, file.tell() + size)))
            return crops[number] if number < len(crops) else WHOLE
    return WHOLE


def _crops_of_tracks(file: BinaryIO, end: int) -> Iterator[Crop]:
    """Of each video track, in their order."""
    for name, size in elements(file, end):
        if name != _TRACK or size is None:
            continue
        kind, crop = 0, WHOLE
        for inner, inner_size in elements(file, file.tell() + size):
            if inner == _TYPE:
                kind = _unsigned(file, inner_size)
            elif inner == _VIDEO and inner_size is not None:
                crop = _crop_in(file, file.tell() + inner_size)
        if kind == 1:
            yield crop


def _crop_in(file: BinaryIO, end: int) -> Crop:
    edges = {
        _EDGES[name]: _unsigned(file, size) for name, size in elements(file, end) if name in _EDGES
    }
    return Crop(**edges)


def _unsigned(file: BinaryIO, size: int | None) -> int:
    return int.from_bytes(file.read(size), "big") if size is not None and size <= 8 else 0


def _clean_aperture(file: BinaryIO, length: int, track_id: int) -> Crop:
    movie = _find(file, 0, length, b"moov")
    for kind, at, end in _boxes(file, *movie) if movie else ():
        if kind == b"trak" and _id_of(file, at, end) == track_id:
            entries = _find(file, at, end, b"mdia", b"minf", b"stbl", b"stsd")
            return WHOLE if entries is None else _aperture_of(file, entries[0] + 8, entries[1])
    return WHOLE


def _id_of(file: BinaryIO, at: int, end: int) -> int | None:
    header = _find(file, at, end, b"tkhd")
    if header is None:
        return None
    file.seek(header[0])
    version = file.read(1)
    file.seek(header[0] + (20 if version == b"\1" else 12))
    return int.from_bytes(file.read(4), "big")


def _aperture_of(file: BinaryIO, at: int, end: int) -> Crop:
    """Of the first sample entry: width, height, and how far their middle is off the picture's."""
    _, entry, entry_end = next(_boxes(file, at, end), (b"", 0, 0))
    clap = _find(file, entry + _SAMPLE_ENTRY, entry_end, b"clap")
    if clap is None or clap[1] - clap[0] < 32:
        return WHOLE
    file.seek(entry + 24)
    width, height = struct.unpack(">HH", file.read(4))
    file.seek(clap[0])
    values = struct.unpack(">8i", file.read(32))
    if min(values[1::2]) <= 0:
        return WHOLE
    wide, high, x, y = map(Fraction, values[::2], values[1::2])
    left, top = (width - wide) / 2 + x, (height - high) / 2 + y
    right, bottom = left + wide - 1, top + high - 1  # the last that belong to it
    crop = Crop(int(top), height - 1 - int(bottom), int(left), width - 1 - int(right))
    return crop if min(crop) >= 0 else WHOLE


def _find(file: BinaryIO, at: int, end: int, *path: bytes) -> tuple[int, int] | None:
    """Where the content of the first box lies to which a path of kinds leads."""
    for kind, inside, behind in _boxes(file, at, end):
        if kind == path[0]:
            return _find(file, inside, behind, *path[1:]) if path[1:] else (inside, behind)
    return None


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the content of each box."""
    while at + 8 <= end:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            size, head = int.from_bytes(file.read(8), "big"), 16
        behind = at + size if size else end
        if behind < at + head or behind > end:
            return
        yield kind, at + head, behind
        at = behind
