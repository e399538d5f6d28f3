"""Two machines, played by two nodes of Ray on this one."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.config import Settings, parse
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from workers import actors
from workers.lives import Limits
from workers.running import run

pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.timeout(300)]

FRAMES = 240
RAY_NOTICES_AFTER_S = 60.0


def settings_for(out: Path) -> Settings:
    # Pictures are too large for Ray to send them in a call: they go through the raylets.
    url = f"synthetic://street?seed=3&frames={FRAMES}&size=640x360"
    return parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": "street", "url": url}],
            "sinks": [f"jsonl:{out}/street.jsonl"],
            "workers": {"segment": 2},
        }
    )


@pytest.fixture
def two_nodes() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def children_of(pid: int, title: str) -> list[int]:
    """Processes that one has started, by how their command line begins."""
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for listed in lists for child in listed.split()]
    return [
        child
        for child in children
        if Path(f"/proc/{child}/cmdline").read_bytes().startswith(title.encode())
    ]


def test_a_raylet_of_another_node_that_freezes_is_noticed_by_its_worker_long_before_ray_does(
    two_nodes: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_local(resolve(settings_for(tmp_path / "local"))).exit_code == 0
    (far,) = two_nodes.worker_nodes
    turns = itertools.cycle([two_nodes.head_node.node_id, far.node_id])

    def remote(kind: type, **options: Any) -> Any:
        if kind is actors.SegmentActor:  # one here, one there, and so on
            there = NodeAffinitySchedulingStrategy(next(turns), soft=False)
            options["scheduling_strategy"] = there
        return made(kind, **options)

    made = actors._remote
    monkeypatch.setattr(actors, "_remote", remote)
    raylet = far.all_processes["raylet"][0].process.pid
    records = tmp_path / "ray" / "street.jsonl"
    frozen_at: list[int] = []
    longest_s, moved_at_s, before = 0.0, 0.0, 0

    def look(_: object) -> None:
        nonlocal longest_s, moved_at_s, before
        lines = records.read_bytes().count(b"\n") if records.exists() else 0
        if not frozen_at and lines >= 20 and children_of(raylet, "ray::SegmentActor"):
            os.kill(raylet, signal.SIGSTOP)
            frozen_at.append(lines)
            moved_at_s = time.monotonic()
        if frozen_at and lines > before:
            longest_s = max(longest_s, time.monotonic() - moved_at_s)
            moved_at_s = time.monotonic()
        before = lines

    limits = Limits(poll_s=0.1, segment_restarts=50)
    try:
        summary = run(
            resolve(settings_for(tmp_path / "ray")),
            address=two_nodes.address,
            limits=limits,
            on_progress=look,
        )
    finally:
        os.kill(raylet, signal.SIGCONT)
    assert frozen_at
    assert frozen_at[0] < FRAMES
    assert summary.exit_code == 0
    assert records.read_bytes() == (tmp_path / "local" / "street.jsonl").read_bytes()
    assert longest_s < RAY_NOTICES_AFTER_S / 2
