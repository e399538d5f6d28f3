"""The writing side of a stream: every result to every sink, each of which may fail alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.delivery.direct import Direct
from pipeline.delivery.farewell import Farewell
from pipeline.delivery.held import HeldOutbox
from pipeline.delivery.outbox import Outbox
from pipeline.delivery.promise import promise_of
from pipeline.delivery.service import service_of, state_of
from pipeline.delivery.spooled import SpooledOutbox
from pipeline.delivery.writer import Flushed, SinkWriter
from pipeline.errors import ConfigError, in_one_line
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import (
    ChecksResume,
    Position,
    Sink,
    StreamEnd,
    check_resume,
    resume_keeping,
)


class Publisher:
    """Offers every result to every sink, each of which may fail alone.

    A sink that fails is closed and left out from then on; the others do not notice. A busy one is
    called again: without limit where every frame counts, only for a while where it does not. What
    a sink promises decides how it is written: in the calling thread, or behind an outbox.

    Args:
        sinks: name and sink; names are unique.
        account: per-sink counters.
        patience_s: how long one result of a camera may wait for a quick sink that is busy.
        flush_timeout_s: how long a sink may take to flush; then it is lost.
        aborted: when set, nobody waits any more.
        clock: seconds, monotonic.
        stopped: whether the stream was told to end: a service that is away is not waited for then.
    """

    def __init__(
        self,
        sinks: Sequence[tuple[str, Sink]],
        *,
        account: StreamAccount,
        patience_s: float,
        flush_timeout_s: float,
        aborted: threading.Event,
        clock: Clock,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._closed = False
        self._account, self._clock = account, clock
        self._patience_s, self._flush_timeout_s = patience_s, flush_timeout_s
        self._aborted, self._stopped = aborted, stopped
        self._ways = {name: self._way(name, sink) for name, sink in sinks}
        self._farewells: dict[str, Farewell] = {}
        """Those that have left, as long as they are not closed."""
        if len(self._ways) != len(sinks):
            raise ValueError(f"sink names must differ, got {[name for name, _ in sinks]}")

    def exchange(
        self, come: Sequence[tuple[str, Sink]], leave: Collection[str], end: StreamEnd
    ) -> None:
        """Go on with other sinks of a camera, between two results; returns at once.

        Those that leave get what waits for them and are finished and closed in threads beside.

        Args:
            come: name and sink of the new ones.
            leave: names of those that go.
            end: what those that leave are told.
        """
        left = {name: way for name, way in self._ways.items() if name in leave}
        stay = {name: way for name, way in self._ways.items() if name not in leave}
        self._farewells = {name: one for name, one in self._farewells.items() if not one.over()}
        for name, way in left.items():
            self._farewells[name] = Farewell(name, way, end, self._account)
        self._ways = stay | {name: self._way(name, sink) for name, sink in come}

    def has_left(self, name: str) -> bool:
        """Whether nothing is left of a sink of this name."""
        return name not in self._farewells or self._farewells[name].over()

    def _way(self, name: str, sink: Sink) -> Direct | Outbox:
        """How results get to a sink: as it promises."""
        account = self._account
        account.open_sink(name)
        may_wait_s, service = promise_of(sink).may_wait_s, service_of(sink)
        writer = SinkWriter(
            name,
            sink,
            account=account,
            patience_s=0.0 if service else may_wait_s or self._patience_s,
            flush_timeout_s=self._flush_timeout_s,
            aborted=self._aborted,
            clock=self._clock,
        )
        if (state := state_of(sink)) is not None:
            account.watch_sink(name, state)
        timeout_s, aborted = self._flush_timeout_s, self._aborted
        if service is not None:
            return SpooledOutbox(
                writer,
                service,
                account=account,
                end_timeout_s=timeout_s,
                aborted=aborted,
                clock=self._clock,
                stopped=self._stopped,
            )
        if may_wait_s:
            return HeldOutbox(writer, account=account, end_timeout_s=timeout_s, aborted=aborted)
        return Direct(writer, account=account, clock=self._clock)

    def take_every_result(self) -> None:
        """Every frame counts: sinks are waited for, as long as it takes."""
        for way in self._ways.values():
            way.take_every_result()

    @property
    def errors(self) -> dict[str, str]:
        """Why each lost sink was lost, one line."""
        return {
            name: way.writer.error
            for name, way in self._ways.items()
            if way.writer.error is not None
        }

    @property
    def behind(self) -> bool:
        """Whether a sink may lack what it was offered: nothing may be noted as done then."""
        return any(way.behind for way in self._ways.values())

    def handed(self) -> dict[str, int]:
        """How many messages each sink was ever given that forwards them to a service."""
        return {name: way.handed for name, way in self._ways.items()}

    def have_taken(self, handed: Mapping[str, int]) -> bool:
        """Whether services have taken all these; of a sink that is lost nothing is waited for."""
        return all(
            self._ways[name].taken >= count or self._ways[name].writer.error is not None
            for name, count in handed.items()
        )

    @property
    def names(self) -> list[str]:
        """All sinks, lost ones included."""
        return list(self._ways)

    @property
    def lost_all(self) -> bool:
        """Whether there were sinks and none is left."""
        return bool(self._ways) and len(self.errors) == len(self._ways)

    def publish(self, result: FrameResult, picture: Picture) -> list[tuple[str, float, float]]:
        """Offer one result to every sink; name of each, when that began and ended."""
        took = []
        for name, way in self._ways.items():
            began_s = self._clock()
            way.offer(result, picture)
            took.append((f"sink {name}", began_s, self._clock()))
        return took

    def flush(self) -> dict[str, Position]:
        """Make everything durable; where each sink stands that is not lost.

        All flush at the same time, so that it takes as long as the slowest of them, and each is
        waited for whatever another one raises. A camera does not wait for one that is slow: where
        it stands is what is known of the flush before.
        """
        positions: dict[str, Position | None] = {}

        def note(name: str, flushed: Flushed) -> None:
            positions[name] = flushed()

        with ExitStack() as stack:
            for name, way in reversed(self._ways.items()):
                stack.callback(note, name, way.begin_flush())
        return {name: position for name, position in positions.items() if position is not None}

    def check(self, positions: Mapping[str, Position]) -> None:
        """Find out whether `resume` would do, without touching anything.

        Raises:
            ConfigError: a sink says that it would not.
        """
        for name, position in positions.items():
            try:
                check_resume(self._ways[name].writer.sink, position)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ConfigError(
                    f"sink {name}: cannot be resumed, the last checkpoint is of another version "
                    f"({in_one_line(error)}); start over with --overwrite or name another path"
                ) from error

    def resume(self, positions: Mapping[str, Position], *, keep: bool = False) -> None:
        """Cut every sink that has a position back to it; the others begin anew.

        Args:
            positions: by the sink's name.
            keep: what is whole behind them stays.

        Raises:
            ConfigError: one cannot; nothing has been written, and nothing should be.
            SinkError: likewise.
        """
        sinks = {name: self._ways[name].writer.sink for name in positions}
        # Who could not be asked may refuse only now; nobody else has been cut back by then.
        for name in sorted(sinks, key=lambda name: isinstance(sinks[name], ChecksResume)):
            if keep:
                resume_keeping(sinks[name], positions[name])
            else:
                sinks[name].resume(positions[name])

    def finish(self, end: StreamEnd) -> None:
        """Tell every sink how the stream ended."""
        for way in self._ways.values():
            way.finish(end)

    def close(self) -> None:
        """Release every sink, whatever another one raises; twice is fine."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as stack:
            for farewell in self._farewells.values():
                stack.callback(farewell.over, self._flush_timeout_s)
            for way in reversed(self._ways.values()):
                stack.callback(way.close)
