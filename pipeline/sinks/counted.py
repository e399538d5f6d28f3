"""What the sinks that write one file of text have in common: it is appended to and cut back."""

from __future__ import annotations

from typing import ClassVar

from pipeline.sinks.files import OutputFile
from pipeline.stages import Position, StreamEnd


class CountedFile:
    """A file, and how much of what it has; what to append a sink says itself.

    Args:
        file: where everything goes.
    """

    counted: ClassVar[tuple[str, ...]] = ("records",)
    """What is counted, as positions call it."""

    def __init__(self, file: OutputFile) -> None:
        self._file = file
        self._counts = dict.fromkeys(self.counted, 0)

    def flush(self) -> Position:
        """Wait until everything is on the disk."""
        self._file.begin()  # nothing of an older run is behind this position
        self._file.sync()
        return self._file.position(**self._counts)

    def check_resume(self, position: Position) -> None:
        """Whether this is the file of `position`, with all that was there."""
        self._file.check_resume(position, *self.counted)

    def resume(self, position: Position) -> None:
        """Cut the file back to what was there at `position`."""
        self._file.resume(position)
        self._counts = {name: position[name] for name in self.counted}

    def finish(self, end: StreamEnd) -> None:
        """A run without instances is an empty file; the end record has no place in it."""
        if not self._file.never_began(end):
            self._file.begin()

    def close(self) -> None:
        """Release the file."""
        self._file.close()
