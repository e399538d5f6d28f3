"""`StreamSlot`: the place of one stream worker."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from pipeline.accounting import StreamCounts
from pipeline.clock import Clock
from pipeline.plan import StreamPlan
from pipeline.plan.outputs import with_sinks
from pipeline.runtime import Question
from pipeline.stages import ModelInfo, Outcome, Status
from pipeline.stream import Command, End, Leave
from pipeline.stream.commands import ENDING, Adjust, Switch, still_wanted, why_ending
from workers.lives import Limits, Owed, Restarts
from workers.logs import relay
from workers.members import Member
from workers.slots.handle import Asked, Remote
from workers.slots.totals import Totals
from workers.stream import Pool, StreamReport

log = logging.getLogger(__name__)

TOO_LATE = ("buffer_full", "stale")
"""Causes of drops that more segment workers would prevent."""


class StreamSlot:
    """The place of one stream worker.

    A worker that dies leaves its unfinished streams to the next, which goes on where their last
    checkpoints stand; after too many deaths they have failed, and the others go on.

    Args:
        streams: what it runs.
        start: starts a worker for these streams; True: again, after a death. None: no machine has
            room for it.
        limits: how much patience there is.
        number: of its first stream among all.
        memory_bytes: what a process may hold for itself; one that holds more is ended.
        wake: called, from any thread, when there is something to look at.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        streams: Sequence[StreamPlan],
        *,
        start: Callable[[Sequence[StreamPlan], bool], Remote | None],
        limits: Limits,
        number: int = 0,
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
        self.number = number
        self._streams = {stream.id: stream for stream in streams}
        # What cameras had in flight is gone for good.
        self._live = {stream.id for stream in streams if stream.source.live}
        self._start_worker = start
        self._limits = limits
        self._memory_bytes = memory_bytes
        self._wake = wake
        self._clock = clock
        self._totals = {i: Totals(i, live=i in self._live) for i in self._streams}
        self._info: ModelInfo | None = None
        self._told: dict[str, tuple[Command, ...]] = {i: () for i in self._streams}
        self._orders: list[Future[Any]] = []
        self._asked: Asked | None = None
        self._ask_at_s = 0.0
        self._takers: frozenset[Member] = frozenset()
        self._heard = False
        self._worker: Remote | None = None
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether all its streams are."""
        return len(self.ends) == len(self._streams)

    @property
    def live(self) -> bool:
        """Whether there is a camera among its streams: it cannot wait for its turn."""
        return bool(self._live)

    @property
    def launched(self) -> bool:
        """Whether it has, or had, a process."""
        return self._worker is not None or self.restarts.total > 0

    @property
    def begun(self) -> bool:
        """Whether its streams were let run."""
        return self._info is not None

    @property
    def source_ids(self) -> list[str]:
        """Of all its streams."""
        return list(self._streams)

    def counts(self, source_id: str) -> StreamCounts:
        """Of all lives of a stream."""
        return self._totals[source_id].shown

    @property
    def too_late(self) -> int:
        """Frames that were dropped because segment workers were too busy for them."""
        dropped = [totals.shown.dropped for totals in self._totals.values()]
        return sum(one.get(cause, 0) for one in dropped for cause in TOO_LATE)

    def launch(self) -> None:
        """Start the process, so that it is there when there is a model."""
        self._worker = self._start_worker([self._streams[i] for i in self._left], False)
        if self._worker is not None:
            for source_id, totals in self._totals.items():
                totals.note(StreamCounts(source_id))

    def begin(self, info: ModelInfo, pool: Pool) -> None:
        """Let the streams run."""
        self._info = info
        self._begin(pool)

    def tell(self, command: Command, source_ids: Collection[str] | None = None) -> None:
        """Have streams obey, in this life and any later one; None: all of them."""
        if isinstance(command, Switch) and self._info is not None:
            self._info = command.info  # a next life begins with it
        asked = self._streams if source_ids is None else source_ids
        told = [source_id for source_id in asked if source_id not in self.ends]
        for source_id in told:
            self._told[source_id] = still_wanted(self._told[source_id], command)
            if isinstance(command, Adjust) and command.sinks is not None:
                plan = with_sinks(self._streams[source_id], command.sinks)
                self._streams[source_id] = plan  # a next life begins with them
        if self._info is None:
            self._end_before_it_began(told)
        elif told and self._worker is not None:
            self._call("obey", command, told)
            if isinstance(command, ENDING) and not self._heard and self._asked is not None:
                self._asked = Asked(self._asked.future, self._clock(), self._patience_s)

    def ask(self, source_id: str, question: Question) -> Future[Any] | None:
        """A stream; from any thread. None: nobody is there who could know."""
        if self._info is None or source_id in self.ends or self._worker is None:
            return None
        return self._worker.call("ask", source_id, question)

    def forget(self, source_id: str) -> None:
        """Keep nothing of a stream that is over; without any the place is free."""
        for kept in (self._streams, self.ends, self._totals, self._told):
            kept.pop(source_id, None)

    def step(self, pool: Pool, going: Collection[str] = ()) -> None:
        """Look once; `going` are machines that will be gone soon."""
        if self.over or self._info is None:
            return
        if self._worker is None:
            self._start_again(pool)
            return
        if self._worker.gone is not None:
            self._lose(self._worker.gone, pool)
            return
        if self._worker.node in going:
            self._move(pool)
            return
        if (error := self._disobeyed()) is not None:
            self._lose(self._remote.reason(error), pool)
            return
        asked, now = self._asked, self._clock()
        if asked is None:
            if now >= self._ask_at_s or pool.takers != self._takers:
                self._takers = pool.takers
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
        elif asked.overdue(now):
            what = "answer for" if self._heard else "start within"
            self._lose(f"did not {what} {asked.patience_s:.0f} s", pool)

    def has_left(self, model: int) -> bool:
        """Whether its streams have gone on from this model, by its number, to a later one."""
        return self._info is None or all(self.counts(i).model > model for i in self._left)

    def lose(self, reason: str, pool: Pool) -> None:
        """End the present life; the next goes on with the segment workers of `pool`."""
        self._lose(reason, pool)

    def close(self) -> None:
        """End the process for good; safe twice."""
        if self._worker is not None and not self._closed:
            self._closed = True
            self._worker.kill()

    @property
    def _patience_s(self) -> float:
        """How long the next answer may take; a drain does not wait for who may never start."""
        starting = not self._heard and any(self._why_ending(i) is None for i in self._left)
        return self._limits.process_timeout_s if starting else self._limits.ping_timeout_s

    @property
    def _remote(self) -> Remote:
        assert self._worker is not None, "`launch` comes first"  # noqa: S101 - a bug of ours
        return self._worker

    @property
    def _left(self) -> list[str]:
        """Streams that are not over."""
        return [source_id for source_id in self._streams if source_id not in self.ends]

    def _begin(self, pool: Pool) -> None:
        self._call("begin", self._info, pool, {i: self._told[i] for i in self._left})

    def _call(self, method: str, *args: Any) -> None:
        self._orders.append(self._remote.call(method, *args))

    def _disobeyed(self) -> BaseException | None:
        """Why an order was not carried out."""
        done = [order for order in self._orders if order.done()]
        self._orders = [order for order in self._orders if order not in done]
        return next((error for order in done if (error := order.exception()) is not None), None)

    def _take(self, report: StreamReport) -> None:
        self._heard = True
        self.pid = report.pid
        now = self._clock()
        self.owed = {m: Owed(now - owed_s, now) for m, owed_s in report.owed_for_s.items()}
        relay(report.lines, worker="/".join(self._streams))
        ends = {i: end for i, end in report.ends.items() if i in self._streams}
        for counts in (*report.counts, *(end.counts for end in ends.values())):
            self._note(counts)
        for source_id, end in ends.items():
            # A file's end is that of an undisturbed run.
            totals = self._totals[source_id]
            counts = totals.shown if totals.live else end.counts
            self.ends[source_id] = replace(end, counts=counts)

    def _note(self, counts: StreamCounts) -> None:
        totals = self._totals.get(counts.source_id)
        if totals is None:
            return  # forgotten; its neighbours go on
        before = totals.shown.published
        totals.note(counts)
        if totals.shown.published > before:
            self.restarts.worked()

    def _check_memory(self, report: StreamReport, pool: Pool) -> None:
        if report.own_bytes > self._memory_bytes and not self.over:
            held, most = report.own_bytes / 1e6, self._memory_bytes / 1e6
            self._lose(f"held {held:.0f} MB, workers.stream_memory_mb is {most:g}", pool)

    def _lose(self, reason: str, pool: Pool) -> None:
        self._end_life(reason)
        if not self.restarts.allowed:
            self.ends.update({i: self._failed(i, reason) for i in self._left})
        if self.over:
            return
        self.restarts.note()
        log.warning("%s: the stream worker %s; it starts again", ", ".join(self._left), reason)
        self._start_again(pool)

    def _move(self, pool: Pool) -> None:
        """Go on somewhere else, from the last checkpoints."""
        log.warning("%s: going on elsewhere, the machine will be gone", ", ".join(self._left))
        self._end_life("was on a machine that is gone")
        if not self.over:
            self._start_again(pool)

    def _end_life(self, reason: str) -> None:
        """The worker is gone; streams that were told to leave go with it."""
        self._remote.kill()
        self._asked, self._orders = None, []
        self._ask_at_s = self._clock()
        self.owed = {}
        for source_id in self._left:
            self._totals[source_id].next_life()
            if self._leaving(source_id):
                self.ends[source_id] = self._gone(source_id, reason)
        self._heard = False

    def _start_again(self, pool: Pool) -> None:
        """As soon as there is room; who is told to end meanwhile waits for none."""
        self._worker = self._start_worker([self._streams[i] for i in self._left], True)
        if self._worker is not None:
            self._begin(pool)
            return
        for source_id in self._left:
            if self._leaving(source_id):
                self.ends[source_id] = self._gone(source_id, "was lost")

    def _end_before_it_began(self, source_ids: Iterable[str]) -> None:
        for source_id in source_ids:
            if (why := self._why_ending(source_id)) is not None:
                self.ends[source_id] = End.not_begun(source_id, why)

    def _failed(self, source_id: str, reason: str) -> End:
        text = f"the stream worker {reason}, after {self.restarts}"
        log.error("%s: %s", source_id, text)
        counts = self._totals[source_id].give_up("failed", text)
        return End(source_id, Outcome(Status.FAILED, text), counts, bug=text)

    def _why_ending(self, source_id: str) -> str | None:
        return why_ending(self._told[source_id])

    def _leaving(self, source_id: str) -> bool:
        """Whether another life would come too late: told to leave, or to drain and not started."""
        told = self._told[source_id]
        return any(isinstance(one, Leave) for one in told) or (
            not self._heard and why_ending(told) is not None
        )

    def _gone(self, source_id: str, reason: str) -> End:
        counts = self._totals[source_id].give_up("ended")
        outcome = Outcome(Status.INCOMPLETE, f"stopped; its worker {reason}")
        why = self._why_ending(source_id)
        return End(source_id, outcome, counts, stopped=True, why_stopped=why)
