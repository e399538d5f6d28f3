"""`mots:PATH`: MOTS text as the trackers' evaluation tools read it."""

from __future__ import annotations

from pipeline.errors import SinkError
from pipeline.formats import mots
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.counted import CountedFile
from pipeline.sinks.files import OutputFile, whole_lines
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position


class MotsSink(CountedFile):
    """Lossless and in order; for a file source the same bytes after any crash and rerun.

    One line `frame id class height width rle` for each instance. Masks are made disjoint, the
    higher score on top, and one that loses all its pixels is left out. The lines of a frame are
    handed to the kernel together. Neither scores, labels nor the end record have a place in it.

    Args:
        file: where the lines go.
        start: number of the first frame of the source; 0, or 1 as in MOTSChallenge.
    """

    def __init__(self, file: OutputFile, *, start: int = 0) -> None:
        super().__init__(file)
        self._start = start

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
        self._counts["records"] += 1

    def resume_keeping(self, position: Position) -> None:
        """Cut the file back to its last whole line."""
        kept = self._file.resume(position, whole=whole_lines)
        frames = {line.partition(b" ")[0] for line in kept.splitlines()}
        self._counts["records"] = position["records"] + len(frames)


def open_mots(target: SinkTarget) -> MotsSink:
    """Open `mots:PATH`."""
    return MotsSink(OutputFile(target), start=target.options["start"])
