"""GPUs that are only claimed: Ray places by what a node says it has, and the model needs none."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from benchmarks.kills import Family
from benchmarks.latency import FixedLatency, fixed_latency
from benchmarks.soak import cameras
from pipeline import assemble
from pipeline.config import Settings, parse
from pipeline.metrics.counts import RunCounts
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.runtime import RunControl
from pipeline.stream import Drain
from workers.lives import Limits
from workers.running import run
from workers.scaler import Pace

# Not beside the Ray of the test session: a process is on one cluster at a time.
pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.timeout(180)]

FRAMES = 40
FRAME_S = 0.02
NODE = {"num_cpus": 1, "object_store_memory": 150 << 20}
QUICK = Pace(target_age_s=2.0, rate_over_s=3.0, settle_s=4.0, cool_down_s=3.0)
PATIENCE_S = 90.0
PREEMPTION = 2
"""As Ray numbers its reasons to drain a node."""


def settings_for(out: Path, *, allow_fewer: bool = False, **workers: Any) -> Settings:
    url = f"synthetic://street?frames={FRAMES}&size=160x96&seed="
    return parse(
        {
            "model": {"weights": "demo"},
            "sources": [{"id": f"file{number}", "url": f"{url}{number}"} for number in range(2)],
            "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
            "workers": workers,
            "cluster": {"allow_fewer": allow_fewer},
        }
    )


def cameras_for(out: Path, port: int, count: int, **workers: Any) -> Settings:
    """A run that may have another model later."""
    url = f"http://127.0.0.1:{port}/"
    return parse(
        {
            "model": {"weights": "demo"},
            "sources": [{"id": f"camera{n}", "url": f"{url}{n}.mjpg"} for n in range(count)],
            "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
            "workers": {**workers, "streams_per_worker": 4},
        }
    )


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[Cluster]:
    """The driver's node without a GPU, and two with one each."""
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_gpus": 0})
    try:
        for _ in range(2):
            cluster.add_node(**NODE, num_gpus=1)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def cluster(two_gpus: Cluster) -> Iterator[Cluster]:
    """It, for one run, in which nothing of the run is left."""
    try:
        yield two_gpus
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What one process writes."""
    out = tmp_path_factory.mktemp("local")
    with pytest.MonkeyPatch.context() as here:
        here.setattr(assemble, "build_segmenter", lambda *_: FixedLatency(0.0))
        assert run_local(resolve(settings_for(out))).exit_code == 0
    return written(out)


def written(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(out.glob("*.jsonl"))]


def segment_workers(cluster: Cluster) -> list[int]:
    """How many there are on each node, the driver's first."""
    counts = []
    for node in [cluster.head_node, *sorted(cluster.worker_nodes, key=lambda n: n.node_id)]:
        (raylet,) = (started.process.pid for started in node.all_processes["raylet"])
        family = Family(raylet)
        family.look()
        counts.append(sum(name == "ray::SegmentActor" for name in family.living()))
    return counts


def free_gpus() -> float:
    return float(ray.available_resources().get("GPU", 0.0))


def wait_for(what: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until_s
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("workers", "each"),
    [
        pytest.param({"segment": "auto"}, [0, 1, 1], id="one-a-gpu"),
        pytest.param({"segment": "auto", "gpus_each": 0.5}, [0, 2, 2], id="halves"),
        pytest.param({"segment": 3}, [0, 1, 2], id="three-share-two", marks=pytest.mark.servers),
        pytest.param({"segment": 1}, [0, 0, 1], id="one"),
    ],
)
def test_segment_workers_go_where_gpus_are_and_write_the_bytes_of_one_process(
    cluster: Cluster, tmp_path: Path, expected: list[bytes], workers: Any, each: list[int]
) -> None:
    seen: list[list[int]] = []
    with fixed_latency(FRAME_S):
        summary = run(
            resolve(settings_for(tmp_path, **workers)),
            address=cluster.address,
            on_progress=lambda _: seen.append(segment_workers(cluster)),
        )
    assert summary.exit_code == 0
    assert max(sorted(counts) for counts in seen) == each
    assert all(counts[0] == 0 for counts in seen)
    assert written(tmp_path) == expected


