"""`coco:PATH`: COCO results, one JSON list that pycocotools loads as it is."""

from __future__ import annotations

from pipeline.errors import SinkError
from pipeline.formats import coco
from pipeline.formats.image_ids import read_image_ids
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.counted import CountedFile
from pipeline.sinks.files import OutputFile
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position

_HEAD = b"[\n"
_TAIL = b"\n]\n"


class CocoSink(CountedFile):
    """Lossless and in order; for a file source the same bytes after any crash and rerun.

    `image_id` is the frame index, counted from 0, or with `images` the id a data set gives the
    picture of that file name. The closing bracket is written behind every frame and overwritten by
    the next, so that the file is valid JSON after every frame, also when the process is killed then
    or the disk is full. Frames without instances leave no row; neither track ids nor the end record
    have a place in this format.
    """

    counted = ("records", "rows")

    def __init__(self, file: OutputFile, *, images: str | None = None) -> None:
        super().__init__(file)
        self._images = images
        self._ids = None if images is None else read_image_ids(images)

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Append the rows of a frame."""
        self._file.begin()
        if rows := coco.dumps_rows(result, self._image_id(result)):
            self._file.append((b",\n" if self._counts["rows"] else b"") + rows)
        self._counts["rows"] += len(result.instances)
        self._counts["records"] += 1

    def _image_id(self, result: FrameResult) -> int | None:
        if self._ids is None:
            return None
        found = None if result.file is None else self._ids.id_of(result.file)
        if found is None:
            raise SinkError(
                f"{self._file.path}: {result.file or 'a frame of a video'} of {result.source_id} "
                f"is none of the images of {self._images}, or not for certain; leave it out of "
                "the source, or leave out the option images"
            )
        return found

    def resume_keeping(self, position: Position) -> None:
        """Cut the file back to its last whole row."""
        kept = self._file.resume(position, whole=_rows_in)
        rows = position["rows"] + kept.count(b"\n{")
        self._counts = {"records": position["records"], "rows": rows}


def _rows_in(rest: bytes) -> int:
    """Length of the whole rows: each ends before a comma or the closing bracket, and a newline."""
    return max(rest.rfind(b"},\n"), rest.rfind(b"}\n]")) + 1


def open_coco(target: SinkTarget) -> CocoSink:
    """Open `coco:PATH`."""
    images = target.options["images"]
    return CocoSink(OutputFile(target, head=_HEAD, tail=_TAIL), images=images)
