"""`Segment`: a file of numbered records with checksums; what is damaged is passed over."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

_HEADER = struct.Struct("<4sIIQ")
"""Mark, bytes of the data, checksum of number and data, number."""
_MARK = b"\xf5msk"  # no text has such a byte


def packed(number: int, data: bytes) -> bytes:
    """A record as it lies in a segment."""
    return _HEADER.pack(_MARK, len(data), _checksum(number, data), number) + data


class Segment:
    """Records in the order of their numbers, from `first` on. One call at a time.

    Args:
        path: made where it is missing; its stem is the first number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = int(path.stem)
        self.unsynced = True
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.size = os.fstat(self._fd).st_size
        self._read_to = 0

    def append(self, record: bytes) -> None:
        """Add a record at the end; where it does not fit on the disk nothing of it stays.

        Raises:
            OSError: it could not be written.
        """
        self.unsynced = True
        try:
            written = os.pwrite(self._fd, record, self.size)
            while written < len(record):
                written += os.pwrite(self._fd, record[written:], self.size + written)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(record)

    def next(self) -> tuple[int, bytes] | None:
        """The next whole record and its number; None at the end, for now."""
        while self._read_to < self.size:
            found = self._at(self._read_to)
            if found is not None:
                self._read_to += _HEADER.size + len(found[1])
                return found
            rest = os.pread(self._fd, self.size - self._read_to, self._read_to)
            at = rest.find(_MARK, 1)
            self._read_to += at if at > 0 else len(rest)
        return None

    def rewind(self) -> None:
        """Read from the beginning again."""
        self._read_to = 0

    def cut(self, number: int) -> int:
        """Leave nothing behind the last whole record up to this one; its number, 0 for none."""
        self.rewind()
        last = end = 0
        while (found := self.next()) is not None and found[0] <= number:
            last, end = found[0], self._read_to
        self.rewind()
        if end < self.size:
            os.ftruncate(self._fd, end)
            self.size, self.unsynced = end, True
        return last

    def to_sync(self) -> int:
        """A descriptor of its own, to make what is in it by now survive a power cut."""
        self.unsynced = False  # what is appended from now on may not be in it
        return os.dup(self._fd)

    def close(self) -> None:
        """Release it; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def remove(self) -> None:
        """Close and delete it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _at(self, offset: int) -> tuple[int, bytes] | None:
        header = os.pread(self._fd, _HEADER.size, offset)
        if len(header) < _HEADER.size:
            return None
        mark, length, checksum, number = _HEADER.unpack(header)
        if mark != _MARK or offset + _HEADER.size + length > self.size:
            return None
        data = os.pread(self._fd, length, offset + _HEADER.size)
        return (number, data) if _checksum(number, data) == checksum else None


def _checksum(number: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(number.to_bytes(8, "little")))
