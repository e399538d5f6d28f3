"""A list of what was written into a folder, one line each; what is not in it is another's.

A line is in the list before what it names is in the folder, so whatever a killed process leaves is
known to be ours.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.delivery.lock import lock
from pipeline.errors import SinkError


class ListFile:
    """Lines in a file that one process at a time adds to.

    Args:
        path: of the list.
        what: was written, in messages.

    Raises:
        SinkError: another process is writing there, or the list is no file.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._fd = -1
        self.known = os.path.lexists(path)
        """False: nothing was written, or by a version that kept no list."""
        if self.known and not stat.S_ISREG(os.lstat(path).st_mode):
            raise SinkError(
                f"{path}: is no regular file, so no list of the {what} that were written; "
                "remove it, or name another folder"
            )
        if self.known:
            self._open(path)

    def make(self) -> None:
        """Make it where it is not there, so that nobody else does.

        Raises:
            OSError: it cannot be made.
        """
        if self._fd < 0:
            self._open(self.path)
            self.known = True

    def add(self, line: bytes) -> None:
        """List what is about to be written.

        Raises:
            OSError: it cannot be listed; the list is as it was.
        """
        self.make()
        size = os.fstat(self._fd).st_size
        if os.write(self._fd, line + b"\n") <= len(line):
            os.ftruncate(self._fd, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def lines(self) -> Iterator[bytes]:
        """Every line; one that was cut off is none of those that were added."""
        if self.known:
            with self.path.open("rb") as file:
                yield from (line.strip() for line in file)

    def replace(self, lines: Iterable[bytes]) -> None:
        """Put other lines in the place of all."""
        fresh = self.path.with_name(f"{self.path.name}.new")
        fresh.unlink(missing_ok=True)  # of a killed process; a link would lead to somebody's file
        with fresh.open("xb") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        self.close()
        self._open(fresh)
        os.replace(fresh, self.path)
        self.known = True

    def sync(self) -> None:
        """Make the list durable."""
        if self._fd >= 0:
            os.fsync(self._fd)

    def remove(self) -> None:
        """Let go of the list and delete it."""
        if self.known:
            self.path.unlink(missing_ok=True)
            self.known = False
        self.close()

    def close(self) -> None:
        """Let go of the list."""
        if self._fd >= 0:
            os.close(self._fd)  # also ends the lock
            self._fd = -1

    def _open(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o666)
        try:
            lock(fd, self.path.parent)
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                os.write(fd, b"\n")  # behind a name that was cut off and is none
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
