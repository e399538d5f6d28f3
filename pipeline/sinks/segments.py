"""`Segments`: the files a rolling video is made of, listed before each is there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.sinks.files import write_error
from pipeline.sinks.listfile import ListFile
from pipeline.sinks.mp4 import TIMESCALE
from pipeline.sinks.template import moment

LIST = ".maskstream-segments"
"""What the list in a folder of its own is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSegment:
    """One file of a rolling video, as its line in the list tells."""

    number: int
    """From 0; of the files that are gone, too."""
    file: str = ""
    """Its path, from the folder of the list."""
    start: str | None
    """When its first picture was taken, UTC; None: the source has no clock."""
    epoch: int
    frame: int
    """Index of its first picture; `epoch` and `pts_s` likewise."""
    pts_s: float
    ticks: int
    """Time of its first picture in the video that all files make, 1/90000 s."""
    size: tuple[int, int]
    """(height, width) of its pictures."""
    init: str | None = None
    """The file with the header, where it does not begin with it."""
    breaks: int = 0
    """How often the video was interrupted before it."""

    @property
    def start_s(self) -> float:
        """Seconds since 1970, or where the source has no clock its own time."""
        if self.start is None:
            return self.pts_s
        return datetime.fromisoformat(self.start).timestamp()

    def as_json(self) -> dict[str, Any]:
        """Its line; what is not said is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def utc(at_s: float | None) -> str | None:
    """A time as it is listed, to the millisecond."""
    if at_s is None:
        return None
    return f"{moment(at_s).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


class Segments:
    """The list and its files.

    Args:
        path: of the list; paths in it begin at its folder.

    Raises:
        SinkError: another process is writing there, or the list is no file or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._list = ListFile(path, "segments")
        self.found = self._list.known
        """There was a list, of an older run or of this one before it was killed."""
        self.all = list(listed(path))
        """Oldest first; what was removed is not among them."""
        try:
            self._list.make()
        except OSError as error:
            raise write_error(path, error) from error

    @property
    def next(self) -> int:
        """The number of the next one."""
        return self.all[-1].number + 1 if self.all else 0

    def place(self, segment: VideoSegment) -> Path:
        """Where the file of a segment is."""
        return self.path.parent / segment.file

    def find(self, number: int) -> VideoSegment | None:
        """The one with a number; None: it is not there any more."""
        return next((one for one in self.all if one.number == number), None)

    def free(self, path: str) -> str:
        """A name that nothing has: this one, else with the lowest number behind it.

        Args:
            path: from the folder of the list.
        """
        stem, suffix = os.path.splitext(path)
        candidate, number = path, 1
        while os.path.lexists(self.path.parent / candidate):
            number += 1
            candidate = f"{stem}-{number}{suffix}"
        return candidate

    def add(self, segment: VideoSegment) -> None:
        """List one that is about to be written.

        Raises:
            OSError: it cannot be listed.
        """
        self._list.add(_line(segment))
        self.all.append(segment)

    def keep(self, numbers: range) -> None:
        """Remove the files of all others, and take them off the list.

        Raises:
            OSError: they cannot be removed.
        """
        kept = [one for one in self.all if one.number in numbers]
        if len(kept) == len(self.all):
            return
        for name in _files(self.all) - _files(kept):
            path = self.path.parent / name
            path.unlink(missing_ok=True)
            self._remove_empty(path.parent)
        self._list.replace(map(_line, kept))
        self.all = kept

    def sync(self) -> None:
        """Make the list durable."""
        self._list.sync()

    def remove(self) -> None:
        """Let go of the list and delete it."""
        self._list.remove()

    def leave(self) -> None:
        """Let go of a list that nothing was done with; one that was made here goes."""
        if not self.found:
            self._list.remove()
        self._list.close()

    def close(self) -> None:
        """Let go of the list."""
        self._list.close()

    def _remove_empty(self, folder: Path) -> None:
        """Remove the folders that are empty now, such as that of a day."""
        with contextlib.suppress(OSError):
            while folder != self.path.parent:
                folder.rmdir()
                folder = folder.parent


def listed(path: Path) -> Iterator[VideoSegment]:
    """What a list says; lines that are none, and paths that leave its folder, are left out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            segment = _read(json.loads(line))
            if all(map(_inside, _files([segment]))):
                yield segment


def files_of(path: Path) -> list[str]:
    """The files a list says were written."""
    return [str(path.parent / name) for name in sorted(_files(listed(path)))]


def ticks(seconds: float) -> int:
    """In the unit of a video's times."""
    return round(seconds * TIMESCALE)


def _read(values: dict[str, Any]) -> VideoSegment:
    height, width = values["size"]
    return VideoSegment(
        number=int(values["number"]),
        file=str(values["file"]),
        start=values.get("start"),
        epoch=int(values["epoch"]),
        frame=int(values["frame"]),
        pts_s=float(values["pts_s"]),
        ticks=int(values["ticks"]),
        size=(int(height), int(width)),
        init=values.get("init"),
        breaks=int(values["breaks"]),
    )


def _line(segment: VideoSegment) -> bytes:
    return json.dumps(segment.as_json(), separators=(",", ":")).encode()


def _files(segments: Iterable[VideoSegment]) -> set[str]:
    return {name for one in segments for name in (one.file, one.init) if name is not None}


def _inside(name: str) -> bool:
    return bool(name) and not os.path.isabs(name) and ".." not in name.split("/")
