"""Output files that grow by whole pieces: made once, cut back after a crash, never torn by us."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.delivery.lock import FULL, lock
from pipeline.errors import ConfigError, SinkError, SinkFull
from pipeline.paths import sync
from pipeline.sinks.destination import refuse_outside
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position, Status, StreamEnd


class OutputFile:
    """One file that is appended to in pieces; a piece that fails is not left there in part.

    What a process wrote survives its death, since each piece is handed to the kernel at once; only
    the piece it dies in may be torn, and `resume` cuts that off. `sync` makes what was written
    survive the machine's death too. The file may have a `tail`, bytes that close it behind the last
    piece and are overwritten by the next, so that it is well-formed at any moment.

    Raises:
        ConfigError: the file exists and is not to be overwritten, or cannot be written.
        SinkError: another process is writing it.
    """

    def __init__(self, target: SinkTarget, *, head: bytes = b"", tail: bytes = b"") -> None:
        self.path = target.path
        self.size = 0
        """Bytes of the pieces written; the tail is not counted."""
        self._head, self._tail = head, tail
        self._error: SinkError | None = None
        self.began = False
        """Something was written or resumed; before, an older file may still stand there."""
        self._folder_synced = False
        prepare_folder(target, self.path.parent)
        self._fd, self._created = _open(self.path, overwrite=target.overwrite)

    def never_began(self, end: StreamEnd) -> bool:
        """Whether the stream failed before there was anything to write.

        Then no file is made, so that nothing stands in the way of the next try, and an older one
        that was to be overwritten stays.
        """
        return not self.began and end.outcome.status is Status.FAILED

    def begin(self) -> None:
        """Drop what an older run left; done by the first `append` if not before, or resumed."""
        if not self.began:
            self.began = True
            self._cut(0)
            if self._head or self._tail:
                self.append(self._head)

    def restart(self) -> None:
        """Drop every piece that is there, of an older run or of this one.

        Raises:
            SinkError: it cannot be cut.
        """
        self.began, self.size = True, 0
        try:
            self._cut(0)
        except OSError as error:
            raise write_error(self.path, error) from error

    def append(self, piece: bytes) -> None:
        """Add a piece.

        Raises:
            SinkFull: the disk is full; the file ends with the piece before, and stays so.
            SinkError: it cannot be written any more.
        """
        if self._error is not None:
            raise self._error
        try:
            self.begin()
            _write_all(self._fd, piece + self._tail, self.size)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut(self.size)
            self._error = write_error(self.path, error)
            raise self._error from error
        self.size += len(piece)

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes that are already there.

        Raises:
            SinkError: it cannot be written.
        """
        try:
            _write_all(self._fd, data, offset)
        except OSError as error:
            raise write_error(self.path, error) from error

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that are already there."""
        return os.pread(self._fd, length, offset)

    def position(self, **more: Any) -> dict[str, Any]:
        """Where the file stands, with what else its sink wants to remember; for `resume`."""
        return {"path": str(self.path), "bytes": self.size, **more}

    def resume(self, position: Position, *, whole: Callable[[bytes], int] | None = None) -> bytes:
        """Cut back to what was there at `position`; from before the first piece: begin anew.

        Args:
            position: what `position` said.
            whole: says how many of the bytes that follow are whole pieces and stay; None: none.

        Returns:
            The bytes that stay.

        Raises:
            ConfigError: the position is of another file, or the file is shorter.
        """
        there = self.check_resume(position)
        size = position["bytes"]
        rest = os.pread(self._fd, there - size, size) if whole is not None else b""
        kept = rest[: whole(rest)] if whole is not None else b""
        size += len(kept)
        if size:
            self.began = True
            self.size = size
            try:
                self._cut(size)
            except OSError as error:
                raise write_error(self.path, error) from error
        return kept

    def check_resume(self, position: Position, *counts: str) -> int:
        """Whether the file can be cut back to `position`; how many bytes it has.

        Args:
            position: what `position` said.
            counts: the numbers its sink wants to find there.

        Raises:
            ConfigError: the position is of another file or version, or the file is shorter.
        """
        check_position(self.path, position, "bytes", *counts)
        there = os.fstat(self._fd).st_size
        if there < position["bytes"]:
            raise ConfigError(
                f"{self.path}: cannot be resumed, the last checkpoint names {position['bytes']} "
                f"bytes, the file has {there}; put it back or start over with --overwrite"
            )
        return there

    def sync(self) -> None:
        """Return when everything written would survive a power cut.

        Raises:
            SinkError: it cannot be made durable.
        """
        if self._error is not None:
            raise self._error
        try:
            os.fsync(self._fd)
            if not self._folder_synced:
                sync(self.path.parent)
                self._folder_synced = True
        except OSError as error:
            raise write_error(self.path, error) from error

    def close(self) -> None:
        """Let go of the file; one that was made here and never written is removed."""
        if self._created and not self.began:
            self.remove()
        if self._fd >= 0:
            os.close(self._fd)  # also ends the lock
            self._fd = -1

    def remove(self) -> None:
        """Let go of the file and delete it."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._fd)
            self._fd = -1

    def _cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        if size and self._tail:
            _write_all(self._fd, self._tail, size)


