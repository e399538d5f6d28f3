"""`frames:FOLDER`: single pictures, one file a frame."""

from __future__ import annotations

from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.pictures import PictureFolder, open_folder
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position, Status, StreamEnd


class FramesSink:
    """Lossless and in order; for a file source the same files after any crash and rerun.

    A picture is called by its frame index, `00000123.jpg`. On a full disk those written stay.

    Args:
        folder: where the pictures go.
        annotated: draw the instances.
        every: write only frames whose index this divides.
    """

    def __init__(self, folder: PictureFolder, *, annotated: bool = True, every: int = 1) -> None:
        self._folder = folder
        self._annotated = annotated
        self._every = every
        self._count = 0
        self._last = -1

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Write one picture, or none where `every` leaves the frame out.

        Raises:
            SinkFull: the disk is full.
            SinkError: it cannot be encoded or written, or a picture of another's has its name.
        """
        self._folder.begin()
        if result.index % self._every == 0:
            pixels = picture.annotated() if self._annotated else picture.image
            self._folder.put(f"{result.index:08d}", pixels)
            self._count += 1
        self._last = result.index

    def flush(self) -> Position:
        """Wait until the pictures are on the disk."""
        self._folder.begin()  # nothing of an older run is behind this position
        self._folder.sync()
        return {"path": str(self._folder.path), "records": self._count, "last": self._last}

    def check_resume(self, position: Position) -> None:
        """Whether this is the folder of `position`."""
        self._folder.check_resume(position, "records", "last")

    def resume(self, position: Position) -> None:
        """Remove the pictures that came after `position`."""
        self._adopt(position)
        if self._last >= 0:
            self._folder.resume(self._last)

    def resume_keeping(self, position: Position) -> None:
        """Keep every picture that is there; they come into being whole."""
        self._adopt(position)
        there = self._folder.indices()
        self._count += sum(index > self._last for index in there)
        self._last = max([self._last, *there])
        self._folder.resume(self._last)

    def finish(self, end: StreamEnd) -> None:
        """There is no place for the end record."""
        if self._folder.began or end.outcome.status is not Status.FAILED:
            self._folder.begin()

    def close(self) -> None:
        """Let go of the folder."""
        self._folder.close()

    def _adopt(self, position: Position) -> None:
        self.check_resume(position)
        self._count, self._last = position["records"], position["last"]
        self._folder.adopt(last=self._last, count=self._count)


def open_frames(target: SinkTarget) -> FramesSink:
    """Open `frames:FOLDER`.

    Raises:
        ConfigError: pictures of an older run are there, or the folder cannot be made.
    """
    options = target.options
    folder = open_folder(target)
    return FramesSink(folder, annotated=options["annotated"], every=options["every"])
