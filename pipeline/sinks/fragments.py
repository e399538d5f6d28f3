"""`FragmentFile`: samples in, a file that grows by whole fragments out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.sinks import mp4
from pipeline.sinks.coder import Form
from pipeline.sinks.files import OutputFile
from pipeline.sinks.mp4 import TIMESCALE, Sample
from pipeline.stages import Position

FRAGMENT_TICKS = TIMESCALE // 2
"""What is written at once; a killed process loses less than this."""
FRAGMENT_SAMPLES = 128
"""At most, where pictures come so close that half a second would hold more."""
_HEADER_MAX_BYTES = 4096


class FragmentFile:
    """The fragments of one file; it plays while it grows, and can be cut behind any of them.

    Args:
        file: where they go.
        origin: ticks that are time 0 in the file.
        head: called with the header before the first fragment; None: the file begins with it.
        sets: the parameter sets that players have already; None: there is no header yet.
        repeats: the parameter sets come with every key picture all the same.
    """

    def __init__(
        self,
        file: OutputFile,
        *,
        origin: int = 0,
        head: Callable[[bytes], None] | None = None,
        sets: tuple[bytes, bytes] | None = None,
        repeats: bool = False,
    ) -> None:
        self.file = file
        self.fragments = 0
        self._origin = origin
        self._head = file.append if head is None else head
        self._sets, self._repeats = sets, repeats
        self._header: bytes | None = None
        """Still to be written."""
        self._pending: list[Sample] = []

    def add(self, samples: list[Sample], form: Form) -> None:
        """Take samples; where they make a fragment whole, the file grows.

        Raises:
            SinkFull: the disk is full.
            SinkError: it cannot be written.
        """
        for sample in samples:
            sample = sample._replace(ticks=sample.ticks - self._origin)
            first = self._pending[0].ticks if self._pending else sample.ticks
            long = sample.ticks - first >= FRAGMENT_TICKS or len(self._pending) == FRAGMENT_SAMPLES
            if self._pending and (sample.key or long):
                self._write_pending(sample.ticks)
            if self._sets is None:
                self._sets = form.sps, form.pps
                self._header = mp4.header(form.size, *self._sets)
            if sample.key and (self._repeats or (form.sps, form.pps) != self._sets):
                # Another version of the encoder continues the file: its parameters come along.
                sets = mp4.unit(form.sps) + mp4.unit(form.pps)
                sample = sample._replace(data=sets + sample.data)
            self._pending.append(sample)

    def write_rest(self, end: int) -> None:
        """Make a fragment of what has come so far.

        Args:
            end: ticks at which the last sample ends.
        """
        self._write_pending(end - self._origin)

    def end(self, end: int) -> None:
        """Write the last fragment.

        Args:
            end: ticks at which its last sample ends, which was not known where it is written
                already.
        """
        if self._pending:
            self.write_rest(end)
        elif self.file.size:
            offset, ticks = mp4.last_duration(self.file.read, self.file.size)
            self.file.patch(offset, mp4.duration(end - self._origin - ticks))

    def position(self, **more: Any) -> dict[str, Any]:
        """Where the file stands."""
        return self.file.position(fragments=self.fragments, **more)

    def resume(self, position: Position) -> None:
        """Cut the file back to the fragments of `position`; what comes next continues it."""
        self.file.resume(position)
        if self.file.began:
            self.fragments = position["fragments"]
            if self._sets is None:
                self._sets = mp4.parameter_sets(self._front())

    def mend(self, position: Position) -> int | None:
        """Cut off what a killed process left torn behind `position`.

        Returns:
            Ticks at which what is whole behind it ends; None: there is nothing.
        """

        def whole(rest: bytes) -> int:
            head = mp4.whole_header(rest)
            fragments = mp4.whole_fragments(rest[head:])
            return head + fragments.size if fragments.number else 0

        kept = self.file.resume(position, whole=whole)
        found = mp4.whole_fragments(kept[mp4.whole_header(kept) :])
        return found.end + self._origin if found.number else None

    def index(self, end: int) -> None:
        """Put index and duration to a file that is whole.

        Args:
            end: ticks at which the last sample ends.
        """
        self.file.append(mp4.index(self.file.read, self.file.size))
        length = (end - self._origin).to_bytes(8, "big")
        self.file.patch(mp4.duration_offset(self._front()), length)

    def _write_pending(self, end: int) -> None:
        samples, self._pending = self._pending, []
        if not samples:
            return
        if self._header is not None:
            self._head(self._header)
            self._header = None
        self.fragments += 1
        self.file.append(mp4.fragment(self.fragments, samples, end))

    def _front(self) -> bytes:
        return self.file.read(0, _HEADER_MAX_BYTES)
