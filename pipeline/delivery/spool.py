"""`MessageSpool`: what waits for a service, on the disk, in order, bounded; found after a restart.

A folder of segments, files of whole records that are only appended to. Each record has its number
and a checksum: what is torn or damaged costs itself alone, and is counted by its missing number. A
segment goes once all in it is done, which frees its space on a full disk, too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import threading
import zlib
from collections import deque
from pathlib import Path

from pipeline.delivery.lock import FULL, lock
from pipeline.delivery.segment import Segment, packed
from pipeline.errors import SinkBusy, SinkError

SEGMENT_BYTES = 4 << 20
_PARTS = 8
"""A spool has at least so many segments when it is full: the oldest of them can go."""
_DONE = struct.Struct("<QI")


class NoRoom(SinkBusy):
    """The spool is as large as it may be."""

    cause = "sink_full"


class DiskFull(SinkBusy):
    """The disk has no room for another record."""

    cause = "disk_full"


class MessageSpool:
    """Numbered records, taken out in the order they were put in. Any thread.

    What `put` has returned for survives the process; what came before a `sync` survives the
    machine. That a record is done is written down and not synced: after a power cut it may come
    again.

    Args:
        folder: made where it is missing.
        limit_bytes: all of it together, at most.

    Raises:
        SinkError: another process has it, or the folder cannot be used.
    """

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self.folder = folder
        self.damaged = 0
        """Records that waited and could not be read back."""
        self._limit_bytes = limit_bytes
        self._segment_bytes = min(SEGMENT_BYTES, limit_bytes // _PARTS)
        self._lock = threading.RLock()
        self._read: deque[tuple[int, bytes]] = deque()
        """Read from the disk and not done yet."""
        self._segments: deque[Segment] = deque()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(folder / "done", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            lock(self._fd, folder)
            self._done = self._read_done()
            for path in sorted(folder.glob("*.log")):
                self._segments.append(Segment(path))
        except OSError as error:
            self.close()
            raise SinkError(f"{folder}: cannot keep what waits there: {error.strerror}") from error
        except SinkError:
            self.close()
            raise
        self._last = self._done
        if self._segments:
            newest = self._segments[-1]
            self._last = newest.cut(1 << 63) or newest.first - 1  # nothing torn stays at the end
        self._done = min(self._done, self._last)
        self._tidy()

    @property
    def last(self) -> int:
        """Number of the last record that was put in; they count from 1, over restarts."""
        return self._last

    @property
    def waiting(self) -> int:
        """Records that are not done."""
        return self._last - self._done

    @property
    def size(self) -> int:
        """Bytes it has on the disk; 0 where nothing waits."""
        return self._size() if self.waiting else 0

    def put(self, data: bytes) -> None:
        """Add a record.

        Raises:
            NoRoom: there is none for it within the limit.
            DiskFull: there is none on the disk; nothing of it was left there.
            SinkError: the disk fails otherwise, or it is too large for any segment.
        """
        record = packed(self._last + 1, data)
        if len(record) > self._limit_bytes // 2:
            raise SinkError(
                f"{self.folder}: a message of {len(data)} bytes is too large for a spool of "
                f"{self._limit_bytes}; give the sink a larger one"
            )
        with self._lock:
            if self.waiting and self._size() + len(record) > self._limit_bytes:
                raise NoRoom(f"{self.folder}: full", 0.05)
            try:
                self._with_room_for(len(record)).append(record)
            except OSError as error:
                if error.errno in FULL:
                    raise DiskFull(f"{self.folder}: the disk is full", 1.0) from error
                raise SinkError(f"{self.folder}: {error.strerror}") from error
            self._last += 1

    def peek(self, *, records: int, size: int) -> list[tuple[int, bytes]]:
        """The oldest records with their numbers; empty where none waits.

        Args:
            records: not more of them.
            size: one, and more while all before it together are smaller.
        """
        with self._lock:
            total = sum(len(data) for _, data in self._read)
            while len(self._read) < records and total < size and self._read_one():
                total += len(self._read[-1][1])
            return list(self._read)

    def done(self, number: int) -> int:
        """All up to this one need not be kept; how many of them were there and waited."""
        with self._lock:
            count = 0
            while self._read and self._read[0][0] <= number:
                self._done, _ = self._read.popleft()
                count += 1
            if count:
                self._write_done()
            return count

    def drop_oldest(self) -> int:
        """Make room: give up what waits in the oldest segment; how many records that were."""
        with self._lock:
            if len(self._segments) < 2:
                return 0
            before, self._done = self._done, self._segments[1].first - 1
            while self._read and self._read[0][0] <= self._done:
                self._read.popleft()
            self._write_done()
            return self._done - before

    def sync(self) -> None:
        """Make everything put in so far survive a power cut.

        Raises:
            OSError: the disk says that it cannot.
        """
        with self._lock:
            behind = [segment.to_sync() for segment in self._segments if segment.unsynced]
        if behind:
            behind.append(os.open(self.folder, os.O_RDONLY))
        try:
            for fd in behind:  # records may be put in meanwhile, and segments go
                os.fsync(fd)
        finally:
            for fd in behind:
                os.close(fd)

    def cut_back(self, number: int) -> int:
        """Go on behind this record; how many up to it were never known to be done and are gone."""
        with self._lock:
            missing = max(0, number - self._last)
            self._read.clear()
            while self._segments and (missing or self._segments[-1].first > number):
                self._segments.pop().remove()  # the next begins a segment that has its number
            for segment in self._segments:
                segment.cut(number)
            self._last = number
            self._done = number if missing else min(self._done, number)
            self._write_done()
            return missing

    def close(self) -> None:
        """Release it; safe to call twice."""
        with self._lock:
            for segment in self._segments:
                segment.close()
            if (fd := getattr(self, "_fd", -1)) >= 0:
                os.close(fd)
            self._fd = -1

    def remove(self) -> None:
        """Leave nothing behind."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # others have theirs there
            self.folder.parent.rmdir()

    def _size(self) -> int:
        return sum(segment.size for segment in self._segments)

    def _with_room_for(self, size: int) -> Segment:
        newest = self._segments[-1] if self._segments else None
        if newest is None or (newest.size and newest.size + size > self._segment_bytes):
            newest = Segment(self.folder / f"{self._last + 1:020}.log")
            self._segments.append(newest)
        return newest

    def _read_one(self) -> bool:
        before = self._read[-1][0] if self._read else self._done
        for segment in self._segments:
            while (found := segment.next()) is not None:
                if found[0] > before:
                    self.damaged += found[0] - before - 1
                    self._read.append(found)
                    return True
        if not self._read and self._done < self._last:  # to the last one
            self.damaged += self._last - self._done
            self._done = self._last
            self._write_done()
        return False

    def _read_done(self) -> int:
        data = os.pread(self._fd, _DONE.size, 0)
        if len(data) < _DONE.size:
            return 0
        number, checksum = _DONE.unpack(data)
        return int(number) if zlib.crc32(data[:8]) == checksum else 0

    def _write_done(self) -> None:
        number = self._done.to_bytes(8, "little")
        with contextlib.suppress(OSError):  # on a full disk: after a crash it comes again
            os.pwrite(self._fd, number + zlib.crc32(number).to_bytes(4, "little"), 0)
        self._tidy()

    def _tidy(self) -> None:
        while len(self._segments) > 1 and self._segments[1].first <= self._done + 1:
            self._segments.popleft().remove()
