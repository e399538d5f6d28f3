"""`PictureFolder`: pictures that come into being whole in a folder; a list says which are ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SinkError
from pipeline.paths import put_whole, sync
from pipeline.sinks.files import check_position, prepare_folder, write_error
from pipeline.sinks.listed import Listed, called_alike, unfinished
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position

log = logging.getLogger(__name__)

_UNSYNCED = 256
"""Pictures that may wait for a flush; more are made durable when they are written."""


class PictureFolder:
    """A folder of one sink's pictures, each of which belongs to a frame.

    A picture is written under another name and renamed, so that no reader ever sees half of one.
    Removed and replaced is only what the folder's list says was written by a sink of this kind.

    Args:
        path: exists, and belongs to one source alone.
        suffix: jpg or png.
        quality: of JPEG, 1 to 100.
    """

    def __init__(self, path: Path, *, suffix: str, quality: int = 90) -> None:
        self.path = path
        self._suffix = suffix
        self._parameters = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == "jpg" else []
        self.began = False
        """Something was written or resumed; before, pictures of an older run may stand there."""
        self._listed = Listed(path)
        self._unsynced: list[Path] = []

    def begin(self) -> None:
        """Remove what an older run left; done once, unless resumed."""
        if self.began:
            return
        if not self._listed.known and next(called_alike(self.path), None) is not None:
            log.warning(
                "%s: pictures called like ours are there and no list says that they are; "
                "they stay and are not written over, remove them if they are of an older run",
                self.path,
            )
        self.resume(-1)

    def put(self, stem: str, pixels: NDArray[np.uint8]) -> str:
        """Write a picture; the name of its file.

        Args:
            stem: begins with the frame's index, eight digits or more.
            pixels: uint8 (H, W, 3) BGR, or (H, W, 4) with transparency.

        Raises:
            SinkFull: the disk is full.
            SinkError: it cannot be encoded or written, or a picture of another's has its name.
        """
        path = self.path / f"{stem}.{self._suffix}"
        part = unfinished(path)
        done, data = cv2.imencode(path.suffix, pixels, self._parameters)
        if not done:
            raise SinkError(f"{path}: cannot encode a picture of shape {pixels.shape}")
        self._refuse_foreign(path, part)
        try:
            self._listed.add(path.name.encode("ascii"))
            put_whole(path, data.tobytes(), part=part)
        except OSError as error:
            raise write_error(path, error) from error
        self._unsynced.append(path)
        if len(self._unsynced) >= _UNSYNCED:
            self.sync()
        return path.name

    def remove(self, names: Iterable[str]) -> None:
        """Take pictures away that were written here."""
        gone = {self.path / name for name in names}
        self._unsynced = [path for path in self._unsynced if path not in gone]
        try:
            for path in gone:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error

    def sync(self) -> None:
        """Return when everything written would survive a power cut.

        Raises:
            SinkError: it cannot be made durable.
        """
        try:
            self._listed.sync()
            for path in self._unsynced:
                sync(path)
            sync(self.path)
        except OSError as error:
            raise write_error(self.path, error) from error
        self._unsynced.clear()

    def indices(self) -> list[int]:
        """Of the pictures of ours that are there."""
        return [index for picture, index in self._listed.pictures() if picture.exists()]

    def check_resume(self, position: Position, *counts: str) -> None:
        """Whether this is the folder of `position`, which has these numbers.

        Raises:
            ConfigError: it is of another, or of another version.
        """
        check_position(self.path, position, *counts)

    def resume(self, last: int) -> None:
        """Remove the pictures behind a frame, and go on."""
        self.began = True
        try:
            self._listed.remove_after(last)
        except OSError as error:
            raise write_error(self.path, error) from error

    def adopt(self, *, last: int, count: int) -> None:
        """Take what a checkpoint from before there was a list speaks of, if it is all there."""
        if self._listed.known:
            return
        alike = sorted(called_alike(self.path), key=lambda found: found[1])
        ours = [p for p, i in alike if i <= last and p.suffix == f".{self._suffix}"]
        if ours and len(ours) == count:
            self._listed.adopt(ours)

    def close(self) -> None:
        """Let go of the folder."""
        self._listed.close()

    def _refuse_foreign(self, path: Path, part: Path) -> None:
        there = next((one for one in (path, part) if os.path.lexists(one)), None)
        if there is not None and not self._listed.has(path):
            raise SinkError(
                f"{there}: is there and not in the list of what was written; move it away, or name "
                "another folder"
            )


def open_folder(target: SinkTarget) -> PictureFolder:
    """Make and open the folder a sink's URL names.

    Raises:
        ConfigError: pictures of an older run are there, or the folder cannot be made.
        SinkError: another process writes there.
    """
    folder = target.path
    prepare_folder(target, folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: cannot be written; check its permissions")
    if not target.overwrite and next(called_alike(folder), None) is not None:
        raise ConfigError(
            f"{folder}: holds pictures already; use --overwrite to replace them or name another "
            "folder"
        )
    options = target.options
    return PictureFolder(folder, suffix=options["format"], quality=options["quality"])
