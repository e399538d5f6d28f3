"""Ray itself: joined or started, told what it must know, and ended when it is ours."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from pipeline import models
from pipeline.errors import ConfigError
from pipeline.plan import CheckpointPlan, ModelPlan, RunPlan, StreamPlan
from pipeline.plan.sharing import kept_here
from workers import ray_growth
from workers.handed_out import HandedOut
from workers.machines import StartSegment
from workers.nodes import Nodes, Stay
from workers.placement import Node, Placing, alive, taken
from workers.private import STATE, PrivateFolder
from workers.ray_joined import join_ray
from workers.ray_nodes import listed
from workers.ray_own import free_for_objects, start_ray, stop_ray
from workers.room import shared_out
from workers.scaling import store_bytes
from workers.scout import versions
from workers.seats import Seat
from workers.shared_paths import tokens
from workers.slots import Remote
from workers.surroundings import be_quiet
from workers.vital import Vital

if TYPE_CHECKING:
    from workers.actors import RayWorker

LEASE_S = 1.0
"""Streams of a machine that was given up have ended so long before others take their place."""


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
        self._name = secrets.token_hex(8)
        self._asks = False
        self._swaps = swaps
        self._seats: list[Seat] = []
        self._may_leave = may_leave
        self._plan = plan
        self._weights_bytes = weights_bytes
        self._address = address
        self._folder: PrivateFolder | None = None
        self._ours = False
        self._weights = HandedOut(None, put=lambda weights: None)
        self._faults: list[Callable[[], str | None]] = [Vital().fault]
        self._watching = ExitStack()
        self._segments: list[RayWorker] = []
        self._streams: list[RayWorker] = []
        self._ran: dict[str, RayWorker] = {}
        self._placement = Placing(
            plan.cluster,
            plan.workers.segment,
            plan.workers.gpus_each,
            grows=plan.workers.segment_most is not None,
        ).of(plan.model)

    @property
    def segment_workers(self) -> int:
        """How many there should be now; grows as nodes join."""
        return self._placement.wanted(self._nodes())

    @property
    def stream_workers(self) -> int:
        """How many may read files at once."""
        return self._plan.workers.at_once

    def __enter__(self) -> Cluster:
        """Start or join Ray.

        Raises:
            ConfigError: the cluster cannot be reached, or is not what the settings ask for.
        """
        be_quiet()
        import ray

        self._folder = PrivateFolder()
        self._ours = not ray.is_initialized()
        try:
            if self._ours:
                self._connect(self._folder)
            self._watch = self._begin_watching()
            self._refuse_unfit()
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
        del self._weights
        if not self._ours:
            for seat in self._seats:
                seat.release()
        if self._asks and self.fault() is None:
            ray_growth.ask_for(self._name, 0, {}, {})
        self._watching.close()
        if self._ours:
            stop_ray(at_once=self.fault() is not None)
        if self._folder is not None:
            self._folder.remove()

    def fault(self) -> str | None:
        """Why no worker can be started or reached any more, one line for the user; or None."""
        return next((why for ask in self._faults if (why := ask()) is not None), None)

    def hand_out(self, weights: models.WeightsFile | None) -> None:
        """Put the weights where every segment worker takes them from; None: there are none."""
        import ray

        self._weights = HandedOut(weights, ray.put)

    @property
    def _joined(self) -> bool:
        """Whether it is not a Ray of our own, on this machine alone."""
        return self._address is not None or not self._ours

    def missing(self) -> str | None:
        """What the run waits for before its first stream may begin, one line; or None."""
        return self._placement.missing(self._nodes())

    def ask_for(self, workers: int) -> None:
        """See `Machines`; who has a fixed number takes what there is."""
        for seat in [seat for seat in self._seats if seat.empty]:
            self._seats.remove(seat)
            seat.release()
        if self._joined and self._placement.grows:
            self._asks = True
            each = self._placement.takes(self._nodes())
            labels = self._plan.cluster.segment_labels
            ray_growth.ask_for(self._name, workers, each, labels)

    def room(self) -> Mapping[str, float]:
        """See `Machines`."""
        stores = {node.node_id: node.store_bytes for node in self._nodes()}
        return shared_out(stores, taken(self._streams), taken(self._segments))

    def going(self) -> frozenset[str]:
        """See `Machines`."""
        return self._watch.going

    def start_segment(self, worker_id: str) -> Remote | None:
        """A `SegmentWorker` that has its model still to load; None: there is no room now."""
        return self._start_segment(worker_id, self._plan.model, self._weights)

    def bring(self, model: ModelPlan, weights: models.WeightsFile | None) -> StartSegment:
        """See `Machines`; its weights stay as long as what is returned does."""
        import ray

        handed_out = HandedOut(weights, ray.put)
        return lambda worker_id: self._start_segment(worker_id, model, handed_out)

    def adopt(self, model: ModelPlan) -> None:
        """See `Machines`: one takes GPUs, another does not."""
        self._placement = self._placement.of(model)

    def _start_segment(self, worker_id: str, model: ModelPlan, weights: HandedOut) -> Remote | None:
        from workers.actors import SegmentSpec, start_segment

        nodes, placing = self._nodes(), self._placement.of(model)
        gpus = placing.share(nodes)
        seat = self._seat_for(model, placing) if self._swaps and gpus else None
        stay = self._stay_for_segment(model, placing) if seat is None else seat.stay
        if stay is None or (seat is None and self._swaps and gpus) or not self._watch.ready(stay):
            return None
        device = "cpu" if model.device == "auto" and not gpus else model.device
        spec = SegmentSpec(
            worker_id,
            replace(model, device=device, threads=placing.threads(stay.node, nodes)),
            self._plan.workers.max_wait_s,
            warm_up=gpus > 0,
            line=stay.line,
        )
        if any(worker.ended and not worker.began for worker in self._segments):
            weights.again()
        if seat is None:
            worker = start_segment(spec, weights.where, gpus=gpus, stay=stay)
        else:
            worker = start_segment(spec, weights.where, gpus=seat.gpus, stay=stay, **seat.options)
            seat.take(worker, model)
        worker.model = model
        self._segments = [*alive(self._segments), worker]
        return worker

    def _stay_for_segment(self, model: ModelPlan, placing: Placing) -> Stay | None:
        """Workers of another model leave: of those there are only its own take room from it."""
        nodes = self._nodes()
        there = Counter(seat.stay.node.node_id for seat in self._seats)
        if not there or not placing.share(nodes):
            there = taken([one for one in self._segments if one.model is model])
        return self._stay_of(placing.for_segment(nodes, there))

    def _seat_for(self, model: ModelPlan, placing: Placing) -> Seat | None:
        """One that is free, or a new one; None: there is no room."""
        for seat in [seat for seat in self._seats if seat.stay.gone is not None]:
            self._seats.remove(seat)
            seat.release()
        fit = [seat for seat in self._seats if seat.stay.node.node_id not in self._watch.going]
        free = next((seat for seat in fit if seat.is_free_for(model)), None)
        if free is None and (stay := self._stay_for_segment(model, placing)) is not None:
            free = Seat(stay, placing.share(self._nodes()))
            self._seats.append(free)
        return free

    def start_stream(
        self, streams: Sequence[StreamPlan], *, spread: int, again: bool
    ) -> Remote | None:
        """A `StreamWorker` for these streams; None: there is no room now."""
        from workers.actors import StreamSpec, start_stream

        here = any(kept_here(self._plan, stream) is not None for stream in streams)
        node = self._placement.for_stream(self._nodes(), taken(self._streams), stays=here)
        stay, workers = self._stay_of(node), self._plan.workers
        if stay is None or not self._watch.ready(stay):
            return None
        ran = [self._ran[stream.id] for stream in streams if stream.id in self._ran]
        spec = StreamSpec(
            tuple(self._remembering(stream, again=again) for stream in streams),
            os.getcwd(),
            workers.max_batch,
            workers.max_wait_s,
            spread,
            again,
            fenced=again and any(worker.gone is not None for worker in ran),
            node=stay.node.node_id,
            network_bytes_per_s=self._plan.cluster.network_bytes_per_s,
            line=stay.line,
        )
        resource = None if here else self._plan.cluster.stream_resource
        worker = start_stream(spec, stay=stay, resource=resource)
        self._streams = [*alive(self._streams), worker]
        self._ran.update({stream.id: worker for stream in streams})
        return worker

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

    def _begin_watching(self) -> Nodes:
        """Over all nodes of a cluster; our own Ray has but one."""
        from workers.actors import start_scout

        list_nodes = partial(listed, self._plan.model.device)
        cluster = self._plan.cluster
        shared = cluster.shared_paths if self._joined else ()
        nodes = Nodes(
            here=next(node for node in list_nodes() if node.here),
            listed=list_nodes,
            start_scout=partial(start_scout, lasts_s=cluster.node_timeout_s - LEASE_S),
            name=self._name,
            versions=versions(),
            tokens=self._watching.enter_context(tokens(shared)),
            used=lambda: {*taken(self._segments), *taken(self._streams)},
            node_timeout_s=cluster.node_timeout_s,
        )
        self._faults.append(nodes.fault)
        self._watching.callback(nodes.close)
        if self._joined:
            nodes.begin()
        return nodes

    def _refuse_unfit(self) -> None:
        """Refuse what the nodes there are, or any that could come, cannot be.

        Raises:
            ConfigError: names what is missing.
        """
        nodes = self._nodes()
        self._placement.refuse_unknown(nodes, may_come=self._joined)
        if not self._joined:
            self._placement.refuse_missing(nodes)
        if self._placement.may_decode(self._watch.here):
            return
        for stream in self._plan.streams:
            if (use := kept_here(self._plan, stream)) is not None:
                raise ConfigError(
                    f"source {stream.id}: {use.what}, {use.path}, lies on this machine alone, and "
                    "cluster.stream_labels or cluster.stream_resource send streams to others; put "
                    "it into a folder all of them share, and name that in cluster.shared_paths"
                )

    def _stay_of(self, node: Node | None) -> Stay | None:
        stays = {stay.node.node_id: stay for stay in self._watch.stays}
        return None if node is None else stays.get(node.node_id)  # it may be gone meanwhile

    def _nodes(self) -> list[Node]:
        going = self._watch.going
        return [stay.node for stay in self._watch.stays if stay.node.node_id not in going]
