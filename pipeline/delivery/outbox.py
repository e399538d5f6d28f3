"""`Outbox`: a thread between a stream and a sink that may wait, so that nobody waits with it.

What waits does so in memory, as results (`held.py`), or on the disk, as messages (`spooled.py`).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future

from pipeline.accounting import StreamAccount
from pipeline.buffers import WhenFull
from pipeline.delivery.promise import promise_of
from pipeline.delivery.writer import Flushed, SinkWriter
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import StreamEnd

LOOK_S = 0.05
"""How often who waits looks whether all is being left."""


class Outbox(ABC):
    """Gives results to a sink in their order, from a thread of its own.

    With `WhenFull.BLOCK` (files) the stream waits for room. With `WhenFull.DROP_OLDEST` (cameras)
    it never waits: what has waited longest is counted as `sink_full`.

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
        self.writer = writer
        self._promise = promise_of(writer.sink)
        self._account = account
        self._end_timeout_s = end_timeout_s
        self._aborted = aborted
        self._when_full = WhenFull.DROP_OLDEST
        self._changed = threading.Condition(account.lock)
        self._closing = False
        self._thread: threading.Thread | None = None
        self._left: Future[None] = Future()
        """Resolved when the thread has ended; what the sink's own code left with."""

    @property
    def behind(self) -> bool:
        """Whether the sink may lack a result though every one counts."""
        return self.writer.behind or self._aborted.is_set()

    handed = taken = 0
    """Messages that wait for a service: here there are none."""

    def take_every_result(self) -> None:
        """None may be left out: the stream waits for room."""
        self._when_full = WhenFull.BLOCK
        self.writer.take_every_result()

    @abstractmethod
    def offer(self, result: FrameResult, picture: Picture) -> None:
        """Let a result wait for its turn."""

    @abstractmethod
    def begin_flush(self) -> Flushed:
        """Begin to make everything durable."""

    @abstractmethod
    def finish(self, end: StreamEnd) -> None:
        """Deliver what waits, and tell the sink how the stream ended."""

    @abstractmethod
    def _step(self) -> bool:
        """In the thread: wait for something to do and do it; False when nothing is to come."""

    @abstractmethod
    def _leave_waiting(self) -> None:
        """All is over, under the lock: settle what still waits."""

    def close(self) -> None:
        """Release the sink; what waits still is not waited for any longer than that may take."""
        self._end(self._end_timeout_s)
        self.writer.close()

    def _wake(self) -> None:
        if self._thread is None:
            name = f"outbox-{self.writer.name}"
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

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        while not (ready() or self._aborted.is_set() or self._left.done()):
            self._changed.wait(LOOK_S)

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
            thread.join(LOOK_S)
            waited_s += LOOK_S
            if self._aborted.is_set():
                timeout_s = min(timeout_s, waited_s + self._promise.may_wait_s)
        with self._changed:
            self._leave_waiting()
        if thread is not None and thread.is_alive() and self.writer.error is None:
            self.writer.leave(f"it did not come back within {waited_s:.1f} s", self._left)
