"""A worker on Ray that dies while it starts, or never ends to start: said in one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from pipeline.config import parse
from pipeline.errors import MaskstreamError
from pipeline.plan import RunPlan
from pipeline.plan.resolve import resolve
from workers import actors
from workers.lives import Limits
from workers.running import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

IMPATIENT = Limits(
    process_timeout_s=4.0, start_timeout_s=4.0, poll_s=0.1, stream_restarts=1, segment_restarts=1
)
PATIENT = replace(IMPATIENT, process_timeout_s=60.0, start_timeout_s=60.0)
"""With who dies: on a loaded machine a process takes its time to come up at all."""
KILLED = "died: its process was killed or crashed"


def leave() -> None:
    os._exit(3)


def leave_with_a_word() -> None:
    sys.exit("no licence")


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    threading.Event().wait()


def instead(kind: Any, die: Callable[[], object]) -> type:
    """An actor that dies in its constructor: pickled whole, as no worker could import this file."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    class Dying(kind):  # type: ignore[misc]
        def __init__(self, *given: Any) -> None:
            die()

    return Dying


@pytest.fixture
def plan(ray_session: None, tmp_path: Path) -> RunPlan:
    source = {"id": "a", "url": "synthetic://street?frames=5&size=160x96"}
    sinks = [f"jsonl:{tmp_path}/a.jsonl"]
    return resolve(parse({"model": {"name": "blob"}, "sources": [source], "sinks": sinks}))


@pytest.mark.parametrize(
    ("die", "reason"),
    [
        (leave, f"the stream worker {KILLED}"),
        (leave_with_a_word, "the stream worker left with exit code no licence"),
        (be_killed, f"the stream worker {KILLED}"),
        (hang, "the stream worker did not start within 6 s"),
    ],
)
def test_a_stream_worker_that_does_not_come_up_fails_its_stream_with_the_reason(
    die: Callable[[], object], reason: str, plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "StreamActor", instead(actors.StreamActor, die))
    # the segment worker has to come up in that time, beside whatever else this machine does
    impatient = replace(IMPATIENT, process_timeout_s=6.0, start_timeout_s=6.0)
    summary = run(plan, limits=impatient if die is hang else PATIENT)
    (end,) = summary.ends
    assert end.outcome.reason == f"{reason}, after 1 restarts within 60 s"
    assert summary.exit_code == 1


def as_its_parts_are_made(kind: Any, die: Callable[[], object]) -> type:
    """An actor in whose own constructor somebody leaves the process."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    class Leaving(kind):  # type: ignore[misc]
        def __init__(self, *given: Any) -> None:
            # the class is pickled whole, so that what it looks up is not that of its module
            kind.__init__.__globals__["SegmentWorker"] = lambda *_, **__: die()
            super().__init__(*given)

    return Leaving


def test_a_segment_worker_that_leaves_as_it_is_made_says_with_what(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = as_its_parts_are_made(actors.SegmentActor, leave_with_a_word)
    monkeypatch.setattr(actors, "SegmentActor", kind)
    with pytest.raises(MaskstreamError) as caught:
        run(plan, limits=PATIENT)
    assert str(caught.value) == (
        "no segment worker is left: could not start: RuntimeError: SystemExit: no licence, "
        "after 1 restarts within 60 s"
    )


@pytest.mark.parametrize(
    ("die", "reason"), [(leave, KILLED), (be_killed, KILLED), (hang, "did not answer for 4 s")]
)
def test_a_segment_worker_that_does_not_come_up_ends_the_run_with_the_reason(
    die: Callable[[], object], reason: str, plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "SegmentActor", instead(actors.SegmentActor, die))
    with pytest.raises(MaskstreamError) as caught:
        run(plan, limits=IMPATIENT if die is hang else PATIENT)
    assert str(caught.value) == (
        f"no segment worker is left: {reason}, after 1 restarts within 60 s"
    )
    assert caught.value.exit_code == 1
