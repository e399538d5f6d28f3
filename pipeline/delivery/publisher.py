"""The writing side of a stream: every result to every sink, each of which may fail alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.errors import MaskstreamError, SinkBusy, SinkError, SinkFull
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position, Sink, StreamEnd, check_resume, resume_keeping

log = logging.getLogger(__name__)


class Publisher:
    """Writes results to sinks in the calling thread and keeps their accounts.

    A sink that fails is closed and left out from then on; the others do not notice. A busy one is
    called again: without limit where every frame counts, at most `patience_s` where it does not.

    Args:
        sinks: name and sink; names are unique.
        account: per-sink counters.
        source_id: for the log.
        patience_s: how long one result may wait for a busy sink; None: as long as it takes.
        aborted: when set, nobody waits any more.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        sinks: Sequence[tuple[str, Sink]],
        *,
        account: StreamAccount,
        source_id: str,
        patience_s: float | None,
        aborted: threading.Event,
        clock: Clock,
    ) -> None:
        self._sinks = dict(sinks)
        if len(self._sinks) != len(sinks):
            raise ValueError(f"sink names must differ, got {[name for name, _ in sinks]}")
        for name in self._sinks:
            account.open_sink(name)
        self._account = account
        self._source_id = source_id
        self.patience_s = patience_s
        self._aborted = aborted
        self._clock = clock
        self._closed = False
        self.errors: dict[str, str] = {}
        """Why each lost sink was lost, one line."""

    @property
    def names(self) -> list[str]:
        """All sinks, lost ones included."""
        return list(self._sinks)

    @property
    def lost_all(self) -> bool:
        """Whether there were sinks and none is left."""
        return bool(self._sinks) and len(self.errors) == len(self._sinks)

    def publish(self, result: FrameResult, picture: Picture) -> None:
        """Offer one result to every sink."""
        for name, sink in self._sinks.items():
            self._account.offered(name)
            if name in self.errors:
                self._account.sink_dropped(name, "sink_lost")
            else:
                self._write(name, sink, result, picture)

    def flush(self) -> dict[str, Position]:
        """Make everything durable; where each sink stands that is not lost."""
        positions: dict[str, Position] = {}
        for name, sink in self._alive():
            position = self._try(name, sink.flush)
            if position is not None:
                positions[name] = position
        return positions

    def check(self, positions: Mapping[str, Position]) -> None:
        """Find out whether `resume` would do, without touching anything.

        Raises:
            ConfigError: a sink says that it would not.
        """
        for name, position in positions.items():
            check_resume(self._sinks[name], position)

    def resume(self, positions: Mapping[str, Position], *, keep: bool = False) -> None:
        """Cut every sink that has a position back to it; the others begin anew.

        Args:
            positions: by the sink's name.
            keep: what is whole behind them stays.

        Raises:
            ConfigError: one cannot; nothing has been written, and nothing should be.
            SinkError: likewise.
        """
        for name, position in positions.items():
            if keep:
                resume_keeping(self._sinks[name], position)
            else:
                self._sinks[name].resume(position)

    def finish(self, end: StreamEnd) -> None:
        """Tell every sink how the stream ended."""
        for name, sink in self._alive():
            self._try(name, sink.finish, end)

    def close(self) -> None:
        """Release every sink, whatever another one raises; twice is fine."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as stack:
            for name, sink in reversed(self._alive()):
                stack.callback(self._try, name, sink.close)

    def _alive(self) -> list[tuple[str, Sink]]:
        return [(name, sink) for name, sink in self._sinks.items() if name not in self.errors]

    def _write(self, name: str, sink: Sink, result: FrameResult, picture: Picture) -> None:
        first = self._clock()
        while True:
            try:
                sink.write(result, picture)
            except SinkBusy as busy:
                if self._aborted.wait(busy.retry_after_s):
                    self._account.sink_dropped(name, "aborted")
                    return
                if self.patience_s is not None and self._clock() - first >= self.patience_s:
                    self._account.sink_dropped(name, "busy")
                    return
            except Exception as error:  # noqa: BLE001 - told to the owner by `errors`
                self._account.sink_failed(name, _cause(error))
                self._lose(name, error)
                return
            else:
                self._account.delivered(name)
                return

    def _try(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except Exception as error:  # noqa: BLE001 - told to the owner by `errors`
            self._lose(name, error)
            return None

    def _lose(self, name: str, error: Exception) -> None:
        expected = isinstance(error, MaskstreamError | OSError)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        log.error(
            "sink %s is lost, the others go on: %s",
            name,
            text,
            exc_info=None if expected else error,
            extra={"source_id": self._source_id},
        )
        self.errors[name] = text
        try:
            self._sinks[name].close()
        except Exception as second:  # noqa: BLE001 - already lost; the first reason is the one
            log.debug("closing the lost sink %s failed too: %s", name, second)


def _cause(error: Exception) -> str:
    """The word a failed write is counted under."""
    if isinstance(error, SinkFull):
        return "full"
    return "sink_error" if isinstance(error, SinkError) else "bug"
