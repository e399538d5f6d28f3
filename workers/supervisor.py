"""Starts the workers of a run, watches over them, drains them and says how it ended.

`run` is the cluster's twin of `pipeline.runner.run_local`: the same plan in, the same summary
out, and for files the same bytes written. Who lives and who is replaced is decided in
`workers.slots`; here is the loop that looks at all of them, and what concerns the whole run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import replace

from pipeline.clock import Clock
from pipeline.errors import MaskstreamError, ModelError
from pipeline.metrics.counts import RunCounts
from pipeline.plan import RunPlan, StreamPlan
from pipeline.plan.prepare import prepare
from pipeline.stages import ModelInfo, Status
from pipeline.stream import Command, Drain, End, Leave, RunSummary
from workers import weights
from workers.dispatch import Member
from workers.lives import LOOK_WITHIN_S, Limits, Owed
from workers.machines import Machines
from workers.scaling import groups
from workers.segment import Refused
from workers.signals import drained_by_signals
from workers.slots import Remote, SegmentSlot, StreamSlot
from workers.stream import Pool

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.5
ASLEEP_AFTER_S = 10.0
LAST_LOOK_S = 1.0

STOP = Drain("the run was told to stop")
ABORT = Leave("told to leave at once")
SAID: dict[Command, str] = {
    STOP: "stopping: what was captured is still published; once more to give it up",
    ABORT: "leaving: what was captured and not published is given up",
}


class Supervisor:
    """Looks after all workers of one run until its streams are over.

    Args:
        plan: of the run, prepared.
        machines: where workers are started.
        limits: how much patience there is.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        plan: RunPlan,
        machines: Machines,
        *,
        limits: Limits | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._plan = plan
        self._limits = limits or Limits()
        self._clock = clock
        self._machines = machines
        self._at_once = machines.stream_workers
        self._news = threading.Event()
        self._info: ModelInfo | None = None
        self._members: frozenset[Member] = frozenset()
        self._hopeless: str | None = None
        self._told: set[Command] = set()
        self._looked_at_s = self._moved_at_s = clock()
        self._published = 0
        self.segments: list[SegmentSlot] = []
        self.streams = self._stream_slots(machines)

    def run(
        self,
        *,
        stop: threading.Event,
        abort: threading.Event,
        on_progress: Callable[[RunCounts], None] | None = None,
    ) -> tuple[End, ...]:
        """Watch until every stream is over; one `End` a source, in the order of the plan.

        Raises:
            ModelError: the model cannot be loaded; nothing was read.
            MaskstreamError: no segment worker lived long enough to load it, or the machines on
                which everything runs are gone.
        """
        progress_at_s = self._clock()
        self._obey(stop, abort)
        if not all(slot.over for slot in self.streams):  # told before, it starts nothing
            count = self._machines.segment_workers
            self.segments = [self._segment_slot(number) for number in range(count)]
        while not all(slot.over for slot in self.streams):
            self._news.clear()
            if (fault := self._machines.fault()) is not None:
                raise MaskstreamError(fault)
            self._look()
            now = self._looked_at_s = self._clock()
            self._see_what_moves(now)
            self._obey(stop, abort)
            if on_progress is not None and now >= progress_at_s:
                progress_at_s = now + PROGRESS_EVERY_S
                on_progress(self.counts())
            self._news.wait(self._limits.poll_s)
        self._look_last()
        if on_progress is not None:
            on_progress(self.counts())
        ends = {source_id: end for slot in self.streams for source_id, end in slot.ends.items()}
        return tuple(self._end(ends[stream.id]) for stream in self._plan.streams)

    @property
    def healthy(self) -> bool:
        """Whether the loop goes round, and something moves or could; safe from any thread."""
        now = self._clock()
        awake = now - self._looked_at_s < ASLEEP_AFTER_S
        return awake and now - self._moved_at_s < self._limits.start_timeout_s

    def counts(self) -> RunCounts:
        """Everything there is to see at this moment; safe from any thread."""
        slots = {source_id: slot for slot in self.streams for source_id in slot.source_ids}
        ids = [stream.id for stream in self._plan.streams]
        return RunCounts(
            streams=tuple(slots[source_id].counts(source_id) for source_id in ids),
            workers=tuple(slot.counts() for slot in self.segments),
            stream_restarts={source_id: slots[source_id].restarts.total for source_id in ids},
        )

    def close(self) -> None:
        """End every worker, whatever it is doing."""
        for segment in self.segments:
            segment.close()
        for stream in self.streams:
            stream.close()

    def _see_what_moves(self, now: float) -> None:
        """Remember when a segment worker was last ready, or a stream has last moved."""
        ready = any(slot.ready for slot in self.segments)
        published = 0 if ready else sum(counts.published for counts in self.counts().streams)
        if ready or published != self._published:
            self._published, self._moved_at_s = published, now

    def _obey(self, stop: threading.Event, abort: threading.Event) -> None:
        """Pass on what is asked for, once; a drain that gets nowhere is given up."""
        pairs: list[tuple[Command, threading.Event]] = [(STOP, stop), (ABORT, abort)]
        asked = [command for command, event in pairs if event.is_set()]
        still_s = self._clock() - self._moved_at_s
        if STOP in self._told and still_s > self._limits.drain_timeout_s:
            asked.append(ABORT)
        for command in asked:
            if command not in self._told:
                self._told.add(command)
                self._moved_at_s = self._clock()  # a drain has its time from here on
                log.warning("%s", SAID[command])
                self._tell(command)

    def _look(self) -> None:
        """Once at every worker."""
        owed: defaultdict[Member, list[Owed]] = defaultdict(list)
        for stream in self.streams:
            for member, one in stream.owed.items():
                owed[member].append(one)
        for slot in self.segments:
            slot.step(owed[slot.place[0]])
        self._give_up_without_workers()
        ready = [slot.place for slot in self.segments if slot.ready]
        pool = Pool(
            {member: load for member, load, _ in ready},
            {member: address for member, _, address in ready},
        )
        self._let_begin(pool)
        members = frozenset(pool.loads)
        for stream in self.streams:
            if members != self._members:
                stream.look_now()
            stream.step(pool)
        self._members = members

    def _look_last(self) -> None:
        """Segment workers may have counted more since they were looked at."""
        asked = [(slot, slot.ask_last()) for slot in self.segments if slot.ready]
        wait([report for _, report in asked], timeout=LAST_LOOK_S)
        for slot, report in asked:
            if report.done() and report.exception() is None:
                slot.note(report.result())

    def _let_begin(self, pool: Pool) -> None:
        """Start the streams whose turn it is, as soon as there is a segment worker for them."""
        if self._info is None:
            self._info = next((slot.info for slot in self.segments if slot.ready), None)
        running = 0
        for stream in self.streams:
            if stream.over:
                stream.close()
                continue
            if running >= self._at_once and not stream.live:
                continue
            running += not stream.live
            if not stream.launched:
                stream.launch()
            if not stream.begun and self._info is not None:
                stream.begin(self._info, pool)

    def _give_up_without_workers(self) -> None:
        """Without any segment worker, and none allowed to come back, nothing can go on."""
        if self._hopeless is not None or not all(slot.given_up for slot in self.segments):
            return
        refused = next((slot.refused for slot in self.segments if slot.refused), None)
        if self._info is None and refused is not None:
            raise _error(refused)
        last = self.segments[-1]
        reason = f"no segment worker is left: {last.reason}"
        if refused is None:
            reason += f", after {last.restarts}"
        if self._info is None:
            raise MaskstreamError(reason)
        self._hopeless = reason
        log.error("%s", reason)
        self._tell(Leave(reason, cause="workers_lost"))

    def _tell(self, command: Command) -> None:
        for slot in self.streams:
            slot.tell(command)

    def _end(self, end: End) -> End:
        """A stream that was ended because no worker was left says so."""
        if self._hopeless is None or end.outcome.status is Status.COMPLETE:
            return end
        outcome = replace(end.outcome, status=Status.FAILED, reason=self._hopeless)
        return replace(end, outcome=outcome, bug=self._hopeless)

    def _segment_slot(self, number: int) -> SegmentSlot:
        machines, workers = self._machines, self._plan.workers
        worker_id = f"segment-{number}"
        return SegmentSlot(
            worker_id,
            lambda: machines.start_segment(worker_id),
            limits=self._limits.for_workers(machines.segment_workers, at_most_s=LOOK_WITHIN_S),
            batch_timeout_s=workers.batch_timeout_s + workers.max_wait_s,
            max_batch=workers.max_batch,
            wake=self._news.set,
            clock=self._clock,
        )

    def _stream_slots(self, machines: Machines) -> list[StreamSlot]:
        size = self._plan.workers.streams_per_worker
        limits = self._limits.for_workers(len(self._plan.streams))
        slots = []
        for number, group in enumerate(groups(self._plan.streams, size)):
            spread = number * size

            def start(left: Sequence[StreamPlan], again: bool, spread: int = spread) -> Remote:
                return machines.start_stream(left, spread=spread, again=again)

            slots.append(
                StreamSlot(
                    group,
                    start=start,
                    limits=limits,
                    memory_bytes=self._plan.workers.stream_memory_bytes,
                    wake=self._news.set,
                    clock=self._clock,
                )
            )
        return slots


