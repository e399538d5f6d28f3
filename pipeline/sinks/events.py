"""`events:PATH`: what happened to every track, one JSON object a line, closed by the end record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pipeline.errors import ConfigError, SinkError
from pipeline.events.log import EventLog
from pipeline.formats import jsonl
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.files import OutputFile
from pipeline.sinks.jsonl import whole_records
from pipeline.sinks.schemes import SinkTarget, log_of
from pipeline.stages import Position, StreamEnd


class EventsSink:
    """Every event once, in order; for a file source the same bytes after any crash and rerun.

    The lines of a frame are handed to the kernel together by `write`. A camera that comes back
    after a crash ends the tracks of before, so that each that began has an end.

    Args:
        file: where the lines go.
        log: tells what happened.
    """

    def __init__(self, file: OutputFile, log: EventLog) -> None:
        self._file = file
        self._log = log
        self._records = 0

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Append what this frame brought.

        Raises:
            SinkError: the instances have no track ids.
        """
        try:
            told = self._log.see(result, picture)
        except ValueError as error:
            raise SinkError(
                f"{self._file.path}: events are of tracks and {error}; choose a tracker"
            ) from error
        self._append(told.events)

    def flush(self) -> Position:
        """Wait until the lines are on the disk."""
        self._file.begin()  # nothing of an older run is behind this position
        self._file.sync()
        return self._file.position(records=self._records, log=self._log.state())

    def check_resume(self, position: Position) -> None:
        """Whether this is the file of `position`, with all that was there."""
        self._file.check_resume(position, "records")
        if "log" not in position:
            raise ConfigError(
                f"{self._file.path}: cannot be resumed, the last checkpoint knows of no events; "
                "start over with --overwrite"
            )

    def resume(self, position: Position) -> None:
        """Cut the file back to the lines that were there at `position`."""
        self.check_resume(position)
        self._file.resume(position)
        self._log.restore(position["log"])
        self._records = position["records"]

    def resume_keeping(self, position: Position) -> None:
        """Cut the file back to its last whole event, and know what all of them told."""
        self.check_resume(position)
        kept = self._file.resume(position, whole=whole_records).splitlines()
        self._log.restore(position["log"])
        for line in kept:
            self._log.adopt(json.loads(line))
        self._records = position["records"] + len(kept)

    def finish(self, end: StreamEnd) -> None:
        """Append the ends of what is still there, and the end record."""
        if not self._file.never_began(end):
            self._append(self._log.end("stream"))
            self._file.append(jsonl.dumps(end) + b"\n")

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _append(self, events: Sequence[dict[str, Any]]) -> None:
        if events:
            self._file.append(b"".join(jsonl.dumps(event) + b"\n" for event in events))
            self._records += len(events)


def open_events(target: SinkTarget) -> EventsSink:
    """Open `events:PATH`."""
    return EventsSink(OutputFile(target), log_of(target))
