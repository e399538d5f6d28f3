"""Paths as the file system takes them: `~` spelled out, and one place told from another."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TypeAlias

Place: TypeAlias = tuple[int, int, str]
"""Device and inode of what is there, and the names below it that are not there yet."""

SOURCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a source may be called: it becomes part of file names."""

_HALF = re.compile("[\ud800-\udfff]")


def expanded(path: str | os.PathLike[str]) -> str:
    """`~` and `~user` spelled out as a shell does; `~` of somebody unknown is a name like any."""
    return os.path.expanduser(os.fspath(path))


def json_bytes(text: str) -> bytes:
    """JSON as UTF-8, also where it speaks of a file whose name is not.

    Python carries the odd bytes of such a name as halves of characters, which JSON can spell out.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def put_whole(
    path: str | os.PathLike[str],
    data: bytes,
    *,
    part: str | os.PathLike[str],
    durable: bool = False,
) -> None:
    """Replace a file: written as `part` and then moved over it, so that nobody sees half of it.

    Raises:
        OSError: it cannot be written; nothing is left of the part.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)  # of a killed process; a link would lead to somebody's file
        with open(part, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def sync(path: str | os.PathLike[str]) -> None:
    """Make the bytes of a file durable, or the names in a folder: a power cut takes none back."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def place_of(path: str) -> Place:
    """The same for every way of writing a path: links, mounts, `..`, capitals where they are none.

    What is not there yet counts by the nearest folder that is, and the names below it.
    """
    there, below = path, ""
    while True:
        try:
            found = os.stat(there)
        except OSError:
            if not below:
                there = os.path.realpath(path)
            there, name = os.path.split(there)
            below = os.path.join(name, below) if below else name
        else:
            return found.st_dev, found.st_ino, below
