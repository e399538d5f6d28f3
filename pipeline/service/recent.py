"""`Recent`: what a run did in the last seconds, from the counters of then and now."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.accounting import StreamCounts
from pipeline.clock import Clock
from pipeline.histogram import Histogram
from pipeline.metrics.counts import RunCounts, WorkerCounts
from pipeline.service.cores import CoreTime

WITHIN_S = 10.0
EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class StreamRates:
    """One stream in a stretch of time."""

    seconds: float
    fps_in: float
    """Frames captured a second."""
    fps_out: float
    """Frames published a second."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Frames dropped or failed, by cause."""
    stages: Mapping[str, Histogram] = field(default_factory=dict)
    """The frames of this stretch alone, see `pipeline.accounting.STAGES`."""


@dataclass(frozen=True, slots=True)
class WorkerRates:
    """One segment worker in a stretch of time."""

    seconds: float
    busy: float
    """Share of the time spent in the model, 0 to 1."""
    fps: float
    frames_a_batch: float
    """0 where there was no batch."""


class Recent:
    """Remembers the counters of the last seconds; safe from any thread.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._moments: deque[tuple[float, RunCounts, CoreTime]] = deque()

    def note(self, counts: RunCounts, cores: Callable[[], CoreTime] = CoreTime) -> None:
        """Take in the counters of this moment, if the last ones are old enough."""
        now = self._clock()
        with self._lock:
            if self._moments and now - self._moments[-1][0] < EVERY_S:
                return
            self._moments.append((now, counts, cores()))
            while now - self._moments[0][0] > WITHIN_S:
                self._moments.popleft()

    def streams(self, counts: RunCounts) -> dict[str, StreamRates]:
        """By id, of the streams that were there before this moment, too."""
        seconds, before = self._before()
        earlier = {stream.source_id: stream for stream in before.streams}
        return {
            now.source_id: stream_rates(earlier[now.source_id], now, seconds)
            for now in counts.streams
            if now.source_id in earlier and seconds > 0
        }

    def workers(self, counts: RunCounts) -> dict[str, WorkerRates]:
        """By name, of the workers that were there before this moment, too."""
        seconds, before = self._before()
        earlier = {worker.worker: worker for worker in before.workers}
        return {
            now.worker: worker_rates(earlier[now.worker], now, seconds)
            for now in counts.workers
            if now.worker in earlier and seconds > 0
        }

    def cores(self) -> CoreTime:
        """How the threads fared between the oldest moment that is remembered and the newest."""
        with self._lock:
            if not self._moments:
                return CoreTime()
            first, last = self._moments[0][2], self._moments[-1][2]
        return CoreTime(
            max(last.ran_s - first.ran_s, 0.0),
            max(last.waited_s - first.waited_s, 0.0),
            max(last.others_s - first.others_s, 0.0),
        )

    def _before(self) -> tuple[float, RunCounts]:
        with self._lock:
            if not self._moments:
                return 0.0, RunCounts()
            at_s, counts, _ = self._moments[0]
        return self._clock() - at_s, counts


def stream_rates(before: StreamCounts, now: StreamCounts, seconds: float) -> StreamRates:
    """What one stream did between two moments; a counter that fell has begun anew."""
    lost_before, lost = _lost(before), _lost(now)
    return StreamRates(
        seconds=seconds,
        fps_in=_grown(before.captured, now.captured) / seconds,
        fps_out=_grown(before.published, now.published) / seconds,
        lost={
            cause: more
            for cause, count in lost.items()
            if (more := _grown(lost_before.get(cause, 0), count))
        },
        stages={
            name: stage.since(before.stages.get(name, Histogram()))
            for name, stage in now.stages.items()
        },
    )


def worker_rates(before: WorkerCounts, now: WorkerCounts, seconds: float) -> WorkerRates:
    """What one segment worker did between two moments."""
    frames = _grown(before.frames, now.frames)
    batches = _grown(sum(before.batches.values()), sum(now.batches.values()))
    busy_s = now.busy_s - before.busy_s if now.busy_s >= before.busy_s else now.busy_s
    return WorkerRates(
        seconds=seconds,
        busy=min(busy_s / seconds, 1.0),
        fps=frames / seconds,
        frames_a_batch=frames / batches if batches else 0.0,
    )


def _lost(counts: StreamCounts) -> dict[str, int]:
    return {**counts.dropped, **counts.failed}


def _grown(before: int, now: int) -> int:
    return now - before if now >= before else now
