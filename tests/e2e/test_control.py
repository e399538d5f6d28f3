"""A run on Ray under control: who comes, waits and goes changes no byte, of its own or others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.plan import RunPlan
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.stream import Drain, End, Remove, Resume, Suspend
from workers.cluster import Cluster
from workers.supervisor import Supervisor

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


def plan_of(name: str, clip: Path, out: Path) -> RunPlan:
    source = {"id": name, "url": str(clip)}
    return resolve(
        parse({"model": {"name": "blob"}, "sources": [source], "sinks": [f"jsonl:{out}/{name}"]})
    )


def until(seen: Callable[[], object]) -> None:
    tick = threading.Event()
    for _ in range(1500):
        if seen():
            return
        tick.wait(0.02)
    raise AssertionError("it never came")


def test_a_stream_is_added_paused_resumed_and_removed_while_another_runs(
    ray_session: None, write_clip: Callable[[str, int], Path], tmp_path: Path
) -> None:
    clips = {"a": write_clip("a.mp4", 300), "b": write_clip("b.mp4", 60)}
    alone, out = tmp_path / "alone", tmp_path / "out"
    for name, clip in clips.items():
        assert run_local(plan_of(name, clip, alone)).exit_code == 0
    plan = prepare(plan_of("a", clips["a"], out)).plan
    ends: list[End] = []
    with Cluster(plan, weights_bytes=0, address=None) as cluster:
        supervisor = Supervisor(plan, cluster, stay=True)
        never = threading.Event()
        thread = threading.Thread(
            target=lambda: ends.extend(supervisor.run(stop=never, abort=never))
        )
        thread.start()
        try:
            steer(supervisor, plan_of("b", clips["b"], out))
        finally:
            supervisor.tell_all(Drain("seen"))
            thread.join(60)
            supervisor.close()
    assert [(end.source_id, end.exit_code) for end in ends] == [("a", 0)]
    for name in clips:
        assert (out / name).read_bytes() == (alone / name).read_bytes()


def steer(run: Supervisor, added: RunPlan) -> None:
    def state(source_id: str) -> str:
        return {one.source_id: one.state for one in run.counts().streams}[source_id]

    run.add(added.streams[0])
    run.tell("b", Suspend("not yet"))
    until(lambda: state("b") == "paused")
    until(lambda: state("a") == "ended" or run.latest("a") is not None)
    run.tell("b", Resume("now"))
    until(lambda: state("b") == "ended")
    run.tell("b", Remove("seen"))
    until(lambda: [one.id for one in run.streams()] == ["a"])
    until(lambda: state("a") == "ended")
