"""One writer at a time: an open file, or the folder it stands for, is one process's alone."""

from __future__ import annotations

import errno
import fcntl
import os

from pipeline.errors import SinkError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says of a full disk."""


class Taken(SinkError):
    """Another process is writing there."""


def lock(fd: int, path: str | os.PathLike[str]) -> None:
    """Make an open file ours until it is closed.

    Raises:
        Taken: it is another's.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Taken(f"{path}: another process is writing it; stop that one first") from None
    except OSError:  # a file system without locks
        return
