"""`SpooledOutbox`: messages wait on the disk, for as long as a service is away."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from pipeline.accounting import SinkState, StreamAccount
from pipeline.buffers import WhenFull
from pipeline.clock import Clock
from pipeline.delivery.courier import Courier
from pipeline.delivery.flushing import Flushing
from pipeline.delivery.outbox import LOOK_S, Outbox
from pipeline.delivery.service import ServiceSink
from pipeline.delivery.writer import Flushed, SinkWriter
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Status, StreamEnd

log = logging.getLogger(__name__)

LAST_S = 10.0
"""How long the end of a camera, or of a file that was stopped, waits for a service that is away;
what is not sent then waits on the disk for the next run."""


class SpooledOutbox(Outbox):
    """For a sink that forwards its results to a service.

    A result is written to the spool in the stream's own thread and counts as queued until the
    service has taken it; a checkpoint waits for the disk and never for the service. Other
    arguments as of `Outbox`.

    Args:
        writer: writes to the sink.
        service: the sink itself, whatever stands before it; it may be written while it flushes.
        clock: seconds, monotonic.
        stopped: whether the stream was told to end.
    """

    def __init__(
        self,
        writer: SinkWriter,
        service: ServiceSink,
        *,
        account: StreamAccount,
        end_timeout_s: float,
        aborted: threading.Event,
        clock: Clock,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(writer, account=account, end_timeout_s=end_timeout_s, aborted=aborted)
        self._stopped, self._clock = stopped, clock
        self._room_by_s: float | None = None
        self._flushing = Flushing(writer, clock=clock)
        self._waited_s = 0.0
        """At the end, for a service that need not be waited for any longer."""
        self._service = service
        self._spool = service.spool
        self._courier = Courier(
            service.client,
            service.spool,
            name=writer.name,
            source_id=account.source_id,
            settle=self._settle,
            packing=service.packing,
        )
        service.on_drop = lambda count: account.sink_dropped(writer.name, "sink_full", count)
        account.watch_sink(writer.name, self._state)

    def take_every_result(self) -> None:
        """None may be left out: the stream waits for room in the spool."""
        super().take_every_result()
        self.writer.gives_up = self._waits_no_longer
        self._service.when_full = WhenFull.BLOCK
        self._flushing.every = True

    @property
    def handed(self) -> int:  # type: ignore[override]
        """Number of the last message that was put into the spool."""
        return self._spool.last

    @property
    def taken(self) -> int:  # type: ignore[override]
        """Number of the last message that need not be sent any more."""
        return self._spool.last - self._spool.waiting

    def offer(self, result: FrameResult, picture: Picture) -> None:
        """Put a result into the spool."""
        name = self.writer.name
        self._begin()
        self._raise_what_it_left_with()
        self._account.offered(name)
        if self._aborted.is_set():
            self._account.sink_dropped(name, "aborted")
            return
        before = self._spool.last
        if not self.writer.accept(result, picture):
            return
        with self._changed:
            records = self._spool.last - before
            if not records:  # it was not chosen, or there is nothing to be told of it
                self._account.delivered(name)
            elif records > 1:
                self._account.offered(name, records - 1)
            self._wake()

    def begin_flush(self) -> Flushed:
        """Begin to bring the spool to the disk."""
        self._begin()
        self._raise_what_it_left_with()
        return self._flushing.begin()

    def finish(self, end: StreamEnd) -> None:
        """Send what waits, and how the stream ended.

        For a file that has ended as long as it takes, unless it is told to stop meanwhile; else
        what a service that is away does not take is left to the next run.
        """
        self._begin()
        self._courier.over = True
        every = self._when_full is WhenFull.BLOCK and end.outcome.status is Status.COMPLETE
        self._drain(every)
        before = self._spool.last
        self._flushing.wait()
        self.writer.finish(end)
        self._account.offered(self.writer.name, self._spool.last - before)
        self._drain(every)
        self._raise_what_it_left_with()

    def close(self) -> None:
        """Release the sink; what waits still stays in the spool."""
        self._end(self._promise.may_wait_s)
        if (waiting := self._spool.waiting) and self._thread is not None:
            log.warning(
                "sink %s: %d messages wait in %s; the same command sends them when it is run again",
                *(self.writer.name, waiting, self._spool.folder),
                extra={"source_id": self._account.source_id},
            )
        self._flushing.wait()
        self.writer.close()

    def _begin(self) -> None:
        """What an earlier run has left is counted, once it is known what is to stay of it."""
        with self._changed:
            if self._thread is None:
                self._account.offered(self.writer.name, self._spool.waiting)
                self._wake()

    def _step(self) -> bool:
        with self._changed:
            news = self._changed.wait_for(self._has_to_go_on, self._courier.patience_s)
            if self._aborted.is_set() or self._closing or self.writer.error is not None:
                self._courier.close()
                return False
        try:
            pause_s = self._courier.step(quiet=not news)
        except Exception as error:  # noqa: BLE001 - the sink is lost, as with any other
            self.writer.lose(error)
            pause_s = 0.0
        with self._changed:
            self._changed.notify_all()
            if pause_s:
                self._changed.wait_for(self._has_to_end, pause_s)
        return True

    def _has_to_go_on(self) -> bool:
        return self._courier.due or self._courier.state != "connected" or self._has_to_end()

    def _has_to_end(self) -> bool:
        return self._closing or self._aborted.is_set() or self.writer.error is not None

    def _waits_no_longer(self) -> bool:
        """Whether a stream that was told to end leaves what has no room to the next run."""
        if not self._stopped() or self._courier.state == "connected":
            return False
        if self._room_by_s is None:
            self._room_by_s = self._clock() + LAST_S
        if self._clock() < self._room_by_s:
            return False
        self._waited_s = math.inf
        return True

    def _drain(self, every: bool) -> None:
        """Wait for the service; not for one that is away unless every result counts."""

        def over() -> bool:
            return not self._spool.waiting or self._has_to_end() or self._left.done()

        with self._changed:
            while not over():
                if not every or self._stopped():
                    away_s = math.inf if self._courier.state == "connected" else LAST_S
                    if self._waited_s > min(self._end_timeout_s, away_s):
                        return
                    self._waited_s += LOOK_S
                self._changed.notify_all()
                self._changed.wait_for(over, LOOK_S)

    def _settle(self, what: str, count: int) -> None:
        name = self.writer.name
        if what == "delivered":
            self._account.delivered(name, count)
        else:
            self._account.sink_failed(name, what, count)

    def _state(self) -> SinkState:
        state = "lost" if self.writer.error is not None else self._courier.state
        return SinkState(state, self._spool.size)

    def _leave_waiting(self) -> None:
        """It waits on the disk."""
