"""`SinkWriter`: one sink, written in the calling thread, with all that may go wrong with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeAlias, TypeVar

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.delivery.promise import promise_of
from pipeline.errors import MaskstreamError, SinkBusy, SinkError, SinkFull
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position, Sink, StreamEnd
from pipeline.threads import beside, is_over

T = TypeVar("T")
Flushed: TypeAlias = Callable[[], Position | None]
"""Waits for a flush that has begun and says where the sink stands; None: it is lost, or that is
not known yet."""

log = logging.getLogger(__name__)


class SinkWriter:
    """Writes to a sink until that fails; then it is closed, and left out from then on.

    Args:
        name: of the sink, in account and log.
        sink: what is written to.
        account: counts every result that is offered.
        patience_s: how long one result may wait for a busy sink; None: as long as it takes.
        flush_timeout_s: how long `flush` may take.
        aborted: when set, nobody waits any more.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        account: StreamAccount,
        patience_s: float | None,
        flush_timeout_s: float,
        aborted: threading.Event,
        clock: Clock,
    ) -> None:
        self.name = name
        self.sink = sink
        self.error: str | None = None
        """Why the sink was lost, one line."""
        self.gives_up: Callable[[], bool] = lambda: False
        """Whether a busy sink need not be waited for, though every result counts."""
        self._losing = threading.Lock()
        self._left_out: str | None = None
        """Why a result was left out though every one counts; none behind it goes to the sink."""
        self._account = account
        self._patience_s = patience_s
        self.flush_timeout_s = flush_timeout_s
        self._aborted = aborted
        self._clock = clock
        self._closed = promise_of(sink).shared

    @property
    def behind(self) -> bool:
        """Whether the sink lacks a result though every one counts."""
        return self.error is not None or self._left_out is not None

    def take_every_result(self) -> None:
        """None may be left out: a busy sink is waited for."""
        self._patience_s = None

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Write a result that was offered."""
        if self.accept(result, picture):
            self._account.delivered(self.name)

    def accept(self, result: FrameResult, picture: Picture) -> bool:
        """Give the sink a result that was offered; where it does not take it, why is counted."""
        if self._left_out is not None:
            self._account.sink_dropped(self.name, self._left_out)
            return False
        first = self._clock()
        while self.error is None:  # another thread may lose it meanwhile
            try:
                self.sink.write(result, picture)
            except SinkBusy as busy:
                if self._patience_s is not None and self._clock() - first >= self._patience_s:
                    self._account.sink_dropped(self.name, busy.cause)
                    return False
                aborted = self._aborted.wait(busy.retry_after_s)
                if aborted or self.gives_up():
                    self._left_out = "aborted" if aborted else busy.cause
                    self._account.sink_dropped(self.name, self._left_out)
                    return False
            except Exception as error:  # noqa: BLE001 - told to the owner by `error`
                if self.lose(error):
                    self._account.sink_failed(self.name, _cause(error))
                    return False
            else:
                return True
        self._account.sink_dropped(self.name, "sink_lost")
        return False

    def flush(self) -> Position | None:
        """Make everything written durable and say where the sink stands; None: it is lost."""
        return self.begin_flush()()

    def begin_flush(self) -> Flushed:
        """Begin to flush; what is returned has to be called before the sink is."""
        flush = self.start_flush()
        return partial(self.settle, flush, self.flush_timeout_s)

    def start_flush(self) -> Future[Position] | None:
        """Begin to flush; it has to be settled before the sink is called. None: it is lost.

        In a thread beside: a disk or a service that hangs can be left.
        """
        return None if self.error is not None else beside(self.sink.flush)

    def settle(self, flush: Future[Position] | None, wait_s: float = 0.0) -> Position | None:
        """Where the sink stands behind a flush; it is lost if that is not over by now."""
        if flush is None:
            return None
        if not is_over(flush, wait_s):
            self.leave(f"flush() did not come back within {self.flush_timeout_s:g} s", flush)
            return None
        return self._try(flush.result)

    def finish(self, end: StreamEnd) -> None:
        """Tell the sink how the stream ended."""
        if self.error is None:
            self._try(lambda: self.sink.finish(end))

    def close(self) -> None:
        """Release the sink; twice is fine."""
        if self.error is None and not self._closed:
            self._closed = True
            self._try(self.sink.close)

    def leave(self, reason: str, call: Future[Any]) -> None:
        """Go on without a sink that is still in a call; it is closed once it comes back."""
        self.lose(SinkError(reason), closes=False)
        call.add_done_callback(lambda _: self._close_lost())

    def _try(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - told to the owner by `error`
            self.lose(error)
            return None

    def lose(self, error: Exception, *, closes: bool = True) -> bool:
        """The sink is over: say why and leave it out from now on; whether it was not yet.

        From any thread: what a call says that finds the sink closed by this is not the reason.
        """
        expected = isinstance(error, MaskstreamError | OSError)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        with self._losing:
            if self.error is not None:
                return False
            self.error = text
        log.error(
            "sink %s is lost, the others go on: %s",
            self.name,
            text,
            exc_info=None if expected else error,
            extra={"source_id": self._account.source_id},
        )
        if closes:
            self._close_lost()
        return True

    def _close_lost(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self.sink.close()
        except Exception as second:  # noqa: BLE001 - already lost; the first reason is the one
            log.debug("closing the lost sink %s failed too: %s", self.name, second)


def _cause(error: Exception) -> str:
    """The word a failed write is counted under."""
    if isinstance(error, SinkFull):
        return "full"
    return "sink_error" if isinstance(error, SinkError) else "bug"
