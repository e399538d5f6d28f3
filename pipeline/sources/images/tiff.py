"""The pictures of a TIFF file: its chain of directories, in the classic form and in BigTIFF.

A directory is one picture, its tags say where its pixels are. Reduced copies and masks of another
picture are marked as such and left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_KIND, _WIDTH, _HEIGHT, _ALPHA = 254, 256, 257, 338
_MULTIPLIED, _APART = 1, 2
"""What a tag says of alpha: whether it is in the colours already."""
_REDUCED_OR_MASK = 1 | 4
_MOST_ENTRIES = 4096
"""Of a directory; there are some hundred kinds."""
_SHORT = 3
_FORMS = {_SHORT: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Of the numbers in tags: short, long, directory, and the long ones of BigTIFF."""


class Directory(NamedTuple):
    """One picture."""

    at: int
    width: int
    height: int
    copy: bool
    """A smaller copy, or a mask, of another picture."""
    alpha: int = 0
    """Where it is said that alpha is not in the colours already; 0: nowhere."""


class _Layout(NamedTuple):
    """How the numbers of a file are laid out."""

    offset: str
    length: str
    """Of a directory."""
    entry: int
    """Bytes of one."""
    first: int
    """Where the offset of the first directory stands."""


def directories(data: bytes | bytearray) -> Iterator[Directory | None]:
    """The pictures of the file in order; None stands for those behind a break of the chain."""
    found = False
    for directory in _chain(data):
        if directory is None or not directory.copy:
            found = True
            yield directory
    if not found:  # nothing but copies: then they are the pictures
        yield from _chain(data)


def first_directory(data: bytes | bytearray) -> Directory | None:
    """The first picture; None where there is none that can be read."""
    return next(directories(data), None)


def begin_at(data: bytearray, directory: Directory) -> None:
    """Make a directory the first of the file, which is the one decoders take.

    Alpha is said to be in its colours: libtiff would multiply them by it otherwise.
    """
    layout = _layout(data)
    struct.pack_into(layout.offset, data, layout.first, directory.at)
    if directory.alpha:
        struct.pack_into(layout.offset[0] + "H", data, directory.alpha, _MULTIPLIED)


def _chain(data: bytes | bytearray) -> Iterator[Directory | None]:
    layout = _layout(data)
    seen: set[int] = set()
    place = layout.first
    try:
        while True:
            (at,) = struct.unpack_from(layout.offset, data, place)
            if at == 0 or at in seen:
                return
            seen.add(at)
            (entries,) = struct.unpack_from(layout.length, data, at)
            place = at + struct.calcsize(layout.length) + entries * layout.entry
            struct.unpack_from(layout.offset, data, place)  # whole, or not there
            if entries > _MOST_ENTRIES:
                raise struct.error
            yield _directory(data, at, entries, layout)
    except (struct.error, OverflowError):
        yield None


def _directory(data: bytes | bytearray, at: int, entries: int, layout: _Layout) -> Directory | None:
    tags, alpha = {_KIND: 0}, 0
    size = struct.calcsize(layout.length)
    for entry in range(at + size, at + size + entries * layout.entry, layout.entry):
        tag, form = struct.unpack_from(layout.offset[0] + "HH", data, entry)
        if tag in (_KIND, _WIDTH, _HEIGHT, _ALPHA) and form in _FORMS:
            value = entry + layout.entry - struct.calcsize(layout.offset)
            (tags[tag],) = struct.unpack_from(layout.offset[0] + _FORMS[form], data, value)
            alpha = value if (tag, form, tags[tag]) == (_ALPHA, _SHORT, _APART) else alpha
    if not {_WIDTH, _HEIGHT} <= set(tags):
        return None
    copy = bool(tags[_KIND] & _REDUCED_OR_MASK)
    return Directory(at, tags[_WIDTH], tags[_HEIGHT], copy, alpha)


def _layout(data: bytes | bytearray) -> _Layout:
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        return _Layout(f"{order}Q", f"{order}Q", 20, 8)
    return _Layout(f"{order}I", f"{order}H", 12, 4)
