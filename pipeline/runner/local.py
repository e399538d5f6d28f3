"""All sources of a run, in this process."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from pipeline import assemble, descriptors, models
from pipeline.accounting import StreamAccount, StreamCounts
from pipeline.arrays import Image
from pipeline.errors import ConfigError, MaskstreamError, in_one_line
from pipeline.heap import settle
from pipeline.metrics.counts import RunCounts
from pipeline.models import WeightsFile
from pipeline.plan import ModelPlan, RunPlan, StreamPlan, WorkersPlan
from pipeline.plan.driving import driving
from pipeline.plan.prepare import Prepared, prepare
from pipeline.runtime import ControlledRun, Question, RunControl, Serving, StreamThread
from pipeline.runtime.controlled import ABORT, RUN_OVER, STOP, Adoption
from pipeline.runtime.gpu import gauge
from pipeline.runtime.lineup import Lineup
from pipeline.runtime.patient import Patient
from pipeline.runtime.serving import Loader
from pipeline.stages import AsyncSegmenter, ModelInfo, Segmenter, Warm
from pipeline.stream import Command, End, Leave, RunSummary, Stream

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.5
_LOOK_EVERY_S = 0.05
TRIAL_SIZE = (72, 128)
"""Of the picture on which a model is tried that comes while others run."""
LEFT_AFTER_S = 2.0
"""A model that is still being loaded so long after the run was told to end may never be."""


class LocalRun(ControlledRun):
    """The streams of a run in threads of this process; a `RunControl`.

    Args:
        plan: of the run, prepared.
        serving: the model, ready; not closed here.
        stay: go on when all streams are over, until all are told to drain or leave.
        build: makes a stream of its plan, the segmenter and the account.
        load: makes the segmenter of a model that comes while it runs.
    """

    def __init__(
        self,
        plan: RunPlan,
        serving: Serving,
        *,
        stay: bool = False,
        build: Callable[[StreamPlan, AsyncSegmenter, StreamAccount], Stream] | None = None,
        load: Callable[[ModelPlan, WeightsFile | None], Segmenter] = assemble.build_segmenter,
    ) -> None:
        super().__init__(plan, stay=stay)
        signed = plan.model.named(serving.info) if plan.model.signed else None
        self._lineup = Lineup(serving, signed)
        self._build = build or _build
        self._load = load
        self._threads: dict[str, StreamThread] = {}

    def run(
        self,
        *,
        stop: threading.Event,
        abort: threading.Event,
        on_progress: Callable[[RunCounts], None] | None = None,
    ) -> tuple[End, ...]:
        """Run until every stream is over; one `End` a stream there is, in their order."""
        if self._stay:
            settle()
        told_s = time.monotonic()
        for plan in self.streams():
            self._begin(plan)
        while not self._is_over(all_over=all(one.over for one in self._threads.values())):
            self._news.clear()
            self._obey(stop, abort)
            self._let_go({i: end for i, one in self._threads.items() if (end := one.ended())})
            self._lineup.retire(one.account.model for one in self._threads.values() if not one.over)
            if on_progress is not None and time.monotonic() - told_s >= PROGRESS_EVERY_S:
                told_s = time.monotonic()
                on_progress(self.counts())
            self._news.wait(_LOOK_EVERY_S)
        if on_progress is not None:
            on_progress(self.counts())
        return tuple(end for one in self._threads.values() if (end := one.ended()) is not None)

    @property
    def _first_model(self) -> ModelInfo | None:
        return self._lineup.info(0)

    @property
    def healthy(self) -> bool:
        """See `RunControl`: nobody here could be gone."""
        return True

    def counts(self) -> RunCounts:
        """See `RunControl`."""
        with self._lock:
            threads = {one.id: self._threads.get(one.id) for one in self._plan.streams}
        return RunCounts(
            streams=tuple(
                StreamCounts(i, "queued") if one is None else one.account.snapshot()
                for i, one in threads.items()
            ),
            workers=self._lineup.counts(),
        )

    def close(self) -> None:
        """Leave no thread behind; after an ordinary end there is none."""
        self._closed = self._closed or RUN_OVER
        threads = list(self._threads.values())
        for thread in threads:
            thread.obey(Leave("the run is over"))
        for thread in threads:
            thread.join()
        self._lineup.close()

    def _bring(self, number: int, ready: Prepared) -> ModelInfo:
        model, trial = ready.plan.model, np.zeros((*TRIAL_SIZE, 3), np.uint8)
        load = partial(self._load, model, ready.weights)
        serving = _serving(self._plan.workers, model, lambda: _warm(load()), trial)
        self._lineup.bring(number, serving)
        try:
            if not _loaded(serving, told=lambda: self._closed is not None):
                raise ConfigError(f"the model cannot be changed: {self._closed}")
        except BaseException:
            self._lineup.turn_away()
            raise
        return serving.info

    def _turn_away(self) -> None:
        self._lineup.turn_away()

    def _adopt(self, adoption: Adoption) -> None:
        self._lineup.adopt(adoption.number, adoption.info)

    def _begin(self, plan: StreamPlan) -> None:
        make = partial(self._build, plan, self._lineup.segmenter(plan.turn))
        thread = self._threads[plan.id] = StreamThread(plan.id, make, then=self._news.set)
        thread.start()

    def _pass_on(self, source_id: str, command: Command) -> None:
        if source_id in self._threads:  # else it has gone meanwhile
            self._threads[source_id].obey(command)

    def _ask(self, source_id: str, question: Question) -> Any:
        thread = self._threads.get(source_id)
        return None if thread is None else question(thread)

    def _forget(self, source_id: str) -> None:
        self._threads.pop(source_id).join()
        if self._stay:  # half a megabyte in circles; since `settle` it takes some milliseconds
            gc.collect()


def _serving(workers: WorkersPlan, model: ModelPlan, load: Loader, *trial: Image) -> Serving:
    """The thread around a model; one that may hang is not waited for without end."""
    may_hang = models.named(model.name).family.may_hang
    return Serving(
        (lambda: Patient(load, workers.batch_timeout_s)) if may_hang else load,
        trial=trial,
        max_batch=workers.max_batch,
        max_wait_s=workers.max_wait_s,
        gpu=gauge(model.device),
    )


def _warm(segmenter: Segmenter) -> Segmenter:
    """Streams wait for it: what its first batches cost is paid before they come."""
    if isinstance(segmenter, Warm):
        segmenter.warm_up()
    return segmenter


def _build(plan: StreamPlan, segmenter: AsyncSegmenter, account: StreamAccount) -> Stream:
    return assemble.build_stream(plan, segmenter, account=account)


def run_local(
    plan: RunPlan,
    *,
    on_progress: Callable[[RunCounts], None] | None = None,
    stop: threading.Event | None = None,
    abort: threading.Event | None = None,
    steer: Callable[[RunControl], object] | None = None,
) -> RunSummary:
    """Run all sources in this process, to their ends or until told to stop.

    Args:
        plan: of the run, as `resolve` made it.
        on_progress: called about twice a second, and once at the end, in the calling thread.
        stop: when set, every captured frame is still published, files are closed.
        abort: when set, what is in flight is dropped.
        steer: handed the run once its model is loaded; with it the run goes on, without streams
            too, until it is told to stop. Called in the calling thread, so it returns soon.

    Raises:
        ConfigError: output exists, or cannot be written; nothing was started.
        SourceError: there is nothing to read; nothing was started.
        ModelError: weights or device are unusable.
    """
    descriptors.taken()
    stop, abort = stop or threading.Event(), abort or threading.Event()
    with ExitStack() as stack:
        ready = prepare(stack.enter_context(driving(plan)))
        model = ready.plan.model
        load = partial(assemble.build_segmenter, model, ready.weights)
        serving = _serving(ready.plan.workers, model, load)
        stack.callback(serving.leave)
        if not _loaded(serving, told=lambda: stop.is_set() or abort.is_set()):
            why = (STOP if stop.is_set() else ABORT).reason
            return RunSummary(tuple(End.not_begun(one.id, why) for one in ready.plan.streams))
        stack.callback(serving.close)
        plan = stack.enter_context(ready.begun())
        run = LocalRun(plan, serving, stay=steer is not None)
        stack.callback(run.close)
        if steer is not None:
            steer(run)
        return RunSummary(run.run(stop=stop, abort=abort, on_progress=on_progress))


def _loaded(serving: Serving, *, told: Callable[[], bool]) -> bool:
    """Wait for the model; False: told to end meanwhile.

    Raises:
        MaskstreamError: it cannot be loaded, one line whatever it failed with.
    """
    while not (told() or serving.ready.done()):
        wait([serving.ready], timeout=_LOOK_EVERY_S)
    if not wait([serving.ready], timeout=LEFT_AFTER_S).done:
        return False
    try:
        serving.ready.result()
    except Exception as error:
        serving.close()
        if isinstance(error, MaskstreamError):
            raise
        log.error("the model", exc_info=error)
        raise MaskstreamError(f"cannot load the model: {in_one_line(error)}") from error
    return True
