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
from pipeline.sinks.counted import CountedFile
from pipeline.sinks.files import OutputFile
from pipeline.sinks.jsonl import whole_records
from pipeline.sinks.schemes import SinkTarget, log_of
from pipeline.stages import Position, StreamEnd


class EventsSink(CountedFile):
    """Every event once, in order; for a file source the same bytes after any crash and rerun.

    The lines of a frame are handed to the kernel together by `write`. A camera that comes back
    after a crash ends the tracks of before, so that each that began has an end.

    Args:
        file: where the lines go.
        log: tells what happened.
    """

    def __init__(self, file: OutputFile, log: EventLog) -> None:
        super().__init__(file)
        self._log = log

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
        """Wait until the lines are on the disk; the tracks that are there belong to it."""
        return {**super().flush(), "log": self._log.state()}

    def check_resume(self, position: Position) -> None:
        """Whether this is the file of `position`, with all that was there."""
        super().check_resume(position)
        if "log" not in position:
            raise ConfigError(
                f"{self._file.path}: cannot be resumed, the last checkpoint knows of no events; "
                "start over with --overwrite"
            )

    def resume(self, position: Position) -> None:
        """Cut the file back to the lines that were there at `position`."""
        self.check_resume(position)
        super().resume(position)
        self._log.restore(position["log"])

    def resume_keeping(self, position: Position) -> None:
        """Cut the file back to its last whole event, and know what all of them told."""
        self.check_resume(position)
        kept = self._file.resume(position, whole=whole_records).splitlines()
        self._log.restore(position["log"])
        for line in kept:
            self._log.adopt(json.loads(line))
        self._counts["records"] = position["records"] + len(kept)

    def finish(self, end: StreamEnd) -> None:
        """Append the ends of what is still there, and the end record."""
        if not self._file.never_began(end):
            self._append(self._log.end("stream"))
            self._file.append(jsonl.dumps(end) + b"\n")

    def _append(self, events: Sequence[dict[str, Any]]) -> None:
        if events:
            self._file.append(b"".join(jsonl.dumps(event) + b"\n" for event in events))
            self._counts["records"] += len(events)


def open_events(target: SinkTarget) -> EventsSink:
    """Open `events:PATH`."""
    return EventsSink(OutputFile(target), log_of(target))
