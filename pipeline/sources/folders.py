"""What stands in a folder or matches a glob: which entries are pictures, which are videos.

Names that begin with a dot are never entries (systems put sidecars there), for videos as for
pictures; a folder is no entry whatever it is called. Entries come in natural order.
"""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.paths import expanded
from pipeline.sources.schemes import (
    IMAGE_SUFFIXES,
    UNREAD_SUFFIXES,
    VIDEO_SUFFIXES,
    is_pattern,
    local_path,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entries:
    """What was found, each in natural order."""

    pictures: list[Path]
    videos: list[Path]
    others: list[Path]
    """Files whose name says neither."""
    folders: list[Path]

    @staticmethod
    def of(found: Iterable[Path]) -> Entries:
        """Sort what was found by what it is called, folders by what they are."""
        entries = Entries([], [], [], [])
        for path in sorted(found, key=natural_key):
            if path.name.startswith("."):
                continue
            suffix = path.suffix.lower()
            if path.is_dir():
                entries.folders.append(path)
            elif suffix in IMAGE_SUFFIXES:
                entries.pictures.append(path)
            elif suffix in VIDEO_SUFFIXES:
                entries.videos.append(path)
            else:
                entries.others.append(path)
                if suffix in UNREAD_SUFFIXES:
                    _say(str(path.parent), f"{suffix} is not read; a picture of that kind")
        return entries


def entries_of(url: str) -> Entries:
    """What a folder holds, a glob matches, or a path is.

    Raises:
        OSError: the folder cannot be read.
    """
    path = local_path(url)
    if is_pattern(url):
        return Entries.of(matches(expanded(url)))
    return Entries.of(path.iterdir() if os.path.isdir(path) else [path])


def name_within(url: str, path: Path) -> str:
    """What an entry is called within a folder or glob: its path from there, with `/`, as text."""
    base = local_path(url)
    if is_pattern(url):
        while is_pattern(str(base)):  # the first part without a wildcard
            base = base.parent
    elif not os.path.isdir(base):
        base = base.parent
    name = os.path.relpath(path, base) if path.is_relative_to(base) else path.name
    return os.fsencode(name).decode("utf-8", "replace")


def natural_key(path: Path) -> tuple[object, ...]:
    """Sorts `img2` before `img10`, in every part of a path; ties by the exact name."""
    return (
        [
            [(int(text), "") if at % 2 else (-1, text) for at, text in enumerate(pieces)]
            for pieces in (re.split(r"(\d+)", part) for part in path.parts)
        ],
        str(path),
    )


def matches(pattern: str) -> Iterator[Path]:
    """The paths a glob matches, each once; `**` stands for any number of folders.

    Unlike the library's, it goes into every folder below a `**` once, whichever links lead there:
    a link to a folder above it would be followed for ever.
    """
    parts = pattern.split("/")
    start = "/" if pattern.startswith("/") else ""
    named = [part for part in parts if part]
    found = _matching(start, [*named, ""] if pattern.endswith("/") else named)  # "": folders only
    yield from (Path(name) for name in dict.fromkeys(found) if name)


def _matching(base: str, parts: list[str]) -> Iterator[str]:
    """`base` is "" for the current folder."""
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        for folder in _folders_below(base):
            yield from _matching(folder, rest) if rest else (folder, *_listed(folder))
    elif glob.has_magic(part):
        for name in _names(base):
            if fnmatch.fnmatchcase(name, part) and (part[0] == "." or name[0] != "."):
                yield from _matching(os.path.join(base, name), rest)
    elif os.path.lexists(path := os.path.join(base, part)):
        yield from _matching(path, rest)


def _listed(folder: str) -> Iterator[str]:
    return (os.path.join(folder, name) for name in _names(folder) if name[0] != ".")


def _folders_below(base: str) -> Iterator[str]:
    """`base` and every folder below it once, by device and inode; a folder before links to it."""
    seen: set[tuple[int, int]] = set()
    real, linked = deque([base]), deque[str]()
    while real or linked:
        folder = real.popleft() if real else linked.popleft()
        try:
            status = os.stat(folder or ".")
        except OSError:
            continue
        if (identity := (status.st_dev, status.st_ino)) in seen:
            continue
        seen.add(identity)
        yield folder
        for path in _listed(folder):
            if os.path.isdir(path):
                (linked if os.path.islink(path) else real).append(path)


def _names(folder: str) -> list[str]:
    """Sorted; what is no folder matches nothing, nor what cannot be read, which is said."""
    try:
        return sorted(os.listdir(folder or "."))
    except (NotADirectoryError, FileNotFoundError):
        return []
    except OSError as error:
        _say(os.path.abspath(folder), f"{error.strerror}; what it holds")
        return []


@lru_cache(maxsize=256)  # a pattern is gone through several times before a run begins
def _say(folder: str, what: str) -> None:
    """That something in a folder is left out, once."""
    log.warning("%s: %s is left out", folder, what)
