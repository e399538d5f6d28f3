"""A sink of your own: one CSV row for each instance.

    python examples/own_sink.py out/street.csv

`docs/sinks.md` explains the steps.

Everything a sink has to know is in `maskstream.Sink`: `write`, `flush`, `resume`, `finish`,
`close`. This one stands on `OutputFile`, which refuses existing output, cuts back after a crash and
ends with the last whole row on a full disk, so it inherits what the built-in file sinks promise.
"""

import csv
import io
import sys

from maskstream import FrameResult, Picture, Position, StreamEnd, track
from maskstream.sinks import OutputFile, Scheme, SinkTarget, choice, register


class CsvSink:
    """Lossless and in order; for a file source the same bytes after any crash and rerun."""

    def __init__(self, file: OutputFile, *, separator: str) -> None:
        self._file = file
        self._separator = separator

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Append the rows of a frame."""
        text = io.StringIO()
        rows = csv.writer(text, delimiter=self._separator, lineterminator="\n")
        if self._file.size == 0:
            rows.writerow(["frame", "pts_s", "track", "label", "score", "area"])
        found = result.instances
        tracks = [None] * len(found) if found.track_ids is None else found.track_ids.tolist()
        for track_id, class_id, score, area in zip(
            tracks, found.class_ids.tolist(), found.scores, found.masks.areas(), strict=True
        ):
            label = result.labels.get(class_id, str(class_id))
            rows.writerow(
                [result.index, f"{result.pts_s:.6f}", track_id, label, f"{score:.4f}", area]
            )
        self._file.append(text.getvalue().encode())

    def flush(self) -> Position:
        """Wait until the rows are on the disk."""
        self._file.sync()
        return self._file.position()

    def resume(self, position: Position) -> None:
        """Cut back to the rows that were there."""
        self._file.resume(position)

    def finish(self, end: StreamEnd) -> None:
        """A run without frames is an empty file."""
        self._file.begin()

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def open_csv(target: SinkTarget) -> CsvSink:
    separators = {"comma": ",", "semicolon": ";"}
    return CsvSink(OutputFile(target), separator=separators[target.options["separator"]])


SCHEME = Scheme(
    name="csv",
    opens=f"{__name__}:open_csv",  # module and function; imported when such a sink is opened
    summary="one row for each instance",
    options={"separator": choice("comma", "semicolon", help="what stands between the columns")},
    suffixes=(".csv",),
)


def main(path: str) -> None:
    register(SCHEME)
    source = "synthetic://street?seed=1&frames=10&size=320x180"
    for result in track(source, model="blob", sinks=[f"csv:{path}"]):
        print(f"frame {result.index}: {len(result.instances)} instances")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "out/street.csv")
