"""Ray itself: joined or started, told what it must know, and ended when it is ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from pipeline import models
from pipeline.plan import CheckpointPlan, ModelPlan, RunPlan, StreamPlan
from workers.private import STATE, PrivateFolder
from workers.ray_joined import join_ray
from workers.ray_own import free_for_objects, start_ray, stop_ray
from workers.scaling import Fleet, fleet, store_bytes
from workers.seats import Seats
from workers.slots import Remote
from workers.surroundings import be_quiet
from workers.vital import Vital


class Cluster:
    """The machines of one run; a context manager.

    Args:
        plan: of the run, prepared.
        weights_bytes: what the weights take at most, see `hand_out`.
        address: of a Ray cluster to join; None starts one on this machine.
        may_leave: this process is that of the run, and may be ended where Ray would hold it up.
        swaps: the model may be another one later, for a while beside the first.
    """

    def __init__(
        self,
        plan: RunPlan,
        *,
        weights_bytes: int,
        address: str | None,
        may_leave: bool = False,
        swaps: bool = False,
    ) -> None:
        self._swaps = swaps
        self._seats: Seats | None = None
        self._may_leave = may_leave
        self._plan = plan
        self._weights_bytes = weights_bytes
        self._address = address
        self._folder: PrivateFolder | None = None
        self._ours = False
        self._weights_ref: Any = None
        self._vital = Vital()

    @property
    def segment_workers(self) -> int:
        """How many there should be."""
        return self._fleet.workers

    @property
    def stream_workers(self) -> int:
        """How many may read files at once."""
        return self._plan.workers.at_once

    def __enter__(self) -> Cluster:
        """Start or join Ray.

        Raises:
            ConfigError: the cluster cannot be reached.
        """
        be_quiet()
        import ray

        self._folder = PrivateFolder()
        self._ours = not ray.is_initialized()
        try:
            if self._ours:
                self._connect(self._folder)
            self._node_id = ray.get_runtime_context().get_node_id()
            self._fleet = self._choose()
            if self._swaps and self._fleet.gpus_each:
                self._seats = Seats(self._fleet.workers, self._fleet.gpus_each)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End Ray if it was started here."""
        self._end()

    def leave(self) -> NoReturn:
        """End this process and those of our Ray here and now."""
        if self._folder is not None:
            self._folder.remove()
        os._exit(1)

    def _end(self) -> None:
        self._weights_ref = None
        if self._seats is not None and not self._ours:
            self._seats.release()
        if self._ours:
            stop_ray(at_once=self.fault() is not None)
        if self._folder is not None:
            self._folder.remove()

    def fault(self) -> str | None:
        """Why no worker can be started or reached any more, one line for the user; or None."""
        return self._vital.fault()

    def hand_out(self, weights: models.WeightsFile | None) -> None:
        """Put the weights where every segment worker takes them from; None: there are none."""
        import ray

        self._weights_ref = None if weights is None else ray.put(weights)

    def start_segment(self, worker_id: str) -> Remote:
        """A `SegmentWorker` that has its model still to load."""
        return self._start_segment(worker_id, self._plan.model, self._weights_ref)

    def bring(
        self, model: ModelPlan, weights: models.WeightsFile | None
    ) -> Callable[[str], Remote]:
        """See `Machines`; its weights stay as long as what is returned does."""
        import ray

        handed_out = None if weights is None else ray.put(weights)
        return lambda worker_id: self._start_segment(worker_id, model, handed_out)

    def _start_segment(self, worker_id: str, model: ModelPlan, weights: Any) -> Remote:
        from workers.actors import SegmentSpec, start_segment

        gpus = self._fleet.gpus_each
        device = "cpu" if model.device == "auto" and not gpus else model.device
        spec = SegmentSpec(
            worker_id,
            replace(model, device=device, threads=self._fleet.threads),
            self._plan.workers.max_wait_s,
            warm_up=gpus > 0,
        )
        if self._seats is None:
            return start_segment(spec, weights, gpus=gpus)
        return start_segment(spec, weights, gpus=self._seats.gpus, **self._seats.of(worker_id))

    def start_stream(self, streams: Sequence[StreamPlan], *, spread: int, again: bool) -> Remote:
        """A `StreamWorker` for these streams, on this node."""
        from workers.actors import StreamSpec, start_stream

        workers = self._plan.workers
        spec = StreamSpec(
            tuple(self._remembering(stream, again=again) for stream in streams),
            os.getcwd(),
            workers.max_batch,
            workers.max_wait_s,
            spread,
            again,
        )
        return start_stream(spec, node_id=self._node_id)

    def _remembering(self, stream: StreamPlan, *, again: bool) -> StreamPlan:
        """A stream worker that dies goes on from its checkpoint also when the user keeps none."""
        if stream.checkpoint is not None or self._folder is None:
            return stream
        path = Path(self._folder.make(STATE), f"{stream.id}.json")
        if not again:  # a stream of this id was here before, and was removed
            for left in (path, path.with_suffix(".numbers")):
                left.unlink(missing_ok=True)
        return replace(stream, checkpoint=CheckpointPlan(path=str(path)))

    def _connect(self, folder: PrivateFolder) -> None:
        if self._address is not None:
            join_ray(self._address, folder)
            return
        needed = store_bytes(
            in_flight_bytes=self._plan.workers.in_flight_bytes,
            weights_bytes=self._weights_bytes,
            free_bytes=free_for_objects(folder),
        )
        start_ray(needed, folder, may_leave=self._may_leave)

    def _choose(self) -> Fleet:
        cores = len(os.sched_getaffinity(0))
        return fleet(self._plan.workers.segment, gpus=self._gpus(), cores=cores)

    def _gpus(self) -> int:
        import ray

        model = self._plan.model
        if model.device == "cpu" or not models.named(model.name).family.wants_gpu:
            return 0
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        found = int(resources.get("GPU", 0))
        return min(1, found) if ":" in model.device else found
