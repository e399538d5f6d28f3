"""Ray itself: joined or started, told what it must know, and ended when it is ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import Any, NoReturn

from pipeline import models
from pipeline.build import is_live
from pipeline.config import Settings, SourceSettings
from workers.private import STATE, PrivateFolder
from workers.ray_joined import join_ray
from workers.ray_own import does_not_start, free_for_objects, start_ray, stop_ray
from workers.scaling import Plan, at_once, in_flight_share_mb, plan, store_bytes
from workers.slots import Remote
from workers.surroundings import be_quiet
from workers.vital import Vital


class Cluster:
    """The machines of one run; a context manager.

    Args:
        settings: of the run, checked.
        runs: identity of every source's run, as `build.prepare` gave it.
        weights_bytes: what the weights take at most, see `hand_out`.
        address: of a Ray cluster to join; None starts one on this machine.
        may_leave: this process is that of the run, and may be ended where Ray would hold it up.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        runs: Mapping[str, str],
        weights_bytes: int,
        address: str | None,
        may_leave: bool = False,
    ) -> None:
        self._may_leave = may_leave
        self._settings = settings
        self._runs = runs
        self._weights_bytes = weights_bytes
        self._address = address
        self._folder: PrivateFolder | None = None
        self._ours = False
        self._weights_ref: Any = None
        self._vital = Vital()

    @property
    def segment_workers(self) -> int:
        """How many there should be."""
        return self._plan.workers

    @property
    def stream_workers(self) -> int:
        """How many may read files at once."""
        return at_once(cores=len(os.sched_getaffinity(0)))

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
            self._plan = self._make_plan()
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

    def _leave_saying(self, reason: str) -> NoReturn:
        with suppress(OSError):
            print(f"maskstream: {does_not_start(reason)}", file=sys.stderr, flush=True)
        self.leave()

    def _end(self) -> None:
        self._weights_ref = None
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
        from workers.actors import SegmentSpec, start_segment

        model = self._settings.model
        gpus = self._plan.gpus_each
        if model.device == "auto" and not gpus:
            model = model.model_copy(update={"device": "cpu"})
        spec = SegmentSpec(
            worker_id, model, self._settings.workers, self._plan.threads, warm_up=gpus > 0
        )
        return start_segment(spec, self._weights_ref, gpus=gpus)

    def start_stream(
        self, sources: Sequence[SourceSettings], *, spread: int, again: bool
    ) -> Remote:
        """A `StreamWorker` for these sources, on this node."""
        from workers.actors import StreamSpec, start_stream

        settings = self._settings_for(sources)
        runs = {source.id: self._runs[source.id] for source in sources}
        # A stream worker that dies goes on from its checkpoint also when the user keeps none.
        scratch = None if self._folder is None else self._folder.make(STATE)
        spec = StreamSpec(settings, tuple(sources), runs, os.getcwd(), scratch, spread, again)
        return start_stream(spec, node_id=self._node_id)

    def _settings_for(self, sources: Sequence[SourceSettings]) -> Settings:
        """What a stream worker needs of the settings, whatever the number of all streams."""
        workers = self._settings.workers
        share_mb = self._share_mb * len(sources)
        return self._settings.only(sources).model_copy(
            update={"workers": workers.model_copy(update={"in_flight_mb": share_mb})}
        )

    @cached_property
    def _share_mb(self) -> float:
        """The part of one stream in `in_flight_mb`."""
        live = sum(is_live(source) for source in self._settings.sources)
        workers, total = self._settings.workers, len(self._settings.sources)
        return (
            in_flight_share_mb(
                workers.in_flight_mb,
                live=live,
                files=total - live,
                at_once=self.stream_workers * workers.streams_per_worker,
            )
            / total
        )

    def _connect(self, folder: PrivateFolder) -> None:
        if self._address is not None:
            join_ray(self._address)
            return
        needed = store_bytes(
            in_flight_bytes=int(self._settings.workers.in_flight_mb * 1e6),
            weights_bytes=self._weights_bytes,
            free_bytes=free_for_objects(folder),
        )
        start_ray(needed, folder, last_resort=self._leave_saying if self._may_leave else None)

    def _make_plan(self) -> Plan:
        cores = len(os.sched_getaffinity(0))
        return plan(self._settings.workers.segment, gpus=self._gpus(), cores=cores)

    def _gpus(self) -> int:
        import ray

        name = self._settings.model.name or models.DEFAULT
        if self._settings.model.device == "cpu" or not models.MODELS[name].family.wants_gpu:
            return 0
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        found = int(resources.get("GPU", 0))
        return min(1, found) if ":" in self._settings.model.device else found
