"""Opening regular files and nothing else: a pipe would be waited for, a device never ends.

Whatever a user names to be read is opened here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Protocol

_UNSAID = 1 << 16
"""Bytes to look for where the system says 0: files it makes up when they are read."""
MAX_JSON_BYTES = 2 << 30
"""A file of annotations that is read whole; the largest of COCO has 0.5 GB."""
MAX_LINE_BYTES = 64 << 20
"""A frame of 1,000 instances takes less than 1 MB."""


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """The file a path or link leads to, opened without waiting for anybody.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(descriptor, "rb")


def read_small(path: str | os.PathLike[str], *, max_bytes: int) -> bytes:
    """The bytes of a regular file of at most `max_bytes`.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; `strerror` says which.
    """
    with open_regular(Path(path)) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > max_bytes else file.read(max(size, _UNSAID) + 1)
    if max(size, len(data)) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes:,} bytes")
    return data


class HasLines(Protocol):
    """A file, or what is read like one."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or so much of it."""


def lines_of(file: HasLines, *, max_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    """The lines of a file, none of which fills the memory.

    Raises:
        OSError: it cannot be read, or a line is longer; `strerror` says which.
    """
    while line := file.readline(max_bytes + 1):
        if len(line) > max_bytes:
            raise OSError(errno.EFBIG, f"a line of it is longer than {max_bytes:,} bytes")
        yield line
