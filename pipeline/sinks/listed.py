"""The list of the pictures that were written into a folder; what is not in it is another's.

A name is in the list before its picture is in the folder, so whatever a killed process leaves is
known to be ours. Pictures are listed by rising index.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline.delivery.lock import lock
from pipeline.errors import SinkError

NAME = ".maskstream-frames"
_OURS = re.compile(r"([0-9]{8,18})(-[0-9]+)?\.(jpg|png)")


class Listed:
    """The pictures of a folder that sinks of this kind wrote, this one and others before it.

    Args:
        folder: where they are.

    Raises:
        SinkError: another process is writing there, or the list is no file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._fd = -1
        self.known = os.path.lexists(self._path)
        """False: nothing was written, or by a version that kept no list."""
        if self.known and not stat.S_ISREG(os.lstat(self._path).st_mode):
            raise SinkError(
                f"{self._path}: is no regular file, so no list of the pictures that were written; "
                "remove it, or name another folder"
            )
        if self.known:
            self._open(self._path)

    def add(self, picture: Path) -> None:
        """List a picture that is about to be written."""
        if self._fd < 0:
            self._open(self._path)
            self.known = True
        os.write(self._fd, f"{picture.name}\n".encode("ascii"))

    def pictures(self) -> Iterator[tuple[Path, int]]:
        """Path and index of each, whether it is still there or not."""
        if not self.known:
            return
        with self._path.open("rb") as file:
            for line in file:
                if match := _OURS.fullmatch(line.decode("ascii", "replace").strip()):
                    yield self._path.with_name(match[0]), int(match[1])

    def has(self, picture: Path) -> bool:
        """Whether a picture is listed."""
        return any(listed == picture for listed, _ in self.pictures())

    def remove_after(self, last: int) -> None:
        """Delete the pictures behind an index, finished or not, and take them off the list."""
        if not self.known:
            return
        kept = []
        for picture, index in self.pictures():
            unfinished(picture).unlink(missing_ok=True)
            if index > last:
                picture.unlink(missing_ok=True)
            else:
                kept.append(f"{picture.name}\n")
        self._replace("".join(kept).encode("ascii"))

    def adopt(self, pictures: list[Path]) -> None:
        """Take over what a version without a list has written."""
        self._replace("".join(f"{picture.name}\n" for picture in pictures).encode("ascii"))

    def sync(self) -> None:
        """Make the list durable."""
        if self._fd >= 0:
            os.fsync(self._fd)

    def close(self) -> None:
        """Let go of the list."""
        if self._fd >= 0:
            os.close(self._fd)  # also ends the lock
            self._fd = -1

    def _replace(self, content: bytes) -> None:
        fresh = self._path.with_name(f"{NAME}.new")
        fresh.unlink(missing_ok=True)  # of a killed process; a link would lead to somebody's file
        with fresh.open("xb") as file:
            file.write(content)
        self.close()
        self._open(fresh)
        os.replace(fresh, self._path)
        self.known = True

    def _open(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o666)
        try:
            lock(fd, self._path.parent)
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                os.write(fd, b"\n")  # behind a name that was cut off and is none
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd


def unfinished(picture: Path) -> Path:
    """What a picture is called until it is whole."""
    return picture.with_name(f"{picture.name}.part")


def called_alike(folder: Path) -> Iterator[tuple[Path, int]]:
    """Path and index of what is called like one of ours, whoever wrote it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _OURS.fullmatch(entry.name):
                yield Path(entry.path), int(match[1])
