"""`Outbox`: a sink that may wait, behind a bounded queue and a thread of its own."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from pipeline.accounting import StreamAccount
from pipeline.buffers import WhenFull
from pipeline.delivery.promise import promise_of
from pipeline.delivery.writer import SinkWriter
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position, Sink, StreamEnd

ROOM = 8
"""Results that wait, at most; each keeps its picture in memory."""

_LOOK_S = 0.05
"""How often who waits looks whether all is being left."""


class Outbox:
    """Gives results to a sink in their order, from a thread of its own.

    With `WhenFull.BLOCK` (files) the stream waits for room, and a checkpoint until all has been
    written. With `WhenFull.DROP_OLDEST` (cameras) it never waits: the oldest result that waits is
    counted as `sink_full`, and a checkpoint has the position of the flush before.

    Args:
        writer: writes to the sink, and knows when it is lost.
        account: counts every result; its lock holds while one changes its place.
        end_timeout_s: how long what waits at the end of a camera may take.
        aborted: when set, nobody waits any more.
    """

    def __init__(
        self,
        writer: SinkWriter,
        *,
        account: StreamAccount,
        end_timeout_s: float,
        aborted: threading.Event,
    ) -> None:
        self._writer = writer
        self._promise = promise_of(writer.sink)
        self._account = account
        self._end_timeout_s = end_timeout_s
        self._aborted = aborted
        self._when_full = WhenFull.DROP_OLDEST
        self._changed = threading.Condition(account.lock)
        self._waiting: deque[tuple[FrameResult, Picture]] = deque()
        self._flush_asked = self._closing = False
        self._position: Position | None = None
        self._thread: threading.Thread | None = None
        self._left: Future[None] = Future()
        """Resolved when the thread has ended; what the sink's own code left with."""

    @property
    def sink(self) -> Sink:
        """Where results go."""
        return self._writer.sink

    @property
    def error(self) -> str | None:
        """Why the sink was lost, one line."""
        return self._writer.error

    @property
    def behind(self) -> bool:
        """Whether the sink may lack a result though every one counts."""
        return self._writer.behind or self._aborted.is_set()

    def take_every_result(self) -> None:
        """None may be left out: the stream waits for room."""
        self._when_full = WhenFull.BLOCK
        self._writer.take_every_result()

    def offer(self, result: FrameResult, picture: Picture) -> None:
        """Let a result wait for its turn."""
        name = self._writer.name
        with self._changed:
            self._account.offered(name)
            if self._when_full is WhenFull.BLOCK:
                self._wait_until(lambda: len(self._waiting) < ROOM)
            self._raise_what_it_left_with()
            if self.error is not None or self._aborted.is_set():
                self._account.sink_dropped(name, "sink_lost" if self.error else "aborted")
                return
            if len(self._waiting) == ROOM:
                self._waiting.popleft()
                self._account.sink_dropped(name, "sink_full")
            self._waiting.append((result, picture))
            self._wake()

    def flush(self) -> Position | None:
        """Where the sink stands; what waits is written first where every result counts."""
        with self._changed:
            self._flush_asked = True
            self._wake()
            if self._when_full is WhenFull.BLOCK and self._promise.durable:
                self._wait_until(lambda: not self._flush_asked)
            self._raise_what_it_left_with()
            return self._position if self.error is None else None

    def finish(self, end: StreamEnd) -> None:
        """Write what waits, and tell the sink how the stream ended."""
        every = self._when_full is WhenFull.BLOCK
        self._end(math.inf if every else self._end_timeout_s)
        self._raise_what_it_left_with()
        self._writer.finish(end)

    def close(self) -> None:
        """Release the sink; what waits still and is not written in time is dropped."""
        self._end(self._end_timeout_s)
        self._writer.close()

    def _wake(self) -> None:
        if self._thread is None:
            name = f"outbox-{self._writer.name}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            while self._step():
                pass
            self._left.set_result(None)
        except BaseException as error:  # noqa: BLE001 - raised in the stream's own thread
            self._left.set_exception(error)
        finally:
            with self._changed:
                self._changed.notify_all()

    def _step(self) -> bool:
        """Write one result or flush; False when nothing is to come any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._flush_asked or self._closing)
            if self._aborted.is_set():
                return False
            drains = self._when_full is WhenFull.BLOCK and self._promise.durable
            flushes = self._flush_asked and not (drains and self._waiting)
            item = self._waiting.popleft() if self._waiting and not flushes else None
            self._changed.notify_all()
        if flushes:
            position = self._writer.flush()
            with self._changed:
                self._position, self._flush_asked = position, False
                self._changed.notify_all()
        elif item is not None:
            self._writer.write(*item)
        return flushes or item is not None

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        while not (ready() or self._aborted.is_set() or self._left.done()):
            self._changed.wait(_LOOK_S)

    def _raise_what_it_left_with(self) -> None:
        if self._left.done():
            self._left.result()

    def _end(self, timeout_s: float) -> None:
        """Let the thread come to its end; a sink that keeps it is left to itself."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        thread, waited_s = self._thread, 0.0
        while thread is not None and thread.is_alive() and waited_s < timeout_s:
            thread.join(_LOOK_S)
            waited_s += _LOOK_S
            if self._aborted.is_set():
                timeout_s = min(timeout_s, waited_s + self._promise.may_wait_s)
        with self._changed:
            while self._waiting:
                self._waiting.popleft()
                self._account.sink_dropped(self._writer.name, "aborted")
        if thread is not None and thread.is_alive() and self.error is None:
            self._writer.leave(f"it did not come back within {waited_s:.1f} s", self._left)
