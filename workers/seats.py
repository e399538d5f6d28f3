"""`Seats`: the GPUs of the segment workers, where each has room for its successor beside it.

Ray gives a GPU that one actor has asked for to no other. A run whose model may be another one
later therefore reserves its GPUs once, one bundle of a placement group for each worker, and a
worker takes half of a bundle: the other half is for the one that takes its place.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any


class Seats:
    """One for each segment worker of a model; Ray is running.

    Args:
        count: segment workers.
        gpus_each: what each of them gets.
    """

    def __init__(self, count: int, gpus_each: float) -> None:
        from ray.util.placement_group import placement_group

        self.gpus = gpus_each / 2
        """What a worker asks for."""
        self._count = count
        self._group: Any = placement_group([{"GPU": gpus_each}] * count)

    def of(self, worker_id: str) -> dict[str, Any]:
        """Where a worker is started, as options of its actor; those of a model sit apart.

        Args:
            worker_id: ends in its number, which goes on from one model to the next.
        """
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        number = int(worker_id.rpartition("-")[2]) % self._count
        strategy = PlacementGroupSchedulingStrategy(self._group, number)
        return {"scheduling_strategy": strategy}

    def release(self) -> None:
        """Give the GPUs back, also those of workers that still have them."""
        from ray.util.placement_group import remove_placement_group

        with suppress(Exception):  # a cluster that is gone has none
            remove_placement_group(self._group)
