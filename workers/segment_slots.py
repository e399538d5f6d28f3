"""`SegmentSlots`: makes the places of segment workers, each with a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.plan import WorkersPlan
from workers.lives import Limits, look_within_s
from workers.machines import Machines, StartSegment
from workers.slots import SegmentSlot


@dataclass(eq=False, kw_only=True)
class SegmentSlots:
    """Of all models of a run, one after another.

    Args:
        machines: where the workers are started.
        workers: how they batch.
        limits: how much patience there is.
        wake: called, from any thread, when there is something to look at.
        clock: monotonic seconds.
    """

    machines: Machines
    workers: WorkersPlan
    limits: Limits
    wake: Callable[[], None]
    clock: Clock
    _named: int = 0

    def make(self, start: StartSegment, model: int, *, count: int) -> list[SegmentSlot]:
        """Places of one model; the workers start at once.

        Args:
            start: starts one of it.
            model: its number.
            count: how many.
        """
        first, self._named = self._named, self._named + count
        names = [f"segment-{number}" for number in range(first, first + count)]
        return [self._slot(name, start, model) for name in names]

    def _slot(self, worker_id: str, start: StartSegment, model: int) -> SegmentSlot:
        workers = self.workers
        count = workers.segment_most or self.machines.segment_workers
        return SegmentSlot(
            worker_id,
            lambda: start(worker_id),
            limits=self.limits.for_workers(count, at_most_s=look_within_s(count)),
            batch_timeout_s=workers.batch_timeout_s + workers.max_wait_s,
            max_batch=workers.max_batch,
            wake=self.wake,
            clock=self.clock,
            model=model,
        )
