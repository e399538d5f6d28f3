"""The frames in flight of one stream: bounded in number and bytes, oldest on the left.

Also decides, when a frame comes in, whether it is segmented, carried by the tracker, or too old.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.stream.capture import Captured
from pipeline.stream.settings import StreamSettings


class Region(Protocol):
    """Where in the picture to look, and what to leave out."""

    def look(self, frame: Frame) -> Frame:
        """The frame to segment: the same one, or a copy with pixels blanked."""

    def keep(self, instances: Instances) -> Instances:
        """The instances to publish."""


@dataclass(slots=True, eq=False)
class Flight:
    """A frame in the window."""

    captured: Captured
    segmented: bool
    """False: the tracker carries the instances into this frame."""
    future: Future[Instances] | None = None
    submitted_at_s: float = 0.0
    done_at_s: float = 0.0
    motion: NDArray[np.float64] | None = None
    prepared: bool = False

    @property
    def frame(self) -> Frame:
        """The frame itself."""
        return self.captured.frame

    @property
    def landed(self) -> bool:
        """Whether its result can be taken without waiting."""
        return not self.segmented or (self.future is not None and self.future.done())


class Window:
    """Frames submitted and not yet written; a deque with limits, used by one thread.

    Args:
        settings: limits, thinning, budget.
        account: counts what is too old.
        live: whether frames may be dropped at all.
        tracked: whether there is a tracker to carry instances.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        account: StreamAccount,
        live: bool,
        tracked: bool,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._account = account
        self._max_latency_s = settings.max_latency_s if live else None
        self._every = settings.segment_every if tracked else 1
        self._adaptive = settings.adaptive and tracked
        self._clock = clock
        self._flights: deque[Flight] = deque()
        self._expected_s = 0.0

    def __len__(self) -> int:
        """Frames in flight."""
        return len(self._flights)

    @property
    def oldest(self) -> Flight | None:
        """The one that is published next."""
        return self._flights[0] if self._flights else None

    def pop(self) -> None:
        """The oldest is settled."""
        self._flights.popleft()

    def clear(self) -> int:
        """Let all go; how many there were."""
        count = len(self._flights)
        self._flights.clear()
        return count

    def has_room(self, item: Captured) -> bool:
        """Whether the frame fits in beside those in flight; the first always does."""
        if not self._flights:
            return True
        if len(self._flights) >= self._settings.window:
            return False
        held = sum(flight.frame.image.nbytes for flight in self._flights)
        return held + item.frame.image.nbytes <= self._settings.in_flight_bytes

    def admit(self, item: Captured, *, newest: bool) -> Flight | None:
        """Give a frame its place; None when it was dropped as too old.

        Args:
            item: from the buffer.
            newest: no later frame is known.
        """
        segmented = (item.mark.kept - 1) % self._every == 0
        if segmented and self._max_latency_s is not None:
            age_s = self._clock() - item.at_s
            # With nothing in flight and nothing newer a frame goes ahead unless it is old already:
            # one slow answer would otherwise keep all later ones out, and none would be measured.
            expected_s = 0.0 if newest and not self._flights else self._expected_s
            if age_s + expected_s > self._max_latency_s:
                if age_s > self._max_latency_s or not self._adaptive:
                    self._account.dropped("stale")
                    return None
                segmented = False
        flight = Flight(item, segmented)
        self._flights.append(flight)
        return flight

    def learn(self, segment_s: float) -> None:
        """A frame took this long from being submitted to its result."""
        self._expected_s += 0.2 * (segment_s - self._expected_s)
