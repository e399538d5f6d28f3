"""The records of a Parquet folder that are in no part yet, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipeline.sinks.files import OutputFile
from pipeline.sinks.schemes import SinkTarget

NAME = ".maskstream-rows"
_PIECE = 1 << 20


class Journal:
    """Lines behind a first one that says which part they become.

    What is there when it is opened stands until `begin` or `cut_to`.

    Args:
        target: of the sink whose folder it lies in.

    Raises:
        SinkError: another process is writing there.
    """

    def __init__(self, target: SinkTarget) -> None:
        place = target.path / NAME
        self._file = OutputFile(replace(target, location=str(place), overwrite=True))
        self.count = 0
        """Records in it that count."""
        there = self._whole()
        self.part = int(json.loads(next(there, b'{"part":-1}'))["part"])
        """The part that what was found becomes; -1: nothing was found."""
        self.whole = sum(1 for _ in there)
        """Whole records that were found."""

    @property
    def size(self) -> int:
        """Bytes of what counts."""
        return self._file.size

    def begin(self, part: int, lines: Iterable[bytes] = ()) -> None:
        """Start with these lines, for this part."""
        lines = list(lines)
        self._file.restart()
        head = b'{"part":%d}' % part
        self._file.append(b"".join(line + b"\n" for line in (head, *lines)))
        self.count = len(lines)

    def cut_to(self, count: int) -> None:
        """Go on behind so many records of what was found; what comes after them goes."""
        size = 0
        for number, line in enumerate(self._whole()):
            if number > count:
                break
            size += len(line) + 1
        self._file.resume(self._file.position() | {"bytes": size})
        self.count = count

    def append(self, line: bytes) -> None:
        """Add a record."""
        self._file.append(line + b"\n")
        self.count += 1

    def lines(self) -> Iterator[bytes]:
        """The records."""
        lines = self._whole()
        next(lines)
        return (line for line, _ in zip(lines, range(self.count), strict=False))

    def sync(self) -> None:
        """Return when they would survive a power cut."""
        self._file.sync()

    def remove(self) -> None:
        """Let go of it and delete it."""
        self._file.remove()

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    def _whole(self) -> Iterator[bytes]:
        """All whole lines of the file."""
        rest, offset = b"", 0
        while piece := self._file.read(offset, _PIECE):
            offset += len(piece)
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
