"""When a worker counts as stuck and when a dead one may come back. Pure decisions."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pipeline.clock import Clock
from pipeline.runtime.patient import SLACK
from workers.scaler import Pace

LOOK_WITHIN_S = 0.4
"""Segment workers are looked at so often, that one is found stuck within a second."""
LOOKS_A_SECOND = 100
"""At segment workers at most, some 2 ms each: of more than 40 each is looked at less often."""


def look_within_s(count: int) -> float:
    """How often each of so many segment workers is looked at."""
    return max(LOOK_WITHIN_S, count / LOOKS_A_SECOND)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much patience the supervisor has."""

    ping_timeout_s: float = 10.0
    """A process that does not answer for this long is frozen."""
    process_timeout_s: float = 60.0
    """A process that has not come up by then never will."""
    start_timeout_s: float = 300.0
    """Loading a model may take minutes, but not for ever."""
    drain_timeout_s: float = 60.0
    """A drain in which nothing has moved for this long waits for what cannot come."""
    poll_s: float = 0.25
    """Time between two looks at a worker, as long as there are few; a look costs some 2 ms."""
    segment_restarts: int = 5
    stream_restarts: int = 3
    restart_window_s: float = 60.0
    """A worker restarted so often in this window is let rest, and for good if it was in vain."""
    pace: Pace = field(default_factory=Pace)
    """How fast the number of segment workers follows what there is to do."""

    def for_workers(self, count: int, *, at_most_s: float = math.inf) -> Limits:
        """With so many workers, looked at so seldom that looking stays a few percent of a core."""
        poll_s = self.poll_s * max(1.0, count / 10)
        return replace(self, poll_s=max(self.poll_s, min(poll_s, at_most_s)))


@dataclass(slots=True)
class Restarts:
    """Counts the restarts of one worker and says when there were too many.

    However long it takes to fail, what has failed `limit` times without any success in between
    is not tried again.

    Args:
        limit: restarts allowed in any window.
        window_s: length of the window.
        clock: monotonic seconds.
    """

    limit: int
    window_s: float
    clock: Clock
    total: int = 0
    _in_vain: int = 0
    _recent: deque[float] = field(default_factory=deque)

    @property
    def allowed(self) -> bool:
        """Whether one more would be within the limit now."""
        horizon = self.clock() - self.window_s
        while self._recent and self._recent[0] <= horizon:
            self._recent.popleft()
        return len(self._recent) < self.limit and self._in_vain < self.limit

    def note(self) -> None:
        """One more happened."""
        self.total += 1
        self._in_vain += 1
        self._recent.append(self.clock())

    def worked(self) -> None:
        """The worker did what it is there for."""
        self._in_vain = 0

    def __str__(self) -> str:
        if len(self._recent) >= self.limit:
            return f"{len(self._recent)} restarts within {self.window_s:.0f} s"
        return f"{self._in_vain} restarts in vain"


@dataclass(frozen=True, slots=True)
class Owed:
    """A stream has had no answer of a segment worker, though it sent it frames."""

    since_s: float
    until_s: float
    """When the stream said so."""


@dataclass(slots=True)
class Headway:
    """Whether a segment worker gets on: the one judge of it.

    The clock runs only while it has work and ends none of it, however much that work is. It has
    work when frames wait in it, or when streams wait for answers of one that says it has none:
    then calls do not reach it, or its answers do not come back.

    Args:
        batch_timeout_s: what a batch may take, beside `SLACK` times what its frames took lately.
        max_batch: frames in one batch.
        silence_s: how long calls may be on their way while none arrives.
        clock: monotonic seconds.
    """

    batch_timeout_s: float
    max_batch: int
    silence_s: float
    clock: Clock
    _state: tuple[int, bool] = (0, False)
    _since_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._since_s = self.clock()

    def note(
        self, steps: int, waiting: int, seconds_per_frame: float, owed: Iterable[Owed]
    ) -> str | None:
        """Take note of a report; why the worker is stuck, or None.

        Args:
            steps: calls of the model that have ended.
            waiting: frames in the worker.
            seconds_per_frame: what they took lately.
            owed: by this worker, to any stream.
        """
        now, state = self.clock(), (steps, waiting > 0)
        if state != self._state:
            self._state, self._since_s = state, now
        if waiting:
            limit_s = self.batch_timeout_s + SLACK * self.max_batch * seconds_per_frame
            still_s = now - self._since_s
            return f"has worked on one batch for {still_s:.0f} s" if still_s > limit_s else None
        owed_s = max((o.until_s - max(o.since_s, self._since_s) for o in owed), default=0.0)
        if owed_s > self.silence_s:
            return f"gets no calls, or cannot answer them, for {owed_s:.0f} s"
        return None
