"""`Flushing`: the flushes of one sink; a camera's stream waits a moment for each, and no longer."""

from __future__ import annotations

from concurrent.futures import Future

from pipeline.clock import Clock
from pipeline.delivery.writer import Flushed, SinkWriter
from pipeline.stages import Position
from pipeline.threads import is_over

WAITS_S = 0.1
"""How long a camera's stream waits for a disk: some pictures, which its buffer holds."""


class Flushing:
    """Flushes a sink, one flush at a time, each in a thread beside.

    Where every result counts each is waited for. A camera waits for the first, so that it is known
    where the sink stands; after that one that is slow goes on while the stream does, and until it
    is over the position is that of the flush before. One that takes as long as the writer waits
    loses the sink.

    Args:
        writer: of the sink.
        clock: seconds, monotonic.
    """

    def __init__(self, writer: SinkWriter, *, clock: Clock) -> None:
        self.every = False
        """Whether every result counts."""
        self._writer, self._clock = writer, clock
        self._flush: Future[Position] | None = None
        self._began_s = 0.0
        self._position: Position | None = None

    def begin(self) -> Flushed:
        """Begin to flush, where none goes on; what is returned waits for it."""
        if self.every:
            return self._writer.begin_flush()
        if not self.goes_on():
            self._flush, self._began_s = self._writer.start_flush(), self._clock()
        return self._flushed

    def goes_on(self, wait_s: float = 0.0) -> bool:
        """Whether the sink flushes still, after this time."""
        if self._flush is None:
            return False
        left_s = self._writer.flush_timeout_s - (self._clock() - self._began_s)
        if not is_over(self._flush, min(wait_s, max(0.0, left_s))) and left_s > wait_s:
            return True
        flush, self._flush = self._flush, None
        self._position = self._writer.settle(flush)
        return False

    def wait(self) -> None:
        """Until it is over, or the sink is lost."""
        self.goes_on(self._writer.flush_timeout_s)

    def _flushed(self) -> Position | None:
        first = self._position is None
        spent_s = self._clock() - self._began_s
        self.goes_on(self._writer.flush_timeout_s if first else max(0.0, WAITS_S - spent_s))
        return self._position if self._writer.error is None else None
