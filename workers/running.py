"""A run on Ray, from its plan to its summary.

The cluster's twin of `pipeline.runner.run_local`: the same plan in, the same summary out, and for
files the same bytes written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack

from pipeline import models
from pipeline.metrics.counts import RunCounts
from pipeline.plan import RunPlan
from pipeline.plan.driving import driving
from pipeline.plan.prepare import prepare
from pipeline.runtime import RunControl
from pipeline.stream import RunSummary
from workers import weights
from workers.lives import Limits
from workers.signals import drained_by_signals
from workers.supervisor import Supervisor


def run(
    plan: RunPlan,
    *,
    address: str | None = None,
    on_progress: Callable[[RunCounts], None] | None = None,
    stop: threading.Event | None = None,
    abort: threading.Event | None = None,
    limits: Limits | None = None,
    may_leave: bool = False,
    steer: Callable[[RunControl], object] | None = None,
) -> RunSummary:
    """Run all sources on Ray, to their ends or until told to stop.

    In the main thread, where nobody else listens, SIGINT and SIGTERM drain; a second one leaves.

    Args:
        plan: of the run, as `resolve` made it.
        address: of a Ray cluster to join; None starts one on this machine and ends it again.
        on_progress: called about twice a second, and once at the end, in the calling thread.
        stop: when set, every captured frame is still published, files are closed.
        abort: when set, what is in flight is dropped.
        limits: how much patience the supervisor has.
        may_leave: this process is that of the run, and may be ended where Ray would hold it up.
        steer: handed the run, which with it goes on until it is told to stop; returns soon.

    Raises:
        ConfigError: output exists, or cannot be written; nothing was started.
        SourceError: there is nothing to read; nothing was started.
        ModelError: weights or device are unusable, or weights cannot be fetched.
    """
    from workers.cluster import Cluster

    stop, abort = stop or threading.Event(), abort or threading.Event()
    watched: list[Supervisor] = []
    with ExitStack() as stack:
        ready = prepare(stack.enter_context(driving(plan)))
        plan = ready.plan
        weights.check_local(ready)
        swaps = steer is not None  # who steers may ask for another model, and both lie there then
        cluster = Cluster(
            plan,
            weights_bytes=weights.most_bytes(ready) + (models.PUBLISHED_BYTES if swaps else 0),
            address=address,
            may_leave=may_leave,
            swaps=swaps,
        )
        stack.enter_context(drained_by_signals(stop, abort, end_now=cluster.leave))
        stack.enter_context(_served(plan, watched))
        stack.enter_context(cluster)
        cluster.hand_out(
            weights.fetch(ready, told=lambda: stop.is_set() or abort.is_set(), fault=cluster.fault)
        )
        plan = stack.enter_context(ready.begun())
        supervisor = Supervisor(plan, cluster, stay=steer is not None, limits=limits)
        stack.callback(supervisor.close)
        watched.append(supervisor)
        if steer is not None:
            steer(supervisor)
        ends = supervisor.run(stop=stop, abort=abort, on_progress=on_progress)
        return RunSummary(ends)


def _served(plan: RunPlan, watched: Sequence[Supervisor]) -> AbstractContextManager[int | None]:
    """Metrics and health while the run goes on, from before its supervisor is there."""
    from workers.answering import answering

    return answering(
        plan.metrics_host,
        plan.metrics_port,
        counts=lambda: watched[0].counts() if watched else RunCounts(),
        healthy=lambda: all(supervisor.healthy for supervisor in watched),
    )
