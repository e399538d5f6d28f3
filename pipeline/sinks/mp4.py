"""Fragmented MP4 with one H.264 track, written box by box (ISO/IEC 14496-12 and -15).

Why not FFmpeg's muxer: it decides itself when a fragment is complete, and a file it began cannot
be continued after a crash. Here a fragment is bytes made from samples, appended whole, and a file
can be cut after any fragment and continued.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

TIMESCALE = 90_000
"""Ticks a second of all times here."""

_LONGEST_TICKS = 2**31 - 1
_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_MOOF_TO_TFDT = 8 + 16 + 8 + 16 + 12
"""Bytes from the start of our moof to the decode time in it."""
_MOOF_TO_ROWS = _MOOF_TO_TFDT + 8 + 20
_MOOF_TO_FIRST_FLAGS = _MOOF_TO_ROWS + 8


class Sample(NamedTuple):
    """One coded picture."""

    ticks: int
    """Presentation time, which is decode time too: nothing is reordered."""
    key: bool
    data: bytes
    """NAL units, each behind its length in 4 bytes."""


def header(size: tuple[int, int], sps: bytes, pps: bytes) -> bytes:
    """What a file begins with (`ftyp`, `moov`); the same for the same arguments.

    Args:
        size: (height, width) in pixels.
        sps: the encoder's sequence parameter set.
        pps: its picture parameter set.
    """
    height, width = size
    brands = b"iso5" + struct.pack(">I", 512) + b"iso5iso6mp41avc1"
    return _box(b"ftyp", brands) + _box(
        b"moov",
        _full_box(
            *(b"mvhd", 0, 0),
            struct.pack(">4I", 0, 0, TIMESCALE, 0),
            struct.pack(">IH10x", 0x10000, 0x100) + _MATRIX + bytes(24) + struct.pack(">I", 2),
        ),
        _track(width, height, sps, pps),
        _box(
            b"mvex",
            _full_box(b"mehd", 1, 0, bytes(8)),
            _full_box(b"trex", 0, 0, struct.pack(">5I", 1, 1, 0, 0, 0)),
        ),
    )


def fragment(sequence: int, samples: Sequence[Sample], end: int) -> bytes:
    """A piece of the file that plays on its own (`moof`, `mdat`).

    Args:
        sequence: number of the fragment, from 1.
        samples: at least one, times increasing.
        end: ticks at which the last sample ends. There are 31 bits for how long it is shown (6.6
            hours); what comes later has its exact time all the same, from the next fragment.
    """
    ends = [s.ticks for s in samples[1:]] + [end]
    rows = b"".join(
        struct.pack(
            ">3I",
            min(until - s.ticks, _LONGEST_TICKS),
            len(s.data),
            0x02000000 if s.key else 0x01010000,
        )
        for s, until in zip(samples, ends, strict=True)
    )

    def moof(data_offset: int) -> bytes:
        return _box(
            b"moof",
            _full_box(b"mfhd", 0, 0, struct.pack(">I", sequence)),
            _box(
                b"traf",
                _full_box(b"tfhd", 0, 0x020000, struct.pack(">I", 1)),  # offsets from the moof
                _full_box(b"tfdt", 1, 0, struct.pack(">Q", samples[0].ticks)),
                # duration, size and flags of each sample, and where the first begins
                _full_box(b"trun", 0, 0x701, struct.pack(">Ii", len(samples), data_offset), rows),
            ),
        )

    front = moof(len(moof(0)) + 8)
    return front + _box(b"mdat", *(s.data for s in samples))


def index(read: Callable[[int, int], bytes], size: int) -> bytes:
    """The index (`mfra`) that players seek by, made from the fragments of a file.

    Args:
        read: offset and length to bytes of the file.
        size: bytes of header and fragments.
    """
    entries = b"".join(
        struct.pack(">QQ3B", ticks, offset, 1, 1, 1) for ticks, offset in _key_fragments(read, size)
    )
    count = len(entries) // 19
    tfra = _full_box(b"tfra", 1, 0, struct.pack(">III", 1, 0, count), entries)
    whole = 8 + len(tfra) + 16
    return _box(b"mfra", tfra, _full_box(b"mfro", 0, 0, struct.pack(">I", whole)))


class Fragments(NamedTuple):
    """Whole fragments one behind the other."""

    size: int
    """Bytes."""
    number: int
    samples: int
    end: int
    """Ticks at which the last sample ends; 0 without any."""


def whole_fragments(data: bytes) -> Fragments:
    """The fragments data begins with, up to the first that is torn or is none."""
    offset = count = samples = end = 0
    while data[offset + 4 : offset + 8] == b"moof":
        (front,) = struct.unpack_from(">I", data, offset)
        if data[offset + front + 4 : offset + front + 8] != b"mdat":
            break
        (body,) = struct.unpack_from(">I", data, offset + front)
        if offset + front + body > len(data):
            break
        (end,) = struct.unpack_from(">Q", data, offset + _MOOF_TO_TFDT)
        (rows,) = struct.unpack_from(">I", data, offset + _MOOF_TO_ROWS - 8)
        for row in range(rows):
            (ticks,) = struct.unpack_from(">I", data, offset + _MOOF_TO_ROWS + 12 * row)
            end += ticks
        offset, count, samples = offset + front + body, count + 1, samples + rows
    return Fragments(offset, count, samples, end)


def whole_header(data: bytes) -> int:
    """Length of the header that data begins with; 0: it is torn, or there is none."""
    offset = 0
    for kind in (b"ftyp", b"moov"):
        if data[offset + 4 : offset + 8] != kind:
            return 0
        offset += int.from_bytes(data[offset : offset + 4], "big")
    return offset if offset <= len(data) else 0


def unit(nal: bytes) -> bytes:
    """A NAL unit as it stands in a sample, behind its length."""
    return len(nal).to_bytes(4, "big") + nal


def duration_offset(head: bytes) -> int:
    """Where in a header the 8 bytes of the whole duration lie; they are 0 until it is known."""
    return head.index(b"mehd") + 8


def parameter_sets(head: bytes) -> tuple[bytes, bytes]:
    """The sequence and picture parameter set in a header."""
    at = head.index(b"avcC") + 4 + 6
    (length,) = struct.unpack_from(">H", head, at)
    sps = head[at + 2 : at + 2 + length]
    at += 2 + length + 1
    (length,) = struct.unpack_from(">H", head, at)
    return sps, head[at + 2 : at + 2 + length]


def last_duration(read: Callable[[int, int], bytes], size: int) -> tuple[int, int]:
    """Offset of the four bytes that say how long the last sample is shown, and its time.

    Args:
        read: offset and length to bytes of the file.
        size: bytes of header and fragments; there is at least one.
    """
    *_, (offset, front) = _fragments(read, size)
    (ticks,) = struct.unpack_from(">Q", front, _MOOF_TO_TFDT)
    (count,) = struct.unpack_from(">I", front, _MOOF_TO_ROWS - 8)
    rows = read(offset + _MOOF_TO_ROWS, 12 * count)
    ticks += sum(struct.unpack_from(">I", rows, 12 * row)[0] for row in range(count - 1))
    return offset + _MOOF_TO_ROWS + 12 * (count - 1), ticks


def duration(ticks: int) -> bytes:
    """How long a sample is shown, as its row says it."""
    return struct.pack(">I", min(ticks, _LONGEST_TICKS))


def _key_fragments(read: Callable[[int, int], bytes], size: int) -> Iterator[tuple[int, int]]:
    """Time and offset of every fragment that begins with a key picture."""
    for offset, front in _fragments(read, size):
        (ticks,) = struct.unpack_from(">Q", front, _MOOF_TO_TFDT)
        (flags,) = struct.unpack_from(">I", front, _MOOF_TO_FIRST_FLAGS)
        if flags == 0x02000000:
            yield ticks, offset


def _fragments(read: Callable[[int, int], bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """Offset and first bytes of every fragment."""
    offset = 0
    while offset < size:
        front = read(offset, _MOOF_TO_FIRST_FLAGS + 4)
        length, kind = struct.unpack_from(">I4s", front)
        if kind == b"moof":
            yield offset, front
        offset += length


def _track(width: int, height: int, sps: bytes, pps: bytes) -> bytes:
    tables = [
        _full_box(b"stsd", 0, 0, struct.pack(">I", 1), _sample_entry(width, height, sps, pps)),
        _full_box(b"stts", 0, 0, bytes(4)),
        _full_box(b"stsc", 0, 0, bytes(4)),
        _full_box(b"stsz", 0, 0, bytes(8)),
        _full_box(b"stco", 0, 0, bytes(4)),
    ]
    reference = _full_box(b"dref", 0, 0, struct.pack(">I", 1), _full_box(b"url ", 0, 1))
    return _box(
        b"trak",
        _full_box(
            *(b"tkhd", 0, 3),  # enabled, in the movie
            struct.pack(">5I16x", 0, 0, 1, 0, 0),
            _MATRIX + struct.pack(">2I", width << 16, height << 16),
        ),
        _box(
            b"mdia",
            _full_box(b"mdhd", 0, 0, struct.pack(">4IHH", 0, 0, TIMESCALE, 0, 0x55C4, 0)),
            _full_box(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, b"vide"), b"maskstream\0"),
            _box(
                b"minf",
                _full_box(b"vmhd", 0, 1, bytes(8)),
                _box(b"dinf", reference),
                _box(b"stbl", *tables),
            ),
        ),
    )


def _sample_entry(width: int, height: int, sps: bytes, pps: bytes) -> bytes:
    profile = sps[1:4]
    config = b"\x01" + profile + b"\xff\xe1" + struct.pack(">H", len(sps)) + sps
    config += b"\x01" + struct.pack(">H", len(pps)) + pps
    if profile[0] in (100, 110, 122, 144):
        config += b"\xfd\xf8\xf8\x00"  # 4:2:0, 8 bits
    return _box(
        b"avc1",
        struct.pack(">6xH16xHHIIIH", 1, width, height, 0x480000, 0x480000, 0, 1),
        bytes(32) + struct.pack(">Hh", 0x18, -1),
        _box(b"avcC", config),
        _box(b"colr", b"nclx" + struct.pack(">3HB", 6, 6, 6, 0)),  # BT.601, limited range
    )


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
