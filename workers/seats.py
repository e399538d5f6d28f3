"""`Seat`: a part of a GPU for one segment worker, with room for its successor beside it.

Ray gives a GPU that one actor has asked for to no other. A run whose model may be another one
later therefore reserves its GPUs once, a placement group for each worker, and a worker takes half
of it: the other half is for the one that takes its place.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipeline.plan import ModelPlan
from workers.nodes import Stay

if TYPE_CHECKING:
    from workers.actors import RayWorker


class Seat:
    """One for each segment worker of a model; Ray is running.

    Args:
        stay: of the node it is on.
        gpus: of a GPU, reserved at once.
    """

    def __init__(self, stay: Stay, gpus: float) -> None:
        from ray.util.placement_group import placement_group

        self.stay = stay
        self.gpus = gpus / 2
        """What a worker asks for."""
        self._workers: list[tuple[RayWorker, ModelPlan]] = []
        there = {"ray.io/node-id": stay.node.node_id}  # addresses may be shared by nodes
        self._group: Any = placement_group([{"GPU": gpus}], bundle_label_selector=[there])

    @property
    def options(self) -> dict[str, Any]:
        """Where a worker is started, as options of its actor."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return {"scheduling_strategy": PlacementGroupSchedulingStrategy(self._group, 0)}

    def take(self, worker: RayWorker, model: ModelPlan) -> None:
        """Have a worker of a model sit here."""
        self._workers.append((worker, model))

    def is_free_for(self, model: ModelPlan) -> bool:
        """Whether no worker of this model sits here, and one of another at most.

        A model may be followed by one that is equal to it.
        """
        self._workers = [(w, of) for w, of in self._workers if not w.ended]
        return len(self._workers) < 2 and all(of is not model for _, of in self._workers)

    @property
    def empty(self) -> bool:
        """Whether nobody sits here any more."""
        return all(worker.ended for worker, _ in self._workers)

    def release(self) -> None:
        """Give it back, also where a worker still sits there."""
        from ray.util.placement_group import remove_placement_group

        with suppress(Exception):  # a cluster that is gone has none
            remove_placement_group(self._group)
