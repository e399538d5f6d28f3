"""From a growing queue to new machines, then fewer workers and machines, with Ray's autoscaler."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from benchmarks.kills import Family
from benchmarks.latency import FixedLatency, fixed_latency
from benchmarks.soak import cameras
from pipeline import assemble
from pipeline.config import Settings, parse
from pipeline.metrics.counts import RunCounts
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from workers.lives import Limits
from workers.running import run
from workers.scaler import Pace

pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.timeout(300)]

FILES, FRAMES = 6, 120
FRAME_S = 0.05
QUICK = Pace(target_age_s=2.0, rate_over_s=3.0, settle_s=5.0, cool_down_s=4.0)
PATIENCE_S = 150.0
TAKES_WORK_WITHIN_S = 10.0
"""Of joining."""
WITHOUT = {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0}
WITH_GPU = {
    "resources": {"CPU": 1, "GPU": 1},
    "node_config": {},
    "min_workers": 0,
    "max_workers": 2,
}
PROVIDER = {
    "type": "external",  # as `fake_multinode`, whose defaults are missing in Ray 2.60
    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
}
COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray")
CLUSTER = {
    "cluster_name": "growing",
    "max_workers": 2,
    "available_node_types": {"ray.head.default": WITHOUT, "gpu": WITH_GPU},
    "head_node_type": "ray.head.default",
    "idle_timeout_minutes": 0.05,
    "upscaling_speed": 1.0,
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    "cluster_synced_files": [],
    "rsync_exclude": [],
    "rsync_filter": [],
    **{f"{name}_commands": [] for name in (*COMMANDS, "worker_start_ray")},
}
"""Nodes that the autoscaler of the head starts on this machine as processes of its own."""


def settings_for(out: Path, port: int | None) -> Settings:
    """Files that need more than one worker for a while, beside a camera that never does."""
    url = f"synthetic://street?frames={FRAMES}&size=160x96&seed="
    sources = [{"id": f"file{n}", "url": f"{url}{n}"} for n in range(FILES)]
    if port is not None:
        sources.append({"id": "camera", "url": f"http://127.0.0.1:{port}/1.mjpg"})
    return parse(
        {
            "model": {"weights": "demo"},
            "sources": sources,
            "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
            "workers": {"segment": {"min": 1, "max": 2}, "gpus_each": 1, "streams_per_worker": 4},
        }
    )


NEWER_PROVIDER = {"launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID}
NEWER = {
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
}
"""What `ray.cluster_utils.AutoscalingCluster` sets for the second of Ray's autoscalers."""


@pytest.fixture(params=["first", "second"])
def growing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a cluster without GPUs that grows by two machines with one each."""
    newer = request.param == "second"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "autoscaling.json"
    provider = {**PROVIDER, "gcs_address": f"127.0.0.1:{port}"}
    provider |= NEWER_PROVIDER if newer else {}
    config.write_text(json.dumps({**CLUSTER, "provider": provider}))
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--autoscaling-config={config}", "--num-cpus=1", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    environment = {**os.environ, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    environment |= NEWER if newer else {}
    environment["RAY_AUTH_MODE"] = "disabled"  # a process keeps to how it has joined a Ray first
    said = tmp_path / "head.log"
    with said.open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    family = Family(head.pid)
    try:
        while "Ray runtime started" not in said.read_text():
            assert head.poll() is None, said.read_text()
            threading.Event().wait(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        ray.shutdown()
        family.look()
        head.send_signal(signal.SIGTERM)
        head.wait(30)
        for pid in family.born:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def machines() -> int:
    """Those with a GPU that are there."""
    return sum(node["Alive"] and "GPU" in node["Resources"] for node in ray.nodes())


def test_machines_come_with_the_work_take_it_within_ten_seconds_and_leave_when_it_is_done(
    growing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as here:
        here.setattr(assemble, "build_segmenter", lambda *_: FixedLatency(0.0))
        assert run_local(resolve(settings_for(tmp_path / "local", None))).exit_code == 0
    stop = threading.Event()
    seen: list[tuple[float, int, tuple[str, ...], int]] = []
    began_s = time.monotonic()

    def look(counts: RunCounts) -> None:
        states = tuple(sorted(worker.state for worker in counts.workers))
        busy = sum(bool(worker.batches) for worker in counts.workers)
        now_s = time.monotonic() - began_s
        now = (machines(), states, busy)
        if not seen or seen[-1][1:] != now:
            seen.append((now_s, *now))
        both = any(count == 2 for _, count, *_ in seen)
        if (both and now[:2] == (1, ("ready", "resting"))) or now_s > PATIENCE_S:
            stop.set()

    with cameras(2.0) as port, fixed_latency(FRAME_S):
        summary = run(
            resolve(settings_for(tmp_path / "ray", port)),
            address=growing,
            limits=Limits(pace=QUICK),
            on_progress=look,
            stop=stop,
        )
    assert seen[0][1:] == (0, ("waiting",), 0)
    for count in (1, 2):
        came_s = next(at_s for at_s, there, *_ in seen if there == count)
        took_s = next(at_s for at_s, *_, busy in seen if busy == count)
        assert took_s - came_s < TAKES_WORK_WITHIN_S
    assert seen[-1][1:3] == (1, ("ready", "resting"))
    assert summary.exit_code == 0
    for number in range(FILES):
        name = f"file{number}.jsonl"
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
