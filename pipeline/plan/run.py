"""`RunPlan`: one run, decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.plan.cluster import ClusterPlan
from pipeline.plan.model import ModelPlan
from pipeline.plan.stream import StreamPlan
from pipeline.state.tenure import Tenure


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersPlan:
    """How many workers there are, how they batch, and what they may take."""

    segment: int | Literal["auto"]
    """Segment workers; `auto`: as the machines turn out to have GPUs."""
    segment_most: int | None = None
    """As many as there may be, where what there is to do decides; None: never more."""
    max_batch: int
    max_wait_s: float
    """How long the first frame of a batch waits for others."""
    batch_timeout_s: float
    streams_per_worker: int
    at_once: int
    """Stream workers that may read files at the same time."""
    stream_memory_bytes: float
    in_flight_bytes: int
    """Pixels in flight of all streams together."""
    gpus_each: float | None = None
    """Of a GPU for each segment worker; None: as the machines turn out to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything about one run. `maskstream check` prints it, its manifest keeps it."""

    model: ModelPlan
    streams: tuple[StreamPlan, ...]
    sinks: tuple[str, ...]
    """Their URLs as they were written, `{source}` in them."""
    workers: WorkersPlan
    executor: Literal["ray", "local"]
    state_dir: str | None
    """Where checkpoints are kept for good; None: those of files beside their output."""
    resume: bool
    """Whether files that were cut off go on."""
    metrics_host: str
    metrics_port: int | None
    """None: metrics are served nowhere."""
    cluster: ClusterPlan = field(default_factory=ClusterPlan)
    tenures: Mapping[str, Tenure] = field(default_factory=dict)
    """Of the folders in which state is kept, once they are this run's; see `driving`."""
