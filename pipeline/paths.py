"""Paths as the file system takes them: `~` spelled out, and one place told from another."""

from __future__ import annotations

import os
from typing import TypeAlias

Place: TypeAlias = tuple[int, int, str]
"""Device and inode of what is there, and the names below it that are not there yet."""


def expanded(path: str | os.PathLike[str]) -> str:
    """`~` and `~user` spelled out as a shell does; `~` of somebody unknown is a name like any."""
    return os.path.expanduser(os.fspath(path))


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