def test_a_run_says_how_many_gpus_are_missing_and_begins_when_they_have_come(
    cluster: Cluster, tmp_path: Path, expected: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    added: list[Any] = []

    def look(counts: RunCounts) -> None:
        if not added and "missing" in caplog.text:
            added.append(cluster.add_node(**NODE, num_gpus=1))

    with fixed_latency(FRAME_S), caplog.at_level(logging.WARNING, logger="workers"):
        plan = resolve(settings_for(tmp_path, segment=3, gpus_each=1))
        assert run(plan, address=cluster.address, on_progress=look).exit_code == 0
    cluster.remove_node(added[0])
    assert caplog.messages[0] == (
        "3 segment workers: 1 GPU is missing; waiting for it, --allow-fewer begins with those "
        "there are"
    )
    assert written(tmp_path) == expected


def test_a_run_that_allows_fewer_begins_with_the_gpus_there_are(
    cluster: Cluster, tmp_path: Path, expected: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with fixed_latency(FRAME_S), caplog.at_level(logging.WARNING, logger="workers"):
        plan = resolve(settings_for(tmp_path, segment=3, gpus_each=1, allow_fewer=True))
        assert run(plan, address=cluster.address).exit_code == 0
    assert "missing" not in caplog.text
    assert written(tmp_path) == expected


@pytest.mark.servers
def test_a_model_is_followed_by_another_on_the_gpus_that_the_run_has(
    cluster: Cluster, tmp_path: Path
) -> None:
    stop, controls, faults = threading.Event(), list[RunControl](), list[BaseException]()

    def swap() -> None:
        try:
            wait_for(lambda: bool(controls) and segment_workers(cluster)[1:] == [1, 1])
            control = controls[0]
            wait_for(lambda: sum(stream.published for stream in control.counts().streams) > 4)
            assert free_gpus() == 0.0
            for number in (1, 2):  # the second is the same model once more
                swapped = control.swap(resolve(settings_for(tmp_path)).model)
                assert swapped.number == number
                wait_for(lambda: segment_workers(cluster) == [0, 1, 1])
            assert free_gpus() == 0.0
        except BaseException as error:  # noqa: BLE001 - told by the test
            faults.append(error)
        stop.set()

    with cameras(4.0) as port, fixed_latency(FRAME_S):
        plan = resolve(cameras_for(tmp_path, port, 2, segment="auto"))
        thread = threading.Thread(target=swap)
        thread.start()
        summary = run(plan, address=cluster.address, stop=stop, steer=controls.append)
        thread.join()
    assert faults == []
    assert summary.exit_code == 0


def test_nothing_is_reserved_on_a_node_that_is_drained_so_it_goes_when_it_is_empty(
    cluster: Cluster, tmp_path: Path
) -> None:
    node = cluster.add_node(**NODE, num_gpus=1)
    (raylet,) = (started.process.pid for started in node.all_processes["raylet"])
    family, stop, drained = Family(raylet), threading.Event(), list[float]()
    family.look()
    began_s = time.monotonic()

    def look(counts: RunCounts) -> None:
        states = [worker.state for worker in counts.workers]
        if not drained and states == ["ready"] * 3:
            until_ms = int((time.time() + 120.0) * 1000)
            client = ray._raylet.GcsClient(address=cluster.address)
            assert client.drain_node(node.node_id, PREEMPTION, "wanted back", until_ms)[0]
            drained.append(time.monotonic())
        if (drained and not family.living()) or time.monotonic() - began_s > PATIENCE_S:
            stop.set()

    with cameras(4.0) as port, fixed_latency(FRAME_S):
        plan = resolve(cameras_for(tmp_path, port, 2, segment="auto"))
        address = cluster.address
        summary = run(plan, address=address, stop=stop, on_progress=look, steer=lambda _: None)
    cluster.remove_node(node)
    assert family.living() == []
    assert drained
    assert time.monotonic() - began_s < PATIENCE_S
    assert summary.exit_code == 0


def test_a_fleet_that_grows_and_shrinks_gives_back_the_gpus_of_a_model_that_may_change(
    cluster: Cluster, tmp_path: Path
) -> None:
    stop, controls = threading.Event(), list[RunControl]()
    seen: list[tuple[tuple[str, ...], float]] = []
    began_s = time.monotonic()

    def look(counts: RunCounts) -> None:
        states = tuple(sorted(worker.state for worker in counts.workers))
        if (now := (states, free_gpus())) not in seen:
            seen.append(now)
        if states == ("ready", "ready"):
            for stream in counts.streams[1:]:
                if stream.state != "ended":
                    controls[0].tell(stream.source_id, Drain("the rush is over"))
        if (("ready", "ready"), 0.0) in seen and now == (("ready", "resting"), 1.0):
            stop.set()
        if time.monotonic() - began_s > PATIENCE_S:
            stop.set()

    with cameras(20.0) as port, fixed_latency(0.04):
        settings = cameras_for(tmp_path, port, 2, segment={"min": 1, "max": 2}, gpus_each=1)
        summary = run(
            resolve(settings),
            address=cluster.address,
            limits=Limits(pace=QUICK),
            stop=stop,
            on_progress=look,
            steer=controls.append,
        )
    assert (("ready",), 1.0) in seen
    assert (("ready", "ready"), 0.0) in seen
    assert seen[-1] == (("ready", "resting"), 1.0)
    assert summary.exit_code == 0
