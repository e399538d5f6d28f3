"""What a segment worker counts, and a whole run at one moment; plain and picklable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.accounting import StreamCounts
from pipeline.tally import added

WORKER_STATES = ("starting", "ready", "lost", "waiting", "leaving", "resting")
"""`lost`: it died or hung and is being replaced, or its restarts are used up; `waiting`: no machine
has room for it; `leaving`: it answers what it has and ends; `resting`: there is too little to do
for it."""


@dataclass(frozen=True, slots=True)
class GpuUse:
    """A GPU at one moment, by whomever it is used."""

    share: float
    """Of the last moments in which it worked, 0 to 1."""
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """One segment worker at one moment, or several lives of it added up."""

    worker: str = ""
    state: str = "starting"
    restarts: int = 0
    waiting: int = 0
    """Frames accepted and not answered."""
    batches: Mapping[int, int] = field(default_factory=dict)
    """Batches run, by the number of their frames."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """Frames that could not be segmented, by cause."""
    busy_s: float = 0.0
    """Time spent in the model."""
    buckets: int = 0
    """Different padded sizes of pictures the model has met."""
    gpu: GpuUse | None = None
    """That of the worker; None: it is on none, or NVML does not say."""

    def __add__(self, later: WorkerCounts) -> WorkerCounts:
        """This and a later life of the same worker; state, load, buckets, GPU are the later's."""
        return replace(
            later,
            worker=later.worker or self.worker,
            restarts=self.restarts + later.restarts,
            waiting=later.waiting,
            batches=added(self.batches, later.batches),
            failed=added(self.failed, later.failed),
            busy_s=self.busy_s + later.busy_s,
        )

    @property
    def frames(self) -> int:
        """Frames that went through the model."""
        return sum(size * count for size, count in self.batches.items())


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Everything there is to see about a run at one moment."""

    streams: tuple[StreamCounts, ...] = ()
    workers: tuple[WorkerCounts, ...] = ()
    stream_restarts: Mapping[str, int] = field(default_factory=dict)
    """How often the worker of a stream was replaced, by source id."""

    @property
    def ready(self) -> bool:
        """Whether a segment worker is there and every stream has begun."""
        waiting = any(stream.state == "starting" for stream in self.streams)
        return any(w.state == "ready" for w in self.workers) and not waiting
