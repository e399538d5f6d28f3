"""`mots:PATH`: MOTS text as the trackers' evaluation tools read it."""

from __future__ import annotations

from pipeline.errors import SinkError
from pipeline.formats import mots
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.files import OutputFile, whole_lines
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position, StreamEnd


class MotsSink:
    """Lossless and in order; for a file source the same bytes after any crash and rerun.

    One line `frame id class height width rle` for each instance. Masks are made disjoint, the
    higher score on top, and one that loses all its pixels is left out. The lines of a frame are
    handed to the kernel together. Neither scores, labels nor the end record have a place in it.

    Args:
        file: where the lines go.
        start: number of the first frame of the source; 0, or 1 as in MOTSChallenge.
    """

    def __init__(self, file: OutputFile, *, start: int = 0) -> None:
        self._file = file
        self._start = start
        self._frames = 0

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Append the lines of a frame.

        Raises:
            SinkError: the instances have no track ids.
        """
        found = result.instances
        if len(found) and found.track_ids is None:
            raise SinkError(
                f"{self._file.path}: MOTS needs track ids and frame {result.index} of "
                f"{result.source_id} has none; choose a tracker or the sink coco:"
            )
        lines = mots.lines(found, frame=result.index + self._start)
        self._file.append("".join(f"{line}\n" for line in lines).encode("ascii"))
        self._frames += 1

    def flush(self) -> Position:
        """Wait until the lines are on the disk."""
        self._file.begin()  # nothing of an older run is behind this position
        self._file.sync()
        return self._file.position(records=self._frames)

    def check_resume(self, position: Position) -> None:
        """Whether this is the file of `position`, with all that was there."""
        self._file.check_resume(position, "records")

    def resume(self, position: Position) -> None:
        """Cut the file back to the lines that were there at `position`."""
        self._file.resume(position)
        self._frames = position["records"]

    def resume_keeping(self, position: Position) -> None:
        """Cut the file back to its last whole line."""
        kept = self._file.resume(position, whole=whole_lines)
        frames = {line.partition(b" ")[0] for line in kept.splitlines()}
        self._frames = position["records"] + len(frames)

    def finish(self, end: StreamEnd) -> None:
        """A run without instances is an empty file."""
        if not self._file.never_began(end):
            self._file.begin()

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def open_mots(target: SinkTarget) -> MotsSink:
    """Open `mots:PATH`."""
    return MotsSink(OutputFile(target), start=target.options["start"])
