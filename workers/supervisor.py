"""Starts the workers of a run, watches over them, drains them and says how it ended.

Who lives and who is replaced is decided in `workers.slots`; here is the loop that looks at all of
them, and what concerns the whole run.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.accounting import StreamCounts
from pipeline.clock import Clock
from pipeline.errors import MaskstreamError
from pipeline.metrics.counts import RunCounts
from pipeline.plan import RunPlan, StreamPlan
from pipeline.plan.prepare import Prepared
from pipeline.runtime import ControlledRun, Question
from pipeline.runtime.control import LATEST_WITHIN_S
from pipeline.runtime.controlled import ABORT, RUN_OVER, STOP, Adoption
from pipeline.stages import ModelInfo, Status
from pipeline.stream import Command, End, Leave
from workers import weights
from workers.crew import Crew, autoscaler
from workers.lives import Limits, Owed
from workers.machines import Machines, StartSegment
from workers.members import Member
from workers.neighbours import Neighbours
from workers.scaling import groups
from workers.segment_slots import SegmentSlots
from workers.slots import Remote, StreamSlot
from workers.stream import Pool
from workers.successors import Successors, error_of

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.5
ASLEEP_AFTER_S = 10.0
LAST_LOOK_S = 1.0

SAID: dict[Command, str] = {
    STOP: "stopping: what was captured is still published; once more to give it up",
    ABORT: "leaving: what was captured and not published is given up",
}


class Supervisor(ControlledRun):
    """Looks after all workers of one run until its streams are over; a `RunControl`.

    Args:
        plan: of the run, prepared.
        machines: where workers are started.
        stay: go on when all streams are over, until all are told to drain or leave.
        limits: how much patience there is.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        plan: RunPlan,
        machines: Machines,
        *,
        stay: bool = False,
        limits: Limits | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(plan, stay=stay)
        self._limits = limits or Limits()
        self._clock = clock
        self._machines = machines
        self._at_once = machines.stream_workers
        self._info: ModelInfo | None = None
        self._neighbours = Neighbours()
        self._hopeless: str | None = None
        self._said_missing: str | None = None
        self._looked_at_s = self._moved_at_s = clock()
        self._published = 0
        self._successors = Successors(wake=self._news.set)
        self._number = 0
        self._start: StartSegment = machines.start_segment
        self._start_next: StartSegment = machines.start_segment
        self._make = SegmentSlots(
            machines=machines,
            workers=plan.workers,
            limits=self._limits,
            wake=self._news.set,
            clock=clock,
        )
        self._crew = Crew(
            machines,
            lambda count: self._make.make(self._start, self._number, count=count),
            autoscaler(plan.workers, self._limits.pace, clock),
            plan.workers.max_batch,
            lambda: sum(stream.too_late for stream in self._slots),
            clock,
        )
        self._slots: list[StreamSlot] = []
        self._placed = 0
        for group in groups(plan.streams, plan.workers.streams_per_worker):
            self._place(group)

    def run(
        self,
        *,
        stop: threading.Event,
        abort: threading.Event,
        on_progress: Callable[[RunCounts], None] | None = None,
    ) -> tuple[End, ...]:
        """Watch until every stream is over; one `End` a stream there is, in their order.

        Raises:
            ModelError: the model cannot be loaded; nothing was read.
            MaskstreamError: no segment worker lived long enough to load it, or the machines on
                which everything runs are gone.
        """
        progress_at_s = self._clock()
        self._obey(stop, abort)
        if not self._over:  # told before, it starts nothing
            self._crew.begin()
        while not self._over:
            self._news.clear()
            if (fault := self._machines.fault()) is not None:
                raise MaskstreamError(fault)
            self._look()
            now = self._looked_at_s = self._clock()
            self._see_what_moves(now)
            self._obey(stop, abort)
            self._let_go(self._ends())
            if on_progress is not None and now >= progress_at_s:
                progress_at_s = now + PROGRESS_EVERY_S
                on_progress(self.counts())
            self._news.wait(self._limits.poll_s)
        self._look_last()
        if on_progress is not None:
            on_progress(self.counts())
        ends = self._ends()
        return tuple(self._end(ends[stream.id]) for stream in self._plan.streams)

    @property
    def _first_model(self) -> ModelInfo | None:
        return self._info

    @property
    def healthy(self) -> bool:
        """Whether the loop goes round, and something moves or could; safe from any thread."""
        now = self._clock()
        awake = now - self._looked_at_s < ASLEEP_AFTER_S
        return awake and now - self._moved_at_s < self._limits.start_timeout_s

    def counts(self) -> RunCounts:
        """See `RunControl`."""
        with self._lock:  # no stream goes meanwhile
            slots = {source_id: slot for slot in self._slots for source_id in slot.source_ids}
            ids = [stream.id for stream in self._plan.streams]
            return RunCounts(
                streams=tuple(
                    slots[i].counts(i) if i in slots else StreamCounts(i, "queued") for i in ids
                ),
                workers=tuple(
                    slot.counts() for slot in (*self._crew.places, *self._successors.all)
                ),
                stream_restarts={i: slots[i].restarts.total for i in ids if i in slots},
            )

    def close(self) -> None:
        """End every worker, whatever it is doing."""
        self._closed = self._closed or RUN_OVER
        for segment in self._crew.places:
            segment.close()
        self._successors.close()
        for stream in self._slots:
            stream.close()

    def _see_what_moves(self, now: float) -> None:
        """Remember when a segment worker was last ready, or a stream has last moved."""
        ready = any(slot.ready for slot in self._crew.places)
        published = 0 if ready else sum(counts.published for counts in self.counts().streams)
        if ready or published != self._published:
            self._published, self._moved_at_s = published, now

    @property
    def _over(self) -> bool:
        return self._is_over(all_over=all(slot.over for slot in self._slots))

    def _ends(self) -> dict[str, End]:
        return {source_id: end for slot in self._slots for source_id, end in slot.ends.items()}

    def _obey(self, stop: threading.Event, abort: threading.Event) -> None:
        """As of every run; a drain that gets nowhere is given up."""
        still_s = self._clock() - self._moved_at_s
        if STOP in self._told and still_s > self._limits.drain_timeout_s:
            self._tell_once(ABORT)
        super()._obey(stop, abort)

    def _tell_once(self, command: Command) -> bool:
        """As of every run, and for the user to see."""
        told = super()._tell_once(command)
        if told:
            self._moved_at_s = self._clock()  # a drain has its time from here on
            log.warning("%s", SAID[command])
        return told

    def _bring(self, number: int, ready: Prepared) -> ModelInfo:
        weights.check_local(ready)
        fetched = weights.fetch(
            ready, told=lambda: self._closed is not None, fault=self._machines.fault
        )
        self._start_next = self._machines.bring(ready.plan.model, fetched)
        make = partial(self._make.make, self._start_next, count=self._crew.count)
        return self._successors.bring(number, make, over=lambda: self._closed)

    def _turn_away(self) -> None:
        self._successors.turn_away()

    def _adopt(self, adoption: Adoption) -> None:
        self._crew.places = self._successors.adopt(adoption.number, self._crew.places)
        self._number, self._info, self._start = adoption.number, adoption.info, self._start_next
        self._machines.adopt(self._plan.model)

    def _begin(self, plan: StreamPlan) -> None:
        self._place((plan,))
        self._news.set()

    def _pass_on(self, source_id: str, command: Command) -> None:
        for slot in self._slots:
            if source_id in slot.source_ids:
                slot.tell(command, [source_id])

    def _ask(self, source_id: str, question: Question) -> Any:
        with self._lock:  # no stream goes meanwhile
            slot = next((slot for slot in self._slots if source_id in slot.source_ids), None)
            asked = None if slot is None else slot.ask(source_id, question)
        if asked is None:
            return None
        wait([asked], timeout=LATEST_WITHIN_S)
        known = asked.done() and asked.exception() is None  # else the worker has died over it
        return asked.result() if known else None

    def _forget(self, source_id: str) -> None:
        for slot in self._slots:
            slot.forget(source_id)
            if not slot.source_ids:
                slot.close()
        self._slots = [slot for slot in self._slots if slot.source_ids]

    def _look(self) -> None:
        """Once at every worker."""
        owed: defaultdict[Member, list[Owed]] = defaultdict(list)
        for stream in self._slots:
            for member, one in stream.owed.items():
                owed[member].append(one)
        self._crew.step(owed)
        self._successors.step(owed)
        self._give_up_without_workers()
        slots = (*self._crew.places, *self._successors.leaving)
        places = [slot.place for slot in slots if slot.present]
        self._neighbours.set(places, model=self._number, room=self._machines.room())
        self._let_begin()
        self._successors.let_go(self._slots, self._pool_of)
        for stream in self._slots:
            stream.step(self._pool_of(stream), self._machines.going())

    def _pool_of(self, stream: StreamSlot) -> Pool:
        return self._neighbours.of(stream.number, stream.owed)

    def _look_last(self) -> None:
        """Segment workers may have counted more since they were looked at."""
        asked = [(slot, slot.ask_last()) for slot in self._crew.places if slot.present]
        wait([report for _, report in asked], timeout=LAST_LOOK_S)
        for slot, report in asked:
            if report.done() and report.exception() is None:
                slot.note(report.result())

    def _let_begin(self) -> None:
        """Start the streams whose turn it is, as soon as there is a segment worker for them."""
        if self._info is None and not self._waits_for_machines():
            found = next((slot.info for slot in self._crew.places if slot.ready), None)
            self._info = None if found is None else self._plan.model.named(found)
        running = 0
        for stream in self._slots:
            if stream.over:
                stream.close()
                continue
            if running >= self._at_once and not stream.live:
                continue
            running += not stream.live
            if not stream.launched:
                stream.launch()
            if stream.launched and not stream.begun and self._info is not None:
                stream.begin(self._info, self._pool_of(stream))

    def _waits_for_machines(self) -> bool:
        """Whether some are missing; said once."""
        missing = self._machines.missing()
        if missing is not None and missing != self._said_missing:
            log.warning("%s", missing)
        self._said_missing = missing
        return missing is not None

    def _give_up_without_workers(self) -> None:
        """Without any segment worker, and none allowed to come back, nothing can go on."""
        if self._hopeless is not None or not all(slot.given_up for slot in self._crew.manned):
            return
        refused = next((slot.refused for slot in self._crew.places if slot.refused), None)
        if self._info is None and refused is not None:
            raise error_of(refused)
        last = self._crew.places[-1]
        reason = f"no segment worker is left: {last.reason}"
        if refused is None:
            reason += f", after {last.restarts}"
        if self._info is None:
            raise MaskstreamError(reason)
        self._hopeless = reason
        log.error("%s", reason)
        self.tell_all(Leave(reason, cause="workers_lost"))

    def _end(self, end: End) -> End:
        """A stream that was ended because no worker was left says so."""
        if self._hopeless is None or end.outcome.status is Status.COMPLETE:
            return end
        outcome = replace(end.outcome, status=Status.FAILED, reason=self._hopeless)
        return replace(end, outcome=outcome, bug=self._hopeless)

    def _place(self, streams: Sequence[StreamPlan]) -> None:
        """Make the place of a stream worker that runs these."""
        machines, spread = self._machines, self._placed
        each = self._plan.workers.streams_per_worker

        def start(left: Sequence[StreamPlan], again: bool) -> Remote | None:
            return machines.start_stream(left, spread=spread, again=again)

        slot = StreamSlot(
            streams,
            start=start,
            number=spread,
            limits=self._limits.for_workers(math.ceil(len(self._plan.streams) / each)),
            memory_bytes=self._plan.workers.stream_memory_bytes,
            wake=self._news.set,
            clock=self._clock,
        )
        self._placed += len(streams)
        self._slots = [*self._slots, slot]
