"""The two kinds of workers as Ray actors; the only `ray.remote` of the project.

No logic here: the actors are the plain worker classes with their arguments filled in where they
live. None asks for CPUs (requests beyond the cores would stay pending for ever), none is restarted
or retried by Ray: retried calls come back out of order, so the supervisor starts a new life and
the dispatcher sends lost frames again.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray

from pipeline.accounting import StreamAccount
from pipeline.errors import in_one_line
from pipeline.models import WeightsFile
from pipeline.plan import ModelPlan, StreamPlan
from pipeline.runtime import Question
from pipeline.runtime.gpu import gauge
from pipeline.stages import AsyncSegmenter, ModelInfo, Segmenter, Warm
from pipeline.stream import Command, Stream
from pipeline.turns import Turn
from workers import logs
from workers.dispatch import Call
from workers.last_words import last_lines, pid_in, why_gone
from workers.lease import LASTS_LONGER, Lease, hold, lasting
from workers.members import Member
from workers.nodes import Stay
from workers.predecessor import take_over, when_let_go
from workers.scout import Scout, Scouted
from workers.segment import Loaded, Refused, SegmentReport, SegmentWorker
from workers.sender import Send
from workers.stream import Pool, StreamReport, StreamWorker
from workers.transport import Answer, Pictures
from workers.vital import remembered

PING_LANES = 2
DATA_LANES = 1000
"""Calls that may wait in one segment worker; each stream has few under way."""
_ENDED_WITHIN_S = 20.0
"""How long Ray may take to end a process that does not answer."""


@dataclass(frozen=True, slots=True)
class SegmentSpec:
    """What a segment worker needs to know."""

    worker_id: str
    model: ModelPlan
    max_wait_s: float
    warm_up: bool
    line: str | None = None
    """The lease of its machine; None: it needs none."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a stream worker needs to know."""

    streams: tuple[StreamPlan, ...]
    folder: str
    """Where the driver stands: what relative paths start from."""
    max_batch: int
    max_wait_s: float
    spread: int
    again: bool
    fenced: bool = False
    """The machine of the worker before was given up; that worker may still hold what it wrote."""
    node: str = ""
    """The machine it is started on."""
    network_bytes_per_s: float = math.inf
    """Between machines."""
    line: str | None = None
    """The lease that it lives by; None: it needs none."""


class SegmentActor:
    """A `SegmentWorker`; calls with frames and questions about health have a loop each."""

    def __init__(self, spec: SegmentSpec, weights: WeightsFile | None) -> None:
        if spec.line is not None:
            hold(lasting(spec.line))
        try:
            self._worker = SegmentWorker(
                partial(_load, spec, weights),
                worker_id=spec.worker_id,
                max_batch=spec.model.max_batch,
                max_wait_s=spec.max_wait_s,
                gpu=gauge(spec.model.device),
                tail=logs.collect(),
            )
        except (SystemExit, KeyboardInterrupt) as error:
            # With an event loop Ray takes them for no answer at all.
            raise RuntimeError(in_one_line(error)) from error

    @ray.method(concurrency_group="data")
    async def load(self) -> Loaded | Refused:
        """See `SegmentWorker.load`."""
        return await self._worker.load()

    @ray.method(concurrency_group="data")
    async def segment(self, pictures: Pictures, turn: Turn, alone: bool) -> Answer:
        """See `SegmentWorker.segment`."""
        return await self._worker.segment(pictures, turn=turn, alone=alone)

    @ray.method(concurrency_group="ping")
    async def alive(self) -> int:
        """See `SegmentWorker.alive`."""
        return self._worker.alive()

    @ray.method(concurrency_group="ping")
    async def report(self) -> SegmentReport:
        """See `SegmentWorker.report`."""
        return self._worker.report()


class StreamActor:
    """A `StreamWorker`; one call at a time, in order, each of them short."""

    def __init__(self, spec: StreamSpec) -> None:
        import cv2

        cv2.setNumThreads(1)  # there are as many stream workers as streams
        if spec.line is None:
            os.chdir(spec.folder)
        else:
            hold(spec.line)
            with contextlib.suppress(FileNotFoundError):  # then none of its paths begins there
                os.chdir(spec.folder)
        self._worker = StreamWorker(
            streams=spec.streams,
            build=partial(_build, again=spec.again, fenced=spec.fenced),
            connect=_connect,
            max_batch=spec.max_batch,
            max_wait_s=spec.max_wait_s,
            spread=spec.spread,
            node=spec.node,
            network_bytes_per_s=spec.network_bytes_per_s,
            tail=logs.collect(),
        )

    def begin(self, info: ModelInfo, pool: Pool, told: Mapping[str, Sequence[Command]]) -> None:
        """See `StreamWorker.begin`."""
        self._worker.begin(info, pool, told)

    def report(self, pool: Pool) -> StreamReport:
        """See `StreamWorker.report`."""
        return self._worker.report(pool)

    def ask(self, source_id: str, question: Question) -> Any:
        """See `StreamWorker.ask`."""
        return self._worker.ask(source_id, question)

    def obey(self, command: Command, source_ids: Collection[str]) -> None:
        """See `StreamWorker.obey`."""
        self._worker.obey(command, source_ids)