def _error(refused: Refused) -> MaskstreamError:
    kind = ModelError if refused.exit_code == ModelError.exit_code else MaskstreamError
    return kind(refused.text)


def run(
    plan: RunPlan,
    *,
    address: str | None = None,
    on_progress: Callable[[RunCounts], None] | None = None,
    stop: threading.Event | None = None,
    abort: threading.Event | None = None,
    limits: Limits | None = None,
    may_leave: bool = False,
) -> RunSummary:
    """Run all sources on Ray, to their ends or until told to stop.

    In the main thread, and where nobody else listens to them, SIGINT and SIGTERM drain; a second
    one leaves at once.

    Args:
        plan: of the run, as `resolve` made it.
        address: of a Ray cluster to join; None starts one on this machine and ends it again.
        on_progress: called about twice a second, and once at the end, in the calling thread.
        stop: when set, every captured frame is still published, files are closed.
        abort: when set, what is in flight is dropped.
        limits: how much patience the supervisor has.
        may_leave: this process is that of the run, and may be ended where Ray would hold it up.

    Raises:
        ConfigError: output exists, or cannot be written; nothing was started.
        SourceError: there is nothing to read; nothing was started.
        ModelError: weights or device are unusable, or weights cannot be fetched.
    """
    from workers.cluster import Cluster
    from workers.http import serve

    ready = prepare(plan)
    plan = ready.plan
    weights.check_local(ready)
    stop, abort = stop or threading.Event(), abort or threading.Event()
    watched: list[Supervisor] = []
    with ExitStack() as stack:
        cluster = Cluster(
            plan,
            weights_bytes=weights.most_bytes(ready),
            address=address,
            may_leave=may_leave,
        )
        stack.enter_context(drained_by_signals(stop, abort, end_now=cluster.leave))
        stack.enter_context(
            serve(
                plan.metrics_host,
                plan.metrics_port,
                counts=lambda: watched[0].counts() if watched else RunCounts(),
                healthy=lambda: all(supervisor.healthy for supervisor in watched),
            )
        )
        stack.enter_context(cluster)
        cluster.hand_out(
            weights.fetch(ready, told=lambda: stop.is_set() or abort.is_set(), fault=cluster.fault)
        )
        supervisor = Supervisor(plan, cluster, limits=limits)
        stack.callback(supervisor.close)
        watched.append(supervisor)
        ends = supervisor.run(stop=stop, abort=abort, on_progress=on_progress)
        return RunSummary(ends)
