"""The two kinds of workers as Ray actors; the only `ray.remote` of the project.

No logic here: the actors are the plain worker classes with their arguments filled in where they
live. None asks for CPUs (requests beyond the cores would stay pending for ever), none is restarted
or retried by Ray: retried calls come back out of order, so the supervisor starts a new life and
the dispatcher sends lost frames again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from pipeline.accounting import StreamAccount
from pipeline.errors import in_one_line
from pipeline.models import WeightsFile
from pipeline.plan import ModelPlan, StreamPlan
from pipeline.runtime import Latest, Viewing
from pipeline.runtime.gpu import gauge
from pipeline.stages import AsyncSegmenter, ModelInfo, Segmenter, Warm
from pipeline.stream import Command, Stream
from pipeline.turns import Turn
from workers import logs
from workers.dispatch import Call, Member
from workers.last_words import last_lines, pid_in, why_gone
from workers.predecessor import when_let_go
from workers.segment import Loaded, Refused, SegmentReport, SegmentWorker
from workers.stream import Pool, StreamReport, StreamWorker
from workers.transport import Answer

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


class SegmentActor:
    """A `SegmentWorker`; calls with frames and questions about health have a loop each."""

    def __init__(self, spec: SegmentSpec, weights: WeightsFile | None) -> None:
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
    async def segment(
        self, source_id: str, images: Sequence[NDArray[np.uint8]], turn: Turn, alone: bool
    ) -> Answer:
        """See `SegmentWorker.segment`."""
        return await self._worker.segment(source_id, images, turn=turn, alone=alone)

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
        os.chdir(spec.folder)
        self._worker = StreamWorker(
            streams=spec.streams,
            build=partial(_build, again=spec.again),
            connect=_connect,
            max_batch=spec.max_batch,
            max_wait_s=spec.max_wait_s,
            spread=spec.spread,
            tail=logs.collect(),
        )

    def begin(self, info: ModelInfo, pool: Pool, told: Mapping[str, Sequence[Command]]) -> None:
        """See `StreamWorker.begin`."""
        self._worker.begin(info, pool, told)

    def report(self, pool: Pool) -> StreamReport:
        """See `StreamWorker.report`."""
        return self._worker.report(pool)

    def latest(self, source_id: str, look: Viewing | None) -> Latest | None:
        """See `StreamWorker.latest`."""
        return self._worker.latest(source_id, look)

    def obey(self, command: Command, source_ids: Collection[str]) -> None:
        """See `StreamWorker.obey`."""
        self._worker.obey(command, source_ids)


def _load(spec: SegmentSpec, weights: WeightsFile | None) -> Segmenter:
    from pipeline.assemble import build_segmenter

    segmenter = build_segmenter(spec.model, weights)
    if spec.warm_up and isinstance(segmenter, Warm):
        segmenter.warm_up()
    return segmenter


def _build(
    plan: StreamPlan, segmenter: AsyncSegmenter, account: StreamAccount, *, again: bool
) -> Stream:
    from pipeline.assemble import build_stream

    return when_let_go(
        lambda: build_stream(plan, segmenter, account=account, again=again),
        patience_s=_ENDED_WITHIN_S if again else 0.0,
        pause=time.sleep,
    )


def _connect(
    address: Callable[[Member], Any], source_id: str, turn: Turn
) -> Callable[[Call, list[NDArray[np.uint8]]], Future[Answer]]:
    def send(call: Call, images: list[NDArray[np.uint8]]) -> Future[Answer]:
        # One argument of many bytes: Ray copies it into shared memory once, without a `put`.
        answer = address(call.member).segment.remote(source_id, images, turn, call.alone)
        return answer.future()

    return send


class RayWorker:
    """An actor as the supervisor sees it.

    Args:
        address: the handle of the actor.
    """

    def __init__(self, address: Any) -> None:
        self.address = address
        self._started = False

    def call(self, method: str, *args: Any) -> Future[Any]:
        """Call a method and return at once."""
        future: Future[Any] = getattr(self.address, method).remote(*args).future()
        future.add_done_callback(self._note)
        return future

    def _note(self, answered: Future[Any]) -> None:
        self._started |= answered.exception() is None

    def kill(self) -> None:
        """End the process; Ray does not start it again."""
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
        return last_lines(Path(node.get_logs_dir_path()), pid, started=self._started)


def start_segment(spec: SegmentSpec, weights: Any, *, gpus: float, **where: Any) -> RayWorker:
    """Start a segment worker somewhere, or as Ray's options say; `weights` may be a reference."""
    options: dict[str, Any] = where | {
        "num_gpus": gpus,
        "concurrency_groups": {"data": DATA_LANES, "ping": PING_LANES},
    }
    if gpus and ":" in spec.model.device:  # a device by its number: all of them must be in sight
        options["runtime_env"] = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}}
    actor = _remote(SegmentActor, **options)
    return RayWorker(actor.remote(spec, weights))


def start_stream(spec: StreamSpec, *, node_id: str) -> RayWorker:
    """Start a stream worker on a node: where its files are."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node_id, soft=False)
    actor = _remote(StreamActor, scheduling_strategy=here)
    return RayWorker(actor.remote(spec))


def _remote(kind: type, **options: Any) -> Any:
    decorate: Any = ray.remote  # its overloads leave out half of what it takes
    return decorate(num_cpus=0, max_restarts=0, max_task_retries=0, **options)(kind)