class ScoutActor:
    """A `Scout`."""

    def __init__(self, line: str, lasts_s: float) -> None:
        longer = lasting(line)
        leases = Lease(line, lasts_s=lasts_s), Lease(longer, lasts_s=LASTS_LONGER * lasts_s)
        self._scout = Scout(leases)
        hold(longer)

    def look(self, tokens: Mapping[str, str]) -> Scouted:
        """See `Scout.look`."""
        return self._scout.look(tokens)

    def asked(self) -> None:
        """See `Scout.asked`."""
        self._scout.asked()


def _load(spec: SegmentSpec, weights: WeightsFile | None) -> Segmenter:
    from pipeline.assemble import build_segmenter

    segmenter = build_segmenter(spec.model, weights)
    if spec.warm_up and isinstance(segmenter, Warm):
        segmenter.warm_up()
    return segmenter


def _build(
    plan: StreamPlan,
    segmenter: AsyncSegmenter,
    account: StreamAccount,
    *,
    again: bool,
    fenced: bool,
) -> Stream:
    from pipeline.assemble import build_stream

    if fenced:
        for path in plan.outputs:
            take_over(path)
    return when_let_go(
        lambda: build_stream(plan, segmenter, account=account, again=again),
        patience_s=_ENDED_WITHIN_S if again else 0.0,
        pause=time.sleep,
    )


def _connect(address: Callable[[Member], Any]) -> Send:
    def send(call: Call, pictures: Pictures) -> Future[Answer]:
        # One argument: Ray copies it once, into shared memory where it is large, without a `put`.
        answer = address(call.member).segment.remote(pictures, call.wants.turn, call.alone)
        future: Future[Answer] = answer.future()
        return future

    return send


class RayWorker:
    """An actor as the supervisor sees it.

    Args:
        address: the handle of the actor.
        stay: of the node it is on; None: of a scout, which says so of its own.
    """

    def __init__(self, address: Any, stay: Stay | None = None) -> None:
        self.address = address
        self.stay = stay
        self.ended = False
        """Whether it was killed."""
        self.model: ModelPlan | None = None
        """What it is to load, of a segment worker."""
        self.began = False
        """Whether it has ever answered."""

    @property
    def node(self) -> str:
        """Of its stay."""
        return "" if self.stay is None else self.stay.node.node_id

    @property
    def gone(self) -> str | None:
        """Why its node was given up."""
        return None if self.stay is None else self.stay.gone

    def call(self, method: str, *args: Any) -> Future[Any]:
        """Call a method and return at once."""
        future: Future[Any] = getattr(self.address, method).remote(*args).future()
        future.add_done_callback(self._note)
        return future

    def _note(self, answered: Future[Any]) -> None:
        self.began |= answered.exception() is None

    def kill(self) -> None:
        """End the process; Ray does not start it again."""
        self.ended = True
        ray.kill(self.address, no_restart=True)

    def reason(self, error: BaseException) -> str:
        """Why a call failed, in few words."""
        if isinstance(error, ray.exceptions.RayTaskError):
            return f"failed: {error.cause!r}".partition("\n")[0]
        text = str(error)
        if isinstance(error, ray.exceptions.RayActorError) or "low on memory" in text:
            return why_gone(text, self._last_lines(text))
        return f"cannot be reached: {type(error).__name__}: {text}".partition("\n")[0]

    def _last_lines(self, text: str) -> list[str]:
        node: Any = ray._private.worker._global_node
        pid = pid_in(text)
        if node is None or pid is None:
            return []
        return last_lines(Path(node.get_logs_dir_path()), pid, started=self.began)


def start_segment(
    spec: SegmentSpec, weights: Any, *, gpus: float, stay: Stay, **where: Any
) -> RayWorker:
    """Start a segment worker on a node, or as Ray's options say; `weights` may be a reference."""
    options: dict[str, Any] = (
        {"scheduling_strategy": _on(stay.node.node_id)}
        | where
        | {
            "num_gpus": gpus,
            "concurrency_groups": {"data": DATA_LANES, "ping": PING_LANES},
        }
    )
    if gpus and ":" in spec.model.device:  # a device by its number: all of them must be in sight
        options["runtime_env"] = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}}
    return RayWorker(_started(SegmentActor, spec, weights, **options), stay)


def start_stream(spec: StreamSpec, *, stay: Stay, resource: str | None = None) -> RayWorker:
    """Start a stream worker on a node, of one of whose resources it may take one."""
    resources = {} if resource is None else {resource: 1.0}
    on = _on(stay.node.node_id)
    return RayWorker(_started(StreamActor, spec, scheduling_strategy=on, resources=resources), stay)


def start_scout(node_id: str, *, line: str, lasts_s: float) -> RayWorker:
    """Start a scout on a node."""
    return RayWorker(_started(ScoutActor, line, lasts_s, scheduling_strategy=_on(node_id)))


def _on(node_id: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def _started(kind: type, *args: Any, **options: Any) -> Any:
    decorate: Any = ray.remote  # its overloads leave out half of what it takes
    actor = decorate(num_cpus=0, max_restarts=0, max_task_retries=0, **options)(kind)
    with remembered():
        return actor.remote(*args)
