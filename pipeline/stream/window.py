"""The frames in flight of one stream: bounded in number and bytes, oldest on the left.

Also decides which waiting frame is segmented, carried by the tracker, or too old.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from pipeline.clock import Clock
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.stages import Travelled
from pipeline.stream.capture import Captured
from pipeline.stream.settings import StreamSettings


class Verdict(Enum):
    """What becomes of the frame that waits longest."""

    SEGMENT = auto()
    CARRY = auto()
    """The tracker carries the instances into it."""
    WAIT = auto()
    """There is no place for it yet."""
    DROP = auto()
    """Too old to be worth it."""


@dataclass(slots=True, eq=False)
class Flight:
    """A frame in the window."""

    captured: Captured
    segmented: bool
    """False: the tracker carries the instances into this frame."""
    ahead: int
    """Frames that were being segmented when this one came."""
    future: Future[Instances] | None = None
    submitted_at_s: float = 0.0
    done_at_s: float | None = None
    """None: on its way. Set by whoever resolves the future, a moment after it is resolved."""
    motion: NDArray[np.float64] | None = None
    prepared: bool = False
    legs: tuple[tuple[str, float, float], ...] = ()
    """Its way to a segmenter elsewhere and back, once it was taken."""

    @property
    def frame(self) -> Frame:
        """The frame itself."""
        return self.captured.frame

    @property
    def landed(self) -> bool:
        """Whether its result can be taken without waiting."""
        return self.done_at_s is not None

    def take(self) -> Instances | None:
        """What was found, once; None where it was not segmented.

        Forgets the future: that calls back with this flight, and the two would keep the frame
        until cycles are collected, hundreds of frames later.

        Raises:
            Exception: it could not be segmented.
        """
        future, self.future = self.future, None
        if isinstance(future, Travelled):
            self.legs = future.legs
        return None if future is None else future.result()

    @property
    def took_s(self) -> float:
        """From its submission to its answer."""
        return 0.0 if self.done_at_s is None else self.done_at_s - self.submitted_at_s


class Forecast:
    """How long segmentation will take, from how long it took lately.

    A time that every frame needs, plus a time for each frame of the stream ahead of it. Frames of
    other streams are not seen, only felt: they make each frame take longer.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float, int]] = deque(maxlen=32)
        self._landed_at_s = -math.inf

    def learn(self, flight: Flight) -> None:
        """A frame landed."""
        done_at_s = flight.submitted_at_s + flight.took_s
        since_s = done_at_s - max(self._landed_at_s, flight.submitted_at_s)
        self._landed_at_s = max(self._landed_at_s, done_at_s)
        self._recent.append((max(since_s, 0.0), flight.took_s, flight.ahead + 1))

    def expected_s(self, ahead: int) -> float:
        """Seconds until a frame submitted now will land; nothing is known before the first has.

        Args:
            ahead: frames being segmented.
        """
        if not self._recent:
            return 0.0 if ahead == 0 else math.inf
        count = len(self._recent)
        each_s = sum(since_s for since_s, _, _ in self._recent) / count
        alike_s = sum(latency_s - places * each_s for _, latency_s, places in self._recent) / count
        return max(alike_s, 0.0) + (ahead + 1) * each_s


class Window:
    """Frames submitted and not yet written; a deque with limits, used by one thread.

    Args:
        settings: limits, thinning, budget.
        live: whether frames may be dropped at all.
        tracked: whether there is a tracker to carry instances.
        clock: seconds, monotonic.
    """

    def __init__(
        self, settings: StreamSettings, *, live: bool, tracked: bool, clock: Clock
    ) -> None:
        self._live = live
        self._tracked = tracked
        self._clock = clock
        self.change(settings)
        self._flights: deque[Flight] = deque()
        self._segmented = 0
        self._forecast = Forecast()

    def change(self, settings: StreamSettings) -> None:
        """Go on with other limits."""
        self._settings = settings
        self._max_latency_s = settings.max_latency_s if self._live else None
        self._every = settings.segment_every if self._tracked else 1
        self._adaptive = settings.adaptive and self._tracked

    def take_every_frame(self) -> None:
        """No frame may be dropped, as if it had been made for a file."""
        self._live, self._max_latency_s = False, None

    def __len__(self) -> int:
        """Frames in flight."""
        return len(self._flights)

    @property
    def oldest(self) -> Flight | None:
        """The one that is published next."""
        return self._flights[0] if self._flights else None

    def judge(self, captured: Captured, *, newest: bool) -> Verdict:
        """What should become of the frame that waits longest.

        Args:
            captured: the frame.
            newest: no later frame waits behind it.
        """
        if not self._has_room(captured):
            return Verdict.WAIT
        if (captured.mark.kept - 1) % self._every:
            return Verdict.CARRY
        if self._max_latency_s is None:
            return Verdict.SEGMENT
        age_s = self._clock() - captured.at_s
        if age_s > self._max_latency_s:
            return Verdict.DROP
        if age_s + self._forecast.expected_s(self._segmented) <= self._max_latency_s:
            return Verdict.SEGMENT
        if not newest:
            return Verdict.CARRY if self._adaptive else Verdict.DROP
        # The freshest one waits for its turn, so that the segmenter is never idle; and it goes
        # when nothing else is in flight, or no faster answer could ever be seen.
        return Verdict.WAIT if self._flights else Verdict.SEGMENT

    def add(self, captured: Captured, *, segmented: bool) -> Flight:
        """Give a frame its place."""
        flight = Flight(captured, segmented, self._segmented)
        self._flights.append(flight)
        self._segmented += segmented
        return flight

    def pop(self) -> None:
        """The oldest is settled."""
        flight = self._flights.popleft()
        if flight.segmented:
            self._segmented -= 1
            self._forecast.learn(flight)

    def clear(self) -> int:
        """Let all go; how many there were."""
        count = len(self._flights)
        self._flights.clear()
        self._segmented = 0
        return count

    def _has_room(self, captured: Captured) -> bool:
        """Whether the frame fits in beside those in flight; the first always does."""
        if not self._flights:
            return True
        if len(self._flights) >= self._settings.window:
            return False
        held = sum(flight.frame.image.nbytes for flight in self._flights)
        return held + captured.frame.image.nbytes <= self._settings.in_flight_bytes
