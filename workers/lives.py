"""When a worker counts as stuck and when a dead one may come back. Pure decisions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from pipeline.clock import Clock
from workers.dispatch import BACKLOG_SLACK, Load


@dataclass(frozen=True, slots=True)
class Limits:
    """How much patience the supervisor has."""

    ping_timeout_s: float = 10.0
    """A process that does not answer for this long is frozen."""
    start_timeout_s: float = 300.0
    """Loading a model may take minutes, but not for ever."""
    poll_s: float = 0.25
    """Time between two looks at a worker, as long as there are few; a look costs some 2 ms."""
    segment_restarts: int = 5
    stream_restarts: int = 3
    restart_window_s: float = 60.0
    """A worker restarted more often than this many times in this window is let rest."""

    def for_workers(self, count: int) -> Limits:
        """With so many workers, looked at so seldom that looking stays a few percent of a core."""
        return replace(self, poll_s=self.poll_s * max(1.0, count / 10))


@dataclass(slots=True)
class Restarts:
    """Counts the restarts of one worker and says when there were too many lately.

    Args:
        limit: restarts allowed in any window.
        window_s: length of the window.
        clock: monotonic seconds.
    """

    limit: int
    window_s: float
    clock: Clock
    total: int = 0
    _recent: deque[float] = field(default_factory=deque)

    @property
    def allowed(self) -> bool:
        """Whether one more would be within the limit now."""
        horizon = self.clock() - self.window_s
        while self._recent and self._recent[0] <= horizon:
            self._recent.popleft()
        return len(self._recent) < self.limit

    def note(self) -> None:
        """One more happened."""
        self.total += 1
        self._recent.append(self.clock())

    def __str__(self) -> str:
        return f"{len(self._recent)} restarts within {self.window_s:.0f} s"


def stuck(busy_for_s: float, load: Load, *, batch_timeout_s: float, max_batch: int) -> bool:
    """Whether a batch has been on a device for so long that the device must hang."""
    expected_s = BACKLOG_SLACK * max_batch * load.seconds_per_frame
    return busy_for_s > batch_timeout_s + expected_s
