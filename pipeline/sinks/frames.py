"""`frames:FOLDER`: single pictures, one file a frame."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import cv2

from pipeline.errors import ConfigError, SinkError
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.files import check_position, prepare_folder, sync_folder, write_error
from pipeline.sinks.listed import Listed, called_alike, unfinished
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position, Status, StreamEnd

log = logging.getLogger(__name__)

_UNSYNCED = 256
"""Pictures that may wait for a flush; more are made durable by `write` itself."""


class FramesSink:
    """Lossless and in order; for a file source the same files after any crash and rerun.

    A picture is called by its frame index, `00000123.jpg`. It is written under another name and
    renamed, so that no reader ever sees half of one. On a full disk the pictures written stay.
    Removed and replaced is only what the folder's list says was written by a sink of this kind.

    Args:
        folder: where the pictures go; it exists and belongs to this source alone.
        suffix: jpg or png.
        quality: of JPEG, 1 to 100.
        annotated: draw the instances.
        every: write only frames whose index this divides.
    """

    def __init__(
        self,
        folder: Path,
        *,
        suffix: str,
        quality: int = 90,
        annotated: bool = True,
        every: int = 1,
    ) -> None:
        self._folder = folder
        self._suffix = suffix
        self._parameters = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == "jpg" else []
        self._annotated = annotated
        self._every = every
        self._count = 0
        self._last = -1
        self._began = False
        self._listed = Listed(folder)
        self._unsynced: list[Path] = []

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Write one picture, or none where `every` leaves the frame out.

        Raises:
            SinkFull: the disk is full.
            SinkError: it cannot be encoded or written, or a picture of another's has its name.
        """
        self._begin()
        if result.index % self._every == 0:
            pixels = picture.annotated() if self._annotated else picture.image
            path = self._folder / f"{result.index:08d}.{self._suffix}"
            done, data = cv2.imencode(f".{self._suffix}", pixels, self._parameters)
            if not done:
                raise SinkError(f"{path}: cannot encode a picture of shape {pixels.shape}")
            self._put(path, data.tobytes())
            self._count += 1
        self._last = result.index

    def flush(self) -> Position:
        """Wait until the pictures are on the disk."""
        self._begin()  # nothing of an older run is behind this position
        self._sync()
        return {"path": str(self._folder), "records": self._count, "last": self._last}

    def check_resume(self, position: Position) -> None:
        """Whether this is the folder of `position`."""
        check_position(self._folder, position, "records", "last")

    def resume(self, position: Position) -> None:
        """Remove the pictures that came after `position`."""
        check_position(self._folder, position)
        self._count, self._last = position["records"], position["last"]
        self._began = self._last >= 0
        self._adopt()
        self._remove_after(self._last)

    def resume_keeping(self, position: Position) -> None:
        """Keep every picture that is there; they come into being whole."""
        check_position(self._folder, position)
        self._count, self._last = position["records"], position["last"]
        self._adopt()
        there = [index for picture, index in self._listed.pictures() if picture.exists()]
        self._count = position["records"] + sum(index > position["last"] for index in there)
        self._last = max([position["last"], *there])
        self._began = True
        self._remove_after(self._last)

    def finish(self, end: StreamEnd) -> None:
        """There is no place for the end record."""
        if self._began or end.outcome.status is not Status.FAILED:
            self._begin()

    def close(self) -> None:
        """Let go of the folder."""
        self._listed.close()

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            if not self._listed.known and next(called_alike(self._folder), None) is not None:
                log.warning(
                    "%s: pictures called like ours are there and no list says that they are; "
                    "they stay and are not written over, remove them if they are of an older run",
                    self._folder,
                )
            self._remove_after(-1)

    def _put(self, path: Path, data: bytes) -> None:
        part = unfinished(path)
        self._refuse_foreign(path, part)
        try:
            self._listed.add(path)
            part.unlink(missing_ok=True)
            part.write_bytes(data)
            os.replace(part, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise write_error(path, error) from error
        self._unsynced.append(path)
        if len(self._unsynced) >= _UNSYNCED:
            self._sync()

    def _refuse_foreign(self, path: Path, part: Path) -> None:
        there = next((one for one in (path, part) if os.path.lexists(one)), None)
        if there is not None and not self._listed.has(path):
            raise SinkError(
                f"{there}: is there and not in the list of what was written; move it away, or name "
                "another folder"
            )

    def _sync(self) -> None:
        try:
            self._listed.sync()
            for path in self._unsynced:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            sync_folder(self._folder)
        except OSError as error:
            raise write_error(self._folder, error) from error
        self._unsynced.clear()

    def _remove_after(self, last: int) -> None:
        try:
            self._listed.remove_after(last)
        except OSError as error:
            raise write_error(self._folder, error) from error

    def _adopt(self) -> None:
        """A checkpoint from before there was a list knows how many pictures it speaks of."""
        if self._listed.known:
            return
        alike = sorted(called_alike(self._folder), key=lambda found: found[1])
        ours = [p for p, i in alike if i <= self._last and p.suffix == f".{self._suffix}"]
        if ours and len(ours) == self._count:
            self._listed.adopt(ours)


def open_frames(target: SinkTarget) -> FramesSink:
    """Open `frames:FOLDER`.

    Raises:
        ConfigError: pictures of an older run are there, or the folder cannot be made.
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
    return FramesSink(
        folder,
        suffix=target.options["format"],
        quality=target.options["quality"],
        annotated=target.options["annotated"],
        every=target.options["every"],
    )
