"""`crops:FOLDER`: the best picture of every track, one file a track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SinkError
from pipeline.events.life import Life
from pipeline.events.log import EventLog
from pipeline.events.view import window
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.pictures import PictureFolder, open_folder
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position, Status, StreamEnd


class CropsSink:
    """Of every track the frame that shows it best; the same files after any crash and rerun.

    A crop is called by its frame and its track, `00000123-7.jpg`, and is replaced where a later
    frame shows the track clearly better; the one before goes two flushes later, so that whatever a
    checkpoint speaks of is there. After a crash of a camera's process one that went on may have
    more than one.

    Args:
        folder: where crops go.
        log: follows the tracks.
        margin: this share of the box's longer side around it.
        cutout: what is not of the mask is transparent; png only.
    """

    def __init__(
        self, folder: PictureFolder, log: EventLog, *, margin: float, cutout: bool
    ) -> None:
        self._folder, self._log = folder, log
        self._margin, self._cutout = margin, cutout
        self._best: dict[int, str] = {}
        """Name of the crop of each track that is there."""
        self._superseded: list[str] = []
        self._old: list[str] = []
        """Superseded before the last flush."""
        self._last = -1

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Write the crops of tracks that this frame shows best.

        Raises:
            SinkFull: the disk is full.
            SinkError: there are no track ids, or a crop cannot be encoded or written.
        """
        self._folder.begin()
        try:
            told = self._log.see(result, picture)
        except ValueError as error:
            raise SinkError(
                f"{self._folder.path}: crops are of tracks and {error}; choose a tracker"
            ) from error
        for event in told.events:
            if event["event"] == "end":
                self._best.pop(event["track"], None)
        for life in told.improved:
            self._put(life, result, picture)
        self._last = result.index

    def flush(self) -> Position:
        """Wait until the crops are on the disk."""
        self._folder.begin()  # nothing of an older run is behind this position
        self._folder.remove(self._old)
        self._old, self._superseded = self._superseded, []
        self._folder.sync()
        return {
            "path": str(self._folder.path),
            "last": self._last,
            "log": self._log.state(),
            "best": [[track, name] for track, name in self._best.items()],
            "superseded": self._old,
        }

    def check_resume(self, position: Position) -> None:
        """Whether this is the folder of `position`."""
        self._folder.check_resume(position, "last")
        if "log" not in position:
            raise ConfigError(
                f"{self._folder.path}: cannot be resumed, the last checkpoint knows of no crops; "
                "start over with --overwrite"
            )

    def resume(self, position: Position) -> None:
        """Remove the crops that came after `position`."""
        self.check_resume(position)
        self._restore(position)
        if self._last >= 0:
            self._folder.resume(self._last)

    def resume_keeping(self, position: Position) -> None:
        """Keep every crop that is there; they come into being whole."""
        self.check_resume(position)
        self._restore(position)
        there = self._folder.indices()
        self._folder.resume(max([self._last, *there]))

    def finish(self, end: StreamEnd) -> None:
        """Only the best are left."""
        if self._folder.began or end.outcome.status is not Status.FAILED:
            self._folder.begin()
            self._folder.remove(self._old + self._superseded)
            self._old, self._superseded = [], []

    def close(self) -> None:
        """Let go of the folder."""
        self._folder.close()

    def _restore(self, position: Position) -> None:
        self._log.restore(position["log"])
        self._last = position["last"]
        self._best = {track: name for track, name in position["best"]}
        self._old = list(position["superseded"])

    def _put(self, life: Life, result: FrameResult, picture: Picture) -> None:
        pixels = self._pixels(life, picture.image)
        name = self._folder.put(f"{result.index:08d}-{life.track}", pixels)
        if (before := self._best.get(life.track)) is not None:
            self._superseded.append(before)
        self._best[life.track] = name

    def _pixels(self, life: Life, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x1, y1, x2, y2 = window(image.shape[:2], life.last.box, margin=self._margin)
        pixels = image[y1:y2, x1:x2]
        if not self._cutout:
            return pixels
        alpha = np.zeros((y2 - y1, x2 - x1), np.uint8)
        left, top, mask = life.last.mask.crop(0)
        inside = mask[max(0, y1 - top) : max(0, y2 - top), max(0, x1 - left) : max(0, x2 - left)]
        top, left = max(0, top - y1), max(0, left - x1)
        height, width = inside.shape
        alpha[top : top + height, left : left + width][inside] = 255
        return np.dstack([pixels, alpha])


def open_crops(target: SinkTarget) -> CropsSink:
    """Open `crops:FOLDER`.

    Raises:
        ConfigError: pictures of an older run are there, the folder cannot be made, or options do
            not go together.
    """
    options = target.options
    return CropsSink(
        open_folder(target),
        EventLog(update_s=0.0, gone_s=options["gone"]),
        margin=options["margin"] / 100,
        cutout=options["cutout"],
    )
