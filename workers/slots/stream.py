"""`StreamSlot`: the place of one stream worker."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from pipeline.accounting import StreamCounts
from pipeline.clock import Clock
from pipeline.config import SourceSettings
from pipeline.stages import ModelInfo, Outcome, Status
from pipeline.stream import End
from workers.dispatch import Member
from workers.lives import Limits, Owed, Restarts
from workers.logs import relay
from workers.slots.remote import Asked, Remote
from workers.stream import Pool, StreamReport

log = logging.getLogger(__name__)


class StreamSlot:
    """The place of one stream worker.

    A worker that dies leaves its unfinished streams to the next, which goes on where their last
    checkpoints stand; after too many deaths they have failed, and the others go on.

    Args:
        sources: what it runs.
        live: ids of those that are cameras: what they had in flight is gone for good.
        start: starts a worker for these sources; True: again, after a death.
        limits: how much patience there is.
        memory_bytes: what a process may hold for itself; one that holds more is ended.
        wake: called, from any thread, when there is something to look at.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        sources: Sequence[SourceSettings],
        *,
        live: Collection[str],
        start: Callable[[Sequence[SourceSettings], bool], Remote],
        limits: Limits,
        memory_bytes: float = math.inf,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.ends: dict[str, End] = {}
        """Streams that are over."""
        self.restarts = Restarts(limits.stream_restarts, limits.restart_window_s, clock)
        self.owed: dict[Member, Owed] = {}
        """What segment workers owe to its streams."""
        self.pid: int | None = None
        self._sources = {source.id: source for source in sources}
        self._live = live
        self._start_worker = start
        self._limits = limits
        self._memory_bytes = memory_bytes
        self._wake = wake
        self._clock = clock
        self._past = {source_id: StreamCounts(source_id) for source_id in self._sources}
        self._counts = {source_id: StreamCounts(source_id, "queued") for source_id in self._sources}
        self._info: ModelInfo | None = None
        self._wishes: list[tuple[Any, ...]] = []
        self._orders: list[Future[Any]] = []
        self._asked: Asked | None = None
        self._ask_at_s = 0.0
        self._patience_s = limits.start_timeout_s
        self._worker: Remote | None = None
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether all its streams are."""
        return len(self.ends) == len(self._sources)

    @property
    def live(self) -> bool:
        """Whether there is a camera among its streams: it cannot wait for its turn."""
        return bool(self._live)

    @property
    def launched(self) -> bool:
        """Whether it has, or had, a process."""
        return self._worker is not None

    @property
    def begun(self) -> bool:
        """Whether its streams were let run."""
        return self._info is not None

    @property
    def source_ids(self) -> list[str]:
        """Of all its streams."""
        return list(self._sources)

    def counts(self, source_id: str) -> StreamCounts:
        """Of all lives of a stream."""
        if source_id in self._live:
            return self._past[source_id] + self._counts[source_id]
        return self._counts[source_id]  # a file's counts are in its checkpoint

    def launch(self) -> None:
        """Start the process, so that it is there when there is a model."""
        self._worker = self._start_worker(list(self._sources.values()), False)
        self._counts = {source_id: StreamCounts(source_id) for source_id in self._sources}

    def begin(self, info: ModelInfo, pool: Pool) -> None:
        """Let the streams run."""
        self._info = info
        self._call("begin", info, pool)

    def tell(self, method: str, *args: Any) -> None:
        """`stop` or `abort` the streams, in this life and any later one."""
        if self._info is None:
            for source_id in self._sources:
                outcome = Outcome(Status.INCOMPLETE, "stopped before it began")
                counts = StreamCounts(source_id, "ended")
                self.ends[source_id] = End(source_id, outcome, counts, stopped=True)
            return
        self._wishes.append((method, *args))
        self._call(method, *args)

    def step(self, pool: Pool) -> None:
        """Look once."""
        if self.over or self._info is None:
            return
        if (error := self._disobeyed()) is not None:
            self._lose(self._remote.reason(error), pool)
            return
        asked, now = self._asked, self._clock()
        if asked is None:
            if now >= self._ask_at_s:
                future = self._remote.call("report", pool)
                self._asked = Asked(future, now, self._patience_s)
                future.add_done_callback(lambda _: self._wake())
        elif asked.future.done():
            self._asked = None
            self._ask_at_s = now + self._limits.poll_s
            if (error := asked.future.exception()) is not None:
                self._lose(self._remote.reason(error), pool)
            else:
                report: StreamReport = asked.future.result()
                self._take(report)
                self._check_memory(report, pool)
        elif now - asked.at_s > asked.patience_s:
            self._lose(f"did not answer for {asked.patience_s:.0f} s", pool)

    def look_now(self) -> None:
        """Tell the worker at the next step, without waiting for its turn."""
        self._ask_at_s = 0.0

    def close(self) -> None:
        """End the process for good; safe twice."""
        if self._worker is not None and not self._closed:
            self._closed = True
            self._worker.kill()

    @property
    def _remote(self) -> Remote:
        assert self._worker is not None, "`launch` comes first"  # noqa: S101 - a bug of ours
        return self._worker

    def _call(self, method: str, *args: Any) -> None:
        self._orders.append(self._remote.call(method, *args))

    def _disobeyed(self) -> BaseException | None:
        """Why an order was not carried out."""
        done = [order for order in self._orders if order.done()]
        self._orders = [order for order in self._orders if order not in done]
        return next((error for order in done if (error := order.exception()) is not None), None)

    def _take(self, report: StreamReport) -> None:
        self._patience_s = self._limits.ping_timeout_s
        self.pid = report.pid
        now = self._clock()
        self.owed = {m: Owed(now - owed_s, now) for m, owed_s in report.owed_for_s.items()}
        self._counts.update({counts.source_id: counts for counts in report.counts})
        relay(report.lines, worker="/".join(self._sources))
        for source_id, end in report.ends.items():
            self._counts[source_id] = end.counts
            self.ends[source_id] = replace(end, counts=self.counts(source_id))

    def _check_memory(self, report: StreamReport, pool: Pool) -> None:
        if report.own_bytes > self._memory_bytes and not self.over:
            held, most = report.own_bytes / 1e6, self._memory_bytes / 1e6
            self._lose(f"held {held:.0f} MB, workers.stream_memory_mb is {most:g}", pool)

    def _lose(self, reason: str, pool: Pool) -> None:
        self._remote.kill()
        self._asked, self._orders = None, []
        self._ask_at_s = self._clock()
        self.owed = {}
        left = [source for source_id, source in self._sources.items() if source_id not in self.ends]
        for source in left:
            lost = self._counts[source.id].lost("worker_died")
            self._past[source.id] += lost
            self._counts[source.id] = (
                StreamCounts(source.id) if source.id in self._live else replace(lost, state="lost")
            )
        if not self.restarts.allowed:
            for source in left:
                self.ends[source.id] = self._failed(source.id, reason)
            return
        self.restarts.note()
        names = ", ".join(source.id for source in left)
        log.warning("%s: the stream worker %s; it starts again", names, reason)
        self._patience_s = self._limits.start_timeout_s
        self._worker = self._start_worker(left, True)
        self._call("begin", self._info, pool)
        for wish in self._wishes:
            self._call(*wish)

    def _failed(self, source_id: str, reason: str) -> End:
        text = f"the stream worker {reason}, after {self.restarts}"
        log.error("%s: %s", source_id, text)
        counts = replace(self.counts(source_id), state="failed")
        return End(source_id, Outcome(Status.FAILED, text), counts, bug=text)
