"""All sources of a run, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from pipeline import assemble, descriptors
from pipeline.accounting import StreamAccount
from pipeline.metrics.counts import RunCounts
from pipeline.plan import RunPlan, StreamPlan
from pipeline.plan.prepare import prepare
from pipeline.runtime import Serving, StreamThread
from pipeline.stream import Drain, Leave, RunSummary, Stream

PROGRESS_EVERY_S = 0.5
_LOOK_EVERY_S = 0.05


def run_local(
    plan: RunPlan,
    *,
    on_progress: Callable[[RunCounts], None] | None = None,
    stop: threading.Event | None = None,
    abort: threading.Event | None = None,
) -> RunSummary:
    """Run all sources in this process, to their ends or until told to stop.

    Args:
        plan: of the run, as `resolve` made it.
        on_progress: called about twice a second, and once at the end, in the calling thread.
        stop: when set, every captured frame is still published, files are closed.
        abort: when set, what is in flight is dropped.

    Raises:
        ConfigError: output exists, or cannot be written; nothing was started.
        SourceError: there is nothing to read; nothing was started.
        ModelError: weights or device are unusable.
    """
    descriptors.taken()
    ready = prepare(plan)
    plan, workers = ready.plan, ready.plan.workers
    stop, abort = stop or threading.Event(), abort or threading.Event()
    with ExitStack() as stack:
        serving = Serving(
            lambda: assemble.build_segmenter(plan.model, ready.weights),
            max_batch=workers.max_batch,
            max_wait_s=workers.max_wait_s,
        )
        stack.callback(serving.close)
        serving.ready.result()
        threads = [StreamThread(one.id, _maker(one, serving)) for one in plan.streams]
        stack.callback(_abort, threads)
        for thread in threads:
            thread.start()
        _watch(threads, serving, stop=stop, abort=abort, on_progress=on_progress)
        return RunSummary(tuple(thread.result() for thread in threads))


def _maker(plan: StreamPlan, serving: Serving) -> Callable[[StreamAccount], Stream]:
    return lambda account: assemble.build_stream(plan, serving, account=account)


def _watch(
    threads: Sequence[StreamThread],
    serving: Serving,
    *,
    stop: threading.Event,
    abort: threading.Event,
    on_progress: Callable[[RunCounts], None] | None,
) -> None:
    """Until all streams have ended: pass on what is asked for, tell how far they are."""
    told_s = time.monotonic()
    stopping = aborting = False
    while running := [thread for thread in threads if not thread.join(0)]:
        if any(thread.broken for thread in threads):
            return  # what it left with is raised by its result, and ends the others
        if stop.is_set() and not stopping:
            stopping = True
            for thread in threads:
                thread.obey(Drain("the run was told to stop"))
        if abort.is_set() and not aborting:
            aborting = True
            for thread in threads:
                thread.obey(Leave("told to leave at once"))
        if on_progress is not None and time.monotonic() - told_s >= PROGRESS_EVERY_S:
            told_s = time.monotonic()
            on_progress(_counts(threads, serving))
        running[0].join(_LOOK_EVERY_S)
    if on_progress is not None:
        on_progress(_counts(threads, serving))


def _counts(threads: Sequence[StreamThread], serving: Serving) -> RunCounts:
    return RunCounts(
        streams=tuple(thread.account.snapshot() for thread in threads),
        workers=(serving.counts("local"),),
    )


def _abort(threads: Sequence[StreamThread]) -> None:
    """Leave no thread behind; after an ordinary end there is none."""
    for thread in threads:
        thread.obey(Leave("the run is over"))
    for thread in threads:
        thread.join()
