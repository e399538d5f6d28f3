"""`HeldOutbox`: results wait in memory, with their pictures."""

from __future__ import annotations

import math
import threading
from collections import deque

from pipeline.accounting import StreamAccount
from pipeline.buffers import WhenFull
from pipeline.delivery.outbox import Outbox
from pipeline.delivery.writer import Flushed, SinkWriter
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position, StreamEnd

ROOM = 8
"""Results that wait, at most; each keeps its picture in memory."""


class HeldOutbox(Outbox):
    """For a sink of any kind that may wait.

    A checkpoint of a file waits until all has been written; that of a camera has the position of
    the flush before. Arguments as of `Outbox`.
    """

    def __init__(
        self,
        writer: SinkWriter,
        *,
        account: StreamAccount,
        end_timeout_s: float,
        aborted: threading.Event,
    ) -> None:
        super().__init__(writer, account=account, end_timeout_s=end_timeout_s, aborted=aborted)
        self._waiting: deque[tuple[FrameResult, Picture]] = deque()
        self._flush_asked = False
        self._position: Position | None = None

    def offer(self, result: FrameResult, picture: Picture) -> None:
        """Let a result wait for its turn."""
        name = self.writer.name
        with self._changed:
            self._account.offered(name)
            if self._when_full is WhenFull.BLOCK:
                self._wait_until(lambda: len(self._waiting) < ROOM)
            self._raise_what_it_left_with()
            if self.writer.error is not None or self._aborted.is_set():
                self._account.sink_dropped(name, "sink_lost" if self.writer.error else "aborted")
                return
            if len(self._waiting) == ROOM:
                self._waiting.popleft()
                self._account.sink_dropped(name, "sink_full")
            self._waiting.append((result, picture))
            self._wake()

    def begin_flush(self) -> Flushed:
        """Ask the thread to flush; what waits is written first where every result counts."""
        with self._changed:
            self._flush_asked = True
            self._wake()
        return self._flushed

    def _flushed(self) -> Position | None:
        with self._changed:
            if self._when_full is WhenFull.BLOCK and self._promise.durable:
                self._wait_until(lambda: not self._flush_asked)
            self._raise_what_it_left_with()
            return self._position if self.writer.error is None else None

    def finish(self, end: StreamEnd) -> None:
        """Write what waits, and tell the sink how the stream ended."""
        every = self._when_full is WhenFull.BLOCK
        self._end(math.inf if every else self._end_timeout_s)
        self._raise_what_it_left_with()
        self.writer.finish(end)

    def _step(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._flush_asked or self._closing)
            if self._aborted.is_set():
                return False
            drains = self._when_full is WhenFull.BLOCK and self._promise.durable
            flushes = self._flush_asked and not (drains and self._waiting)
            item = self._waiting.popleft() if self._waiting and not flushes else None
            self._changed.notify_all()
        if flushes:
            position = self.writer.flush()
            with self._changed:
                self._position, self._flush_asked = position, False
                self._changed.notify_all()
        elif item is not None:
            self.writer.write(*item)
        return flushes or item is not None

    def _leave_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft()
            self._account.sink_dropped(self.writer.name, "aborted")
