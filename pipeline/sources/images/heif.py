"""What a HEIF file (HEIC, AVIF) says of its pictures: items, tiles, orientation.

Photographs of telephones are grids of tiles, each coded by itself; FFmpeg gives the tiles, this
says how they lie together. Thumbnails, depth and gain maps are items too, and no pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_CODED = frozenset({b"hvc1", b"av01", b"avc1", b"jpeg", b"vvc1"})
_BRANDS = frozenset({b"mif1", b"mif2", b"miaf", b"msf1", b"avif", b"avis", b"avio", b"avci"})
_HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})


class TileGrid(NamedTuple):
    """How tiles lie together; what reaches beyond the size is cut off."""

    rows: int
    columns: int
    width: int
    height: int


@dataclass(slots=True)
class Item:
    """One item of a file."""

    kind: bytes
    hidden: bool = False
    extents: list[tuple[int, int]] = field(default_factory=list)
    """Where its bytes are: place in the file and length."""
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Kind and content, in their order."""
    parts: list[int] = field(default_factory=list)
    """Ids of the items it is made of."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height it claims, if it does."""
        for kind, value in self.properties:
            if kind == b"ispe":
                width, height = struct.unpack_from(">II", value, 4)
                return width, height
        return None


@dataclass(slots=True)
class Contents:
    """The items of a file by id."""

    items: dict[int, Item] = field(default_factory=dict)
    primary: int = 0
    beside: set[int] = field(default_factory=set)
    """Thumbnails, depth and gain maps: what belongs to another item."""

    def pictures(self) -> list[int]:
        """The pictures that stand for themselves, the primary one among them."""
        inner = {part for item in self.items.values() for part in item.parts}
        return [
            number
            for number, item in self.items.items()
            if number == self.primary
            or (
                (item.kind in _CODED or item.kind in (b"grid", b"iovl", b"iden"))
                and not item.hidden
                and number not in inner | self.beside
            )
        ]


def is_heif(data: bytes | bytearray) -> bool:
    """Whether a file says that it is one."""
    if data[4:8] != b"ftyp":
        return False
    end = min(struct.unpack_from(">I", data)[0], len(data), 1024)
    brands = {bytes(data[at : at + 4]) for at in (8, *range(16, end, 4))}
    return bool(brands & (_BRANDS | _HEVC_BRANDS))


def read_contents(data: bytes | bytearray) -> Contents:
    """The items of a file; none where it has only tracks.

    Raises:
        struct.error, IndexError, KeyError: it is damaged.
    """
    contents = Contents()
    inner = {
        kind: (at, end)
        for top, at, end in _boxes(data, 0, len(data))
        if top == b"meta"
        for kind, at, end in _boxes(data, at + 4, end)
    }
    if b"iinf" not in inner:
        return contents
    _read_items(data, *inner[b"iinf"], contents)
    contents.primary = _number(data, inner[b"pitm"][0] + 4, 4 if data[inner[b"pitm"][0]] else 2)
    _read_places(data, inner[b"iloc"][0], inner.get(b"idat", (0, 0))[0], contents)
    if b"iref" in inner:
        _read_references(data, *inner[b"iref"], contents)
    if b"iprp" in inner:
        _read_properties(data, *inner[b"iprp"], contents)
    return contents


def is_cut_off(data: bytes | bytearray) -> bool:
    """Whether a box of the file reaches beyond its end."""
    at = 0
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if length == 1 and at + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, at + 8)
        if length == 0:
            return False
        at += max(length, 8)
    return at > len(data)


def read_grid(data: bytes | bytearray, item: Item) -> TileGrid:
    """How the parts of an item of the kind `grid` lie together."""
    content = b"".join(bytes(data[at : at + length]) for at, length in item.extents)
    _, flags, rows, columns = content[:4]
    width, height = struct.unpack_from(">II" if flags & 1 else ">HH", content, 4)
    return TileGrid(rows + 1, columns + 1, width, height)


def _boxes(data: bytes | bytearray, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the content of each box."""
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        stop = end if length == 0 else at + length
        yield kind, at + head, min(stop, end)
        at = max(stop, at + 8)


def _read_items(data: bytes | bytearray, at: int, end: int, contents: Contents) -> None:
    for kind, start, _ in _boxes(data, at + (8 if data[at] else 6), end):
        if kind == b"infe" and data[start] >= 2:
            wide = 4 if data[start] > 2 else 2
            number = _number(data, start + 4, wide)
            name = bytes(data[start + 6 + wide : start + 10 + wide])
            contents.items[number] = Item(name, hidden=bool(data[start + 3] & 1))


def _read_places(data: bytes | bytearray, at: int, idat: int, contents: Contents) -> None:
    version, sizes = data[at], struct.unpack_from(">H", data, at + 4)[0]
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    count = _number(data, at + 6, wide)
    at += 6 + wide
    for _ in range(count):
        number, way = _number(data, at, wide), 0
        at += wide
        if version:
            way = data[at + 1] & 15
            at += 2
        start = _number(data, at + 2, base) + (idat if way == 1 else 0)
        extents = _number(data, at + 2 + base, 2)
        at += 4 + base
        for _ in range(extents):
            at += index if version else 0
            place = start + _number(data, at, offset), _number(data, at + offset, length)
            contents.items[number].extents.append(place)
            at += offset + length


def _read_references(data: bytes | bytearray, at: int, end: int, contents: Contents) -> None:
    wide = 4 if data[at] else 2
    for kind, start, _ in _boxes(data, at + 4, end):
        source, count = _number(data, start, wide), _number(data, start + wide, 2)
        first = start + wide + 2
        targets = [_number(data, first + i * wide, wide) for i in range(count)]
        if kind == b"dimg":
            contents.items[source].parts = targets
        elif kind in (b"thmb", b"auxl"):
            contents.beside.add(source)


def _read_properties(data: bytes | bytearray, at: int, end: int, contents: Contents) -> None:
    parts = {kind: (begin, stop) for kind, begin, stop in _boxes(data, at, end)}
    known = [(kind, bytes(data[a:b])) for kind, a, b in _boxes(data, *parts[b"ipco"])]
    at = parts[b"ipma"][0]
    wide, long = (4 if data[at] else 2), data[at + 3] & 1
    count = _number(data, at + 4, 4)
    at += 8
    for _ in range(count):
        item, uses = contents.items[_number(data, at, wide)], data[at + wide]
        at += wide + 1
        for _ in range(uses):
            which = _number(data, at, 1 + long) & (0x7FFF if long else 0x7F)
            at += 1 + long
            if which:
                item.properties.append(known[which - 1])


def _number(data: bytes | bytearray, at: int, wide: int) -> int:
    if at + wide > len(data):
        raise IndexError("behind the end")
    return int.from_bytes(data[at : at + wide], "big")
