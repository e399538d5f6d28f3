"""`Machines`: where the workers of a run are started; what the supervisor knows of Ray."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from pipeline import models
from pipeline.plan import ModelPlan, StreamPlan
from workers.slots import Remote

StartSegment: TypeAlias = Callable[[str], Remote | None]
"""Starts a `SegmentWorker` of a model by its name; None: no machine has room for it."""


class Machines(Protocol):
    """Where workers are started."""

    @property
    def segment_workers(self) -> int:
        """How many there should be now; grows as machines join."""

    @property
    def stream_workers(self) -> int:
        """How many may read files at once; cameras are never kept waiting."""

    def missing(self) -> str | None:
        """What the run has to wait for before its first stream may begin, one line; or None."""

    def start_segment(self, worker_id: str) -> Remote | None:
        """A `SegmentWorker` that has its model still to load; None: there is no room now."""

    def bring(self, model: ModelPlan, weights: models.WeightsFile | None) -> StartSegment:
        """What starts `SegmentWorker`s of another model beside those there are, by their names."""

    def adopt(self, model: ModelPlan) -> None:
        """Workers of this model are those there are to be from now on; it was brought before."""

    def start_stream(
        self, streams: Sequence[StreamPlan], *, spread: int, again: bool
    ) -> Remote | None:
        """A `StreamWorker` for these streams; None: there is no room now."""

    def ask_for(self, workers: int) -> None:
        """So many segment workers there are to be, said again when one has left.

        A cluster that can grow may make room, and what was kept for who has left is given back.
        """

    def room(self) -> Mapping[str, float]:
        """Bytes that each stream worker may have under way, by machine; not named: no bound."""

    def going(self) -> Collection[str]:
        """Machines that will be gone soon, by their ids: what is there is to leave."""

    def fault(self) -> str | None:
        """Why no worker can be started or reached any more, one line for the user; or None."""
