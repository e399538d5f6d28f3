"""Small files that are read whole: nothing that is no file, and no more than they may hold."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_UNSAID = 1 << 16
"""Bytes to look for where the system says 0: files it makes up when they are read."""


def read_small(path: str | os.PathLike[str], *, max_bytes: int) -> bytes:
    """The bytes of a regular file of at most `max_bytes`.

    A pipe could wait for ever and a device could give for ever, so neither is opened.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; `strerror` says which.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(None, "it is a device, pipe or socket, not a regular file")
    with path.open("rb") as file:  # of a folder the system says so
        data = b"" if status.st_size > max_bytes else file.read(max(status.st_size, _UNSAID) + 1)
    if max(status.st_size, len(data)) > max_bytes:
        raise OSError(None, f"it is larger than {max_bytes:,} bytes")
    return data
