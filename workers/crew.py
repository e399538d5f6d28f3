"""The places of the segment workers: as many as there should be now.

They come at once and leave in peace: who is to go gets no more frames, answers those it has, and
ends then. A place without a worker is kept, with all its worker has counted, until there is to be
one in it again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.plan import WorkersPlan
from workers.lives import Owed
from workers.machines import Machines
from workers.members import Member
from workers.scaler import Autoscaler, Demand, Pace
from workers.slots import SegmentSlot

log = logging.getLogger(__name__)

DECIDE_EVERY_S = 2.0


@dataclass(eq=False)
class Crew:
    """All segment workers of a run.

    Args:
        machines: where they are started; said what for how many there should be room.
        make: so many places more, with workers in them.
        scaler: says how many there should be; None: as many as the machines are good for.
        max_batch: frames a worker is at, while others wait.
        too_late: frames of all streams so far that were dropped because no worker had time.
        clock: monotonic seconds.
    """

    machines: Machines
    make: Callable[[int], Sequence[SegmentSlot]]
    scaler: Autoscaler | None
    max_batch: int
    too_late: Callable[[], int]
    clock: Clock
    places: Sequence[SegmentSlot] = ()
    """Safe to look at from any thread; those of another model take their place at once."""
    _decide_at_s: float = 0.0

    def begin(self) -> None:
        """Start those that are there at any time."""
        self._ask()
        self._fit()

    def step(self, owed: Mapping[Member, Sequence[Owed]]) -> None:
        """Look once at every worker; `owed` is what streams say of each."""
        self._decide()
        self._leave_machines(self.machines.going())
        self._fit()
        for place in self.places:
            leaving = not place.wanted and not place.resting
            place.step(owed.get(place.member, ()))
            if leaving and place.resting:
                self._ask()  # once more, as its machine may go now

    @property
    def count(self) -> int:
        """How many there should be now."""
        return self.machines.segment_workers if self.scaler is None else self.scaler.wanted

    @property
    def manned(self) -> list[SegmentSlot]:
        """The places in which there should be a worker."""
        return [place for place in self.places if place.wanted]

    def _decide(self) -> None:
        now = self.clock()
        if self.scaler is None or now < self._decide_at_s:
            return
        self._decide_at_s = now + DECIDE_EVERY_S
        before, resize = self.scaler.wanted, self.scaler.decide(self._demand())
        if resize is not None:
            log.info("segment workers: %d, not %d: %s", resize.workers, before, resize.reason)
            self._ask()

    def _ask(self) -> None:
        self.machines.ask_for(self.count)

    def _demand(self) -> Demand:
        loads = [place.place[1] for place in self.places if place.ready]
        costs = [load.seconds_per_frame for load in loads if load.seconds_per_frame]
        counts = [place.counts() for place in self.places]
        taken = sum(one.frames for one in counts) + sum(load.waiting for load in loads)
        return Demand(
            arrived=taken + self.too_late(),
            waiting=sum(max(0, load.waiting - self.max_batch) for load in loads),
            seconds_per_frame=sum(costs) / len(costs) if costs else 0.0,
            ready=len(loads),
        )

    def _leave_machines(self, going: Collection[str]) -> None:
        """Who is on a machine that goes leaves before it."""
        for place in self.manned:
            if place.member.node and place.member.node in going:
                place.leave()

    def _fit(self) -> None:
        """As many places with workers as there should be."""
        missing = self.count - len(self.manned)
        for place in [place for place in self.places if place.resting][: max(0, missing)]:
            place.come_back()
            missing -= 1
        if missing > 0:
            self.places = [*self.places, *self.make(missing)]
        if self.scaler is not None:
            for place in self._last_first()[: max(0, -missing)]:
                place.leave()

    def _last_first(self) -> list[SegmentSlot]:
        """Who goes first: who is not ready, then who is alone on a machine, then the newest."""
        on = Counter(place.member.node for place in self.manned)
        return sorted(reversed(self.manned), key=lambda place: (place.ready, on[place.member.node]))


def autoscaler(workers: WorkersPlan, pace: Pace, clock: Clock) -> Autoscaler | None:
    """What says how many there should be; None: nothing but the machines there are."""
    if workers.segment_most is None or workers.segment == "auto":
        return None
    return Autoscaler(workers.segment, workers.segment_most, pace, clock)