def whole_lines(rest: bytes) -> int:
    """Length of the lines that are complete."""
    return rest.rfind(b"\n") + 1


def prepare_folder(target: SinkTarget, folder: Path) -> None:
    """Make a folder for output, inside the target's root.

    Raises:
        ConfigError: it would lie outside the root, or cannot be made.
    """
    refuse_outside(folder, Path(target.root))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise write_error(folder, error) from error
        raise ConfigError(f"{folder}: cannot make the output folder: {error.strerror}") from error


def check_position(path: Path, position: Position, *counts: str) -> None:
    """Refuse a position of another file or version: cutting this one by it would destroy it.

    Args:
        path: of this file.
        position: what was remembered.
        counts: the numbers that have to be in it.

    Raises:
        ConfigError: names both, or what is missing.
    """
    other = position.get("path", "another kind of sink")
    if os.path.abspath(other) != os.path.abspath(path):
        raise ConfigError(
            f"{path}: cannot be resumed, the last checkpoint is of {other}; name that one again or "
            "start over with --overwrite"
        )
    for name in counts:
        count = position.get(name)
        if not isinstance(count, int) or count < -1:  # -1: nothing yet
            raise ConfigError(
                f"{path}: cannot be resumed, the last checkpoint is of another version and says "
                f"nothing of its {name}; start over with --overwrite or name another path"
            )


def write_error(path: Path, error: OSError) -> SinkError:
    """The sink's error for an operating system's: a full disk has its own class."""
    if error.errno in FULL:
        return SinkFull(
            f"{path}: the disk is full ({error.strerror}); what was written is whole, "
            "free some space and run again"
        )
    return SinkError(f"{path}: cannot write: {error.strerror}")


def _open(path: Path, *, overwrite: bool) -> tuple[int, bool]:
    """File descriptor, and whether the file was made by this call."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            fd, created = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            if not overwrite:
                raise
            fd, created = os.open(path, flags), False
    except OSError as error:
        raise _open_error(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ConfigError(f"{path}: is no regular file; name one that can be cut back")
        lock(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd, created


def _open_error(path: Path, error: OSError) -> ConfigError | SinkError:
    if isinstance(error, FileExistsError):
        return ConfigError(f"{path}: exists; use --overwrite to replace it or name another path")
    if error.errno == errno.ELOOP:
        return ConfigError(f"{path}: is a symbolic link; remove it or name the file it leads to")
    if error.errno in FULL:
        return write_error(path, error)
    return ConfigError(f"{path}: cannot be written: {error.strerror}; check folder and permissions")


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
