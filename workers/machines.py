"""`Machines`: where the workers of a run are started; what the supervisor knows of Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pipeline import models
from pipeline.plan import ModelPlan, StreamPlan
from workers.slots import Remote


class Machines(Protocol):
    """Where workers are started."""

    @property
    def segment_workers(self) -> int:
        """How many there should be."""

    @property
    def stream_workers(self) -> int:
        """How many may read files at once; cameras are never kept waiting."""

    def start_segment(self, worker_id: str) -> Remote:
        """A `SegmentWorker` that has its model still to load."""

    def bring(
        self, model: ModelPlan, weights: models.WeightsFile | None
    ) -> Callable[[str], Remote]:
        """What starts `SegmentWorker`s of another model beside those there are, by their names."""

    def start_stream(self, streams: Sequence[StreamPlan], *, spread: int, again: bool) -> Remote:
        """A `StreamWorker` for these streams."""

    def fault(self) -> str | None:
        """Why no worker can be started or reached any more, one line for the user; or None."""
