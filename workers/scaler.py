"""When a fleet grows and when it shrinks. Pure decisions.

What is needed is work: frames a second that want to be segmented, times what one costs a worker,
and on top what it takes to work off those that wait already. More is needed at once; less only
when less would have done for a while, so that a fleet does not follow every breath of its load.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field

from pipeline.clock import Clock


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a fleet follows its load."""

    target_age_s: float = 10.0
    """A frame is not to wait longer than this, but for as long as a worker takes to start."""
    rate_over_s: float = 30.0
    """Frames are counted over this long to know how many come a second."""
    settle_s: float = 120.0
    """Fewer workers must have done for this long before any goes."""
    cool_down_s: float = 60.0
    """Between two changes, at least; a worker takes about as long to show what it is good for."""
    most_at_once: int = 8
    """Workers that come or go in one change, at most."""
    over: float = 0.15
    """This much of a worker is not worth one: the queue takes it for a while."""
    spare: float = 0.05
    """A worker goes only where the rest would not be busier than one minus this."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of all segment workers, at one moment."""

    arrived: int
    """Frames that were to be segmented since the run began: those workers have taken, and those
    that were dropped because none had time for them."""
    waiting: int
    """Frames taken and not answered, beyond the batches workers are at."""
    seconds_per_frame: float
    """What a frame costs one worker; 0 where none can tell yet."""
    ready: int
    """Workers there are."""

    @property
    def age_s(self) -> float:
        """How long the last frame of the queue waits until a worker takes it."""
        return self.waiting * self.seconds_per_frame / max(1, self.ready)


@dataclass(frozen=True, slots=True)
class Resize:
    """There are to be more workers, or fewer."""

    workers: int
    reason: str
    """One line for the log."""


@dataclass(slots=True)
class Autoscaler:
    """Says how many segment workers there should be, from `least` to `most`.

    Args:
        least: workers there are at any time, from 1.
        most: workers there may be.
        pace: how fast it follows.
        clock: monotonic seconds.
    """

    least: int
    most: int
    pace: Pace = field(default_factory=Pace)
    clock: Clock = time.monotonic
    wanted: int = field(init=False)
    """Workers there should be now."""
    _changed_at_s: float = field(init=False, default=-math.inf)
    _arrived: deque[tuple[float, int]] = field(init=False, default_factory=deque)
    _needs: deque[tuple[float, float]] = field(init=False, default_factory=deque)
    """What was needed when; only those that no later one exceeds, so the first is the largest."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"Autoscaler: 1 <= least <= most, got {self.least} and {self.most}")
        self.wanted = self.least

    def decide(self, demand: Demand) -> Resize | None:
        """Take note of what is asked for now; the change it calls for, if any."""
        now = self.clock()
        need = self._need(now, demand)
        most_lately = self._most_lately(now, need)
        if now - self._changed_at_s < self.pace.cool_down_s:
            return None
        enough = math.ceil(need - self.pace.over)
        fewer = math.ceil(most_lately / (1 - self.pace.spare) - self.pace.over)
        workers, step = self.wanted, self.pace.most_at_once
        if enough > self.wanted:
            workers = min(enough, self.wanted + step, self.most)
        elif fewer < self.wanted:
            workers = max(fewer, self.wanted - step, self.least)
        if workers == self.wanted:
            return None
        reason = f"work for {need:.1f} workers, {demand.age_s:.1f} s of it waiting"
        if workers < self.wanted:
            reason = f"work for {most_lately:.1f} workers at most in {self.pace.settle_s:.0f} s"
        self.wanted, self._changed_at_s = workers, now
        return Resize(workers, reason)

    def _need(self, now: float, demand: Demand) -> float:
        """Workers that would keep up with what comes, and work off what waits in time."""
        self._arrived.append((now, demand.arrived))
        while len(self._arrived) > 2 and self._arrived[1][0] <= now - self.pace.rate_over_s:
            self._arrived.popleft()
        since_s, before = self._arrived[0]
        seconds = now - since_s
        rate = max(0, demand.arrived - before) / seconds if seconds > 0 else 0.0
        late = demand.waiting / self.pace.target_age_s
        return (rate + late) * demand.seconds_per_frame

    def _most_lately(self, now: float, need: float) -> float:
        while self._needs and self._needs[-1][1] <= need:
            self._needs.pop()
        self._needs.append((now, need))
        while self._needs[0][0] < now - self.pace.settle_s:
            self._needs.popleft()
        return self._needs[0][1]
