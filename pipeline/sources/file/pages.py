"""Ogg and MPEG program streams: pages and packets of several streams, each says how long it is."""

from __future__ import annotations

from typing import BinaryIO

_OGG_HEAD = 27
_FIRST, _LAST = 2, 4
"""Flags of a page of Ogg: of a stream, the one it begins with and the one it ends with."""
_OGG_VIDEO = (b"\x80theora", b"\x01video", b"OVP80", b"BBCD")
_PACK = b"\0\0\1\xba"
_TAIL_BYTES = 1 << 20
_PICTURES = range(0xE0, 0xF0)


def ogg_breaks_off(file: BinaryIO, length: int) -> bool:
    """Whether a stream of pictures has begun and its last page, which says so, is not there."""
    open_streams: set[bytes] = set()
    at = 0
    while True:
        file.seek(at)
        head = file.read(_OGG_HEAD + 255)
        if len(head) < _OGG_HEAD or not head.startswith(b"OggS"):
            return bool(open_streams)
        count = head[26]
        sizes = head[_OGG_HEAD : _OGG_HEAD + count]
        flags, serial = head[5], head[14:18]
        if flags & _FIRST:
            file.seek(at + _OGG_HEAD + count)
            if file.read(8).startswith(_OGG_VIDEO):
                open_streams.add(serial)
        at += _OGG_HEAD + count + sum(sizes)
        if at > length or len(sizes) < count:
            return bool(open_streams)
        if flags & _LAST:
            open_streams.discard(serial)


def is_header(packet: bytes) -> bool:
    """Whether a packet is none of a picture: where streams follow one another, their headers do."""
    return packet[1:7] == b"theora" or packet[:5] == b"OVP80"


def program_breaks_off(file: BinaryIO, length: int) -> bool:
    """Whether the last packet of pictures in a program stream reaches beyond the end."""
    first = max(0, length - _TAIL_BYTES)
    file.seek(first)
    tail = file.read()
    at = tail.rfind(_PACK)
    while 0 <= at <= len(tail) - 6 and tail[at : at + 3] == b"\0\0\1":
        kind = tail[at + 3]
        if kind == _PACK[3]:
            at += _pack_size(tail[at : at + 14])
        elif kind > _PACK[3]:
            end = at + 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
            if end > len(tail):
                return kind in _PICTURES
            at = end
        else:
            return False
    return False


def _pack_size(head: bytes) -> int:
    """Of MPEG-2 with its filling, or of MPEG-1."""
    return 14 + (head[13] & 7 if len(head) > 13 else 0) if head[4] & 0xC0 == 0x40 else 12
