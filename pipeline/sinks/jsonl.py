"""`jsonl:PATH`: the public records, one JSON object a line, closed by the end record."""

from __future__ import annotations

from pipeline.formats import jsonl
from pipeline.formats.selected import Selection
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.counted import CountedFile
from pipeline.sinks.files import OutputFile, whole_lines
from pipeline.sinks.schemes import SinkTarget, selection_of
from pipeline.stages import Position, StreamEnd


class JsonlSink(CountedFile):
    """Lossless and in order; for a file source the same bytes after any crash and rerun.

    Each line is handed to the kernel by `write`, so that a killed process loses none it wrote;
    `flush` makes them survive a power cut. On a full disk the file ends with its last whole line.
    Not promised: order across sources.
    """

    def __init__(self, file: OutputFile, selection: Selection) -> None:
        super().__init__(file)
        self._selection = selection

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Append the record of a frame."""
        self._file.append(self._selection.dumps(result) + b"\n")
        self._counts["records"] += 1

    def resume_keeping(self, position: Position) -> None:
        """Cut the file back to its last whole record of a frame."""
        kept = self._file.resume(position, whole=whole_records)
        self._counts["records"] = position["records"] + kept.count(b"\n")

    def finish(self, end: StreamEnd) -> None:
        """Append the end record."""
        if not self._file.never_began(end):
            self._file.append(jsonl.dumps(end) + b"\n")


def whole_records(rest: bytes) -> int:
    """Length of the whole records, an end record left out."""
    end = whole_lines(rest)
    last = whole_lines(rest[: max(end - 1, 0)])
    return last if jsonl.END_SCHEMA.encode() in rest[last:end] else end


def open_jsonl(target: SinkTarget) -> JsonlSink:
    """Open `jsonl:PATH`."""
    return JsonlSink(OutputFile(target), selection_of(target))
