"""`Direct`: a quick sink, written in the stream's own thread."""

from __future__ import annotations

from collections import deque

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.delivery.flushing import Flushing
from pipeline.delivery.held import ROOM
from pipeline.delivery.writer import Flushed, SinkWriter
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import StreamEnd


class Direct:
    """Writes each result before the stream goes on.

    While a camera's sink flushes on a slow disk its results wait, `ROOM` of them with their
    pictures; then what has waited longest is counted as `sink_full`. Nobody else waits with it.

    Args:
        writer: writes to the sink, and knows when it is lost.
        account: counts every result.
        clock: seconds, monotonic.
    """

    def __init__(self, writer: SinkWriter, *, account: StreamAccount, clock: Clock) -> None:
        self.writer, self._account = writer, account
        self._flushing = Flushing(writer, clock=clock)
        self._waiting: deque[tuple[FrameResult, Picture]] = deque()

    @property
    def behind(self) -> bool:
        """Whether the sink lacks a result though every one counts."""
        return self.writer.behind

    handed = taken = 0
    """Messages that wait for a service: here there are none."""

    def take_every_result(self) -> None:
        """None may be left out: a busy sink is waited for."""
        self._flushing.every = True
        self.writer.take_every_result()

    def offer(self, result: FrameResult, picture: Picture) -> None:
        """Write a result, or count why it was not."""
        self._account.offered(self.writer.name)
        if not self._flushing.goes_on():
            self._write_waiting()
            self.writer.write(result, picture)
            return
        if len(self._waiting) == ROOM:
            self._waiting.popleft()
            self._account.sink_dropped(self.writer.name, "sink_full")
        self._waiting.append((result, picture))

    def begin_flush(self) -> Flushed:
        """Begin to make everything durable."""
        if not self._flushing.goes_on():
            self._write_waiting()
        return self._flushing.begin()

    def finish(self, end: StreamEnd) -> None:
        """Tell the sink how the stream ended."""
        self._flushing.wait()
        self._write_waiting()
        self.writer.finish(end)

    def close(self) -> None:
        """Release the sink; twice is fine."""
        self._flushing.wait()
        self._write_waiting()
        self.writer.close()

    def _write_waiting(self) -> None:
        while self._waiting:
            self.writer.write(*self._waiting.popleft())
