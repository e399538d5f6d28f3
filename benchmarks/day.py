"""A day of load, the fleet that follows it, and the best there could have been.

`python -m benchmarks.day [--days 5]`. Everything on a clock that jumps: a day takes a second. The
queue is one line of frames, first come first served; a worker that is asked for is there
`START_S` later and paid for from the beginning. Prints the worker hours of each day and those of
the best plan, and for how long frames waited longer than they should; exits with 1 where that is
more than 1 % of the day, the hours are more than 1.15 times the best, or a change came too early.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from pipeline.testing import ManualClock
from workers.scaler import Autoscaler, Demand, Pace

DAY_S = 86_400
FRAME_S = 0.02
"""What a frame costs a worker: one takes 50 a second."""
START_S = 60
"""A node that is asked for, started, and its model loaded."""
LOOK_EVERY_S = 2
HOURS = (0, 5, 6.5, 8, 9, 11.5, 12, 13, 14, 17, 18.5, 20, 22, 24)
FRAMES_A_SECOND = (20, 20, 60, 300, 420, 440, 300, 300, 430, 470, 600, 250, 60, 20)
"""At these hours; in between on straight lines."""
SPIKES = 5
MOST_HOURS, MOST_LATE = 1.15, 0.01


@dataclass(frozen=True, slots=True)
class Day:
    """How a day went."""

    worker_hours: float
    best_hours: float
    late: float
    """Share of the seconds in which a frame waited that was older than the target."""
    oldest_s: float
    """The longest a frame waited."""
    gaps_s: tuple[float, ...]
    """Between one change of the fleet and the next."""

    @property
    def cost(self) -> float:
        """Of the best plan's hours."""
        return self.worker_hours / self.best_hours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=5)
    days = [run(load(number)) for number in range(parser.parse_args().days)]
    print("| day | worker hours | of the best | late | oldest | changes | closest |")
    print("|---|---|---|---|---|---|---|")
    for number, day in enumerate(days):
        print(
            f"| {number} | {day.worker_hours:.1f} | {day.cost:.3f} | {day.late:.2%} "
            f"| {day.oldest_s:.0f} s | {len(day.gaps_s) + 1} | {min(day.gaps_s):.0f} s |"
        )
    cool_down_s = Pace().cool_down_s
    good = all(
        day.cost <= MOST_HOURS and day.late <= MOST_LATE and min(day.gaps_s) >= cool_down_s
        for day in days
    )
    sys.exit(0 if good else 1)


def load(seed: int = 0) -> list[int]:
    """Frames that come in each second: a quiet night, ramps, a busy day, spikes out of nowhere."""
    random = np.random.default_rng(seed)
    rate = np.interp(np.arange(DAY_S) / 3600, HOURS, FRAMES_A_SECOND)
    rate *= np.repeat(1 + 0.03 * random.standard_normal(DAY_S // 60), 60)
    for at_s in random.choice(np.arange(3600, DAY_S - 3600, 1800), SPIKES, replace=False):
        rate[at_s : at_s + random.integers(120, 900)] += random.integers(60, 200)
    return [int(frames) for frames in random.poisson(np.maximum(rate, 0))]


@dataclass(slots=True)
class Line:
    """Work that waits, in worker seconds, the oldest first."""

    parts: deque[list[float]] = field(default_factory=deque)
    """When it came, and what is left of it."""

    def add(self, at_s: float, work_s: float) -> None:
        """More has come."""
        self.parts.append([at_s, work_s])

    def work(self, capacity_s: float) -> None:
        """Take so much out of it."""
        while self.parts and capacity_s > 0:
            taken = min(capacity_s, self.parts[0][1])
            capacity_s -= taken
            self.parts[0][1] -= taken
            if self.parts[0][1] <= 0:
                self.parts.popleft()

    def age_s(self, now_s: float) -> float:
        """How long the oldest of it has waited."""
        return now_s - self.parts[0][0] if self.parts else 0.0

    def left_s(self) -> float:
        """How much there is."""
        return sum(work_s for _, work_s in self.parts)


def run(frames: Sequence[int], *, least: int = 1, most: int = 16, pace: Pace | None = None) -> Day:
    """Let a fleet follow the load of a day."""
    clock, pace = ManualClock(), pace or Pace()
    scaler = Autoscaler(least, most, pace, clock=clock)
    line, ready, starting = Line(), least, deque[float]()
    arrived, paid_s, late, oldest_s = 0, 0, 0, 0.0
    changed_at_s: list[float] = []
    for second, come in enumerate(frames):
        clock.advance(1.0)
        while starting and starting[0] <= second:
            starting.popleft()
            ready += 1
        arrived += come
        line.add(second, come * FRAME_S)
        line.work(ready)
        paid_s += ready + len(starting)
        late += line.age_s(second) > pace.target_age_s
        oldest_s = max(oldest_s, line.age_s(second))
        if second % LOOK_EVERY_S:
            continue
        waiting = int(line.left_s() / FRAME_S)
        change = scaler.decide(Demand(arrived, waiting, FRAME_S, ready))
        if change is not None:
            changed_at_s.append(clock())
            missing = change.workers - ready - len(starting)
            starting.extend([second + START_S] * missing)
            for _ in range(-missing):  # who is not there yet goes first
                if starting:
                    starting.pop()
                else:
                    ready -= 1
    gaps_s = tuple(later - before for before, later in pairwise(changed_at_s))
    best_hours = best(frames, pace.target_age_s, least) / 3600
    return Day(paid_s / 3600, best_hours, late / len(frames), oldest_s, gaps_s or (math.inf,))


def best(frames: Sequence[int], target_age_s: float, least: int) -> float:
    """Worker seconds of a plan that knows the day, and whose workers come and go at once.

    No plan in which no frame is late takes less: it has more than `least` workers only for what
    would be late otherwise, at the last moment, and by fractions of a worker.
    """
    line, more_s = Line(), 0.0
    for second, come in enumerate(frames):
        line.add(second, come * FRAME_S)
        line.work(least)
        while line.age_s(second) >= target_age_s:
            more_s += line.parts.popleft()[1]
    return least * len(frames) + more_s


if __name__ == "__main__":
    main()
