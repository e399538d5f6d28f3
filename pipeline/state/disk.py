"""`Disk`: small files that are there whole or not at all, on this machine's disks or elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipeline.paths import put_whole, sync
from pipeline.reading import read_small

LARGEST_BYTES = 64 << 20


class Disk(Protocol):
    """Where state is kept. Any thread.

    Every method raises `OSError` where it cannot do what it says; the `strerror` of that is one
    line without secrets.
    """

    def shown(self, path: str) -> str:
        """As messages call it."""

    def read(self, path: str) -> bytes:
        """The whole file; `FileNotFoundError` where there is none."""

    def replace(self, path: str, data: bytes) -> None:
        """Put a file there, whole or not at all; durable when this returns."""

    def write_over(self, path: str, data: bytes) -> None:
        """Put other bytes of the same length into a file, with no need for more room; durable."""

    def make(self, path: str, data: bytes) -> bool:
        """Make a file with its content, durable; False: there is one, and it stays."""

    def hold(self, path: str, data: bytes) -> Callable[[], None] | None:
        """`make`, and it is held until the process ends or what is returned is called."""

    def is_held(self, path: str) -> bool | None:
        """Whether a process that lives holds it; None: that cannot be told here."""

    def remove(self, path: str) -> None:
        """Forget a file; nothing where there is none."""

    def names(self, folder: str, behind: str = "") -> list[str]:
        """The files right in a folder that sort behind this name, in order."""


class LocalDisk:
    """A `Disk` that is what this machine has mounted; folders are made where they are missing."""

    def shown(self, path: str) -> str:
        """The path itself."""
        return path

    def read(self, path: str) -> bytes:
        """Of a regular file."""
        return read_small(path, max_bytes=LARGEST_BYTES)

    def replace(self, path: str, data: bytes) -> None:
        """Written beside it, then moved over it: a reader sees the old one or the new one."""
        folder, fresh = os.path.dirname(path), f"{path}.new"
        os.makedirs(folder or ".", exist_ok=True)
        put_whole(path, data, part=fresh, durable=True)
        sync(folder or ".")

    def write_over(self, path: str, data: bytes) -> None:
        """In place, so that there is room on a full disk too; a link is not followed."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.pwrite(fd, data, 0)
            os.fsync(fd)
        finally:
            os.close(fd)

    def make(self, path: str, data: bytes) -> bool:
        """Written beside it, then linked to its name."""
        hold = self._linked(path, data)
        if hold is None:
            return False
        hold()
        return True

    def hold(self, path: str, data: bytes) -> Callable[[], None] | None:
        """Locked before it has its name: nobody ever sees it free while its holder lives."""
        return self._linked(path, data, locked=True)

    def is_held(self, path: str) -> bool | None:
        """A process that is killed lets go at once; None where the file system has no locks."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # who only asks is in nobody's way
        except BlockingIOError:
            return True
        except OSError:
            return None
        finally:
            os.close(fd)
        return False

    def remove(self, path: str) -> None:
        """Also where it is a link."""
        Path(path).unlink(missing_ok=True)

    def names(self, folder: str, behind: str = "") -> list[str]:
        """None where there is no such folder."""
        try:
            return sorted(name for name in os.listdir(folder) if name > behind)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _linked(self, path: str, data: bytes, *, locked: bool = False) -> Callable[[], None] | None:
        folder = os.path.dirname(path)
        os.makedirs(folder or ".", exist_ok=True)
        fresh = os.path.join(folder, f".{secrets.token_hex(4)}")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            if locked:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(fd, fcntl.LOCK_EX)
            os.write(fd, data)
            os.fsync(fd)  # or a power cut leaves a name of nothing
            os.link(fresh, path)
        except FileExistsError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        finally:
            os.unlink(fresh)
        sync(folder or ".")
        return lambda: os.close(fd)


LOCAL = LocalDisk()
