"""A run is told to stop, before, while and after something moves."""

import itertools
import threading
from typing import Any

import pytest

from pipeline.stages import Segmenter
from pipeline.testing import ManualClock
from workers.lives import Limits
from workers.stream import StreamWorker


def test_told_to_stop_a_run_publishes_what_was_captured_and_ends_well(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()

    def before_frame(source_id: str, index: int) -> None:
        if index == 10:
            stop.set()
        elif index > 10:
            assert told.wait(20)

    told = threading.Event()
    machines = lab.machines(before_frame=before_frame)
    original = StreamWorker.obey

    def obeying(worker: StreamWorker, *command: Any) -> None:
        original(worker, *command)
        told.set()

    supervisor = lab.supervisor(lab.plan("cam"), machines)
    monkeypatch.setattr(StreamWorker, "obey", obeying)
    (end,) = lab.run(supervisor, machines, stop=stop)
    (sink,) = machines.sinks["cam"]
    assert (end.stopped, end.exit_code) == (True, 0)
    assert end.why_stopped == "the run was told to stop"
    assert sink.indices == list(range(len(sink.indices)))
    assert 10 <= len(sink.indices) < lab.frames
    assert end.counts.captured == end.counts.published == len(sink.indices)
    assert len(sink.ends) == 1


def test_told_to_stop_while_the_model_loads_a_run_ends_at_once(lab: Any) -> None:
    def model() -> Segmenter:
        stop.set()
        assert over.wait(20)
        return lab.stub()

    stop, over = threading.Event(), threading.Event()
    machines = lab.machines(model)
    try:
        (end,) = lab.run(lab.supervisor(lab.plan("cam"), machines), machines, stop=stop)
    finally:
        over.set()
    assert (end.exit_code, end.counts.captured) == (0, 0)


STILL = Limits(poll_s=0.01, ping_timeout_s=1e6, process_timeout_s=1e6, drain_timeout_s=60.0)
"""Only what the whole run decides by its clock."""


@pytest.mark.parametrize("drained_at_s", [10.0, 400.0])
def test_a_run_in_which_nothing_moves_is_not_healthy_and_its_drain_does_not_wait_for_ever(
    lab: Any, drained_at_s: float
) -> None:
    numbers, clock, stop = itertools.count(), ManualClock(), threading.Event()
    loading, over = threading.Event(), threading.Event()
    healthy: dict[float, bool] = {}
    published: list[int] = []

    def model() -> Segmenter:
        if next(numbers):
            loading.set()
            assert over.wait(20)  # the replacement is never there
        return lab.stub()

    def before_frame(source_id: str, index: int) -> None:
        if index == 20:
            machines.segments[0].kill()

    def at_look() -> None:
        published.append(sum(one.published for one in supervisor.counts().streams))
        if not loading.is_set() or len(set(published[-30:])) > 1:  # what had landed is still told
            clock.advance(0.05)
            return
        still_s = 5.0 * len(healthy)
        healthy[still_s] = supervisor.healthy
        if still_s >= drained_at_s:
            stop.set()
        clock.advance(5.0)

    machines = lab.machines(model, before_frame=before_frame, at_look=at_look)
    supervisor = lab.supervisor(lab.plan("cam"), machines, limits=STILL, clock=clock)
    try:
        (end,) = lab.run(supervisor, machines, stop=stop)
    finally:
        over.set()
    assert end.stopped
    assert end.counts.balanced()
    assert healthy == {s: s < 300.0 or s > 400.0 for s in healthy}
    assert max(healthy) > drained_at_s + 60.0
