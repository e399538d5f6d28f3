"""The list of the pictures that were written into a folder, by rising index."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.sinks.listfile import ListFile

NAME = ".maskstream-frames"
_OURS = re.compile(r"([0-9]{8,18})(-[0-9]+)?\.(jpg|png)")


class Listed(ListFile):
    """The pictures of a folder that sinks of this kind wrote, this one and others before it.

    Args:
        folder: where they are.

    Raises:
        SinkError: another process is writing there, or the list is no file.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / NAME, "pictures")

    def pictures(self) -> Iterator[tuple[Path, int]]:
        """Path and index of each, whether it is still there or not."""
        for line in self.lines():
            if match := _OURS.fullmatch(line.decode("ascii", "replace")):
                yield self.path.with_name(match[0]), int(match[1])

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
                kept.append(picture)
        self.adopt(kept)

    def adopt(self, pictures: list[Path]) -> None:
        """These are ours and no others, such as those of a version without a list."""
        self.replace(picture.name.encode("ascii") for picture in pictures)


def unfinished(picture: Path) -> Path:
    """What a picture is called until it is whole."""
    return picture.with_name(f"{picture.name}.part")


def called_alike(folder: Path) -> Iterator[tuple[Path, int]]:
    """Path and index of what is called like one of ours, whoever wrote it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _OURS.fullmatch(entry.name):
                yield Path(entry.path), int(match[1])
