"""N segment workers give the bytes of one, on one machine and on two played by nodes of Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from pipeline.config import Settings, parse
from pipeline.metrics.counts import RunCounts
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from workers.running import run

# Not beside the Ray of the test session: a process is on one cluster at a time.
pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.timeout(180)]

NODE = {"num_cpus": 1, "object_store_memory": 150 << 20}
MODELS = {"blob": {"name": "blob"}, "demo": {"weights": "demo", "device": "cpu"}}


def settings_for(out: Path, model: str, segment: int = 1) -> Settings:
    url = "synthetic://street?frames=24&size=320x180&seed="
    return parse(
        {
            "model": MODELS[model],
            "sources": [{"id": f"file{number}", "url": f"{url}{number}"} for number in range(2)],
            "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
            "workers": {"segment": segment, "max_batch": 4},
            "cluster": {"shared_paths": [str(out.parent)]},
        }
    )


def written(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(out.glob("*.jsonl"))]


@pytest.fixture(scope="module", params=[1, 2], ids=["one-node", "two-nodes"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Of so many nodes."""
    made = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        for _ in range(1, request.param):
            made.add_node(**NODE)
        yield made
    finally:
        made.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """What one process writes, by model."""
    found = {}
    for model in MODELS:
        out = tmp_path_factory.mktemp("local") / model
        assert run_local(resolve(settings_for(out, model))).exit_code == 0
        found[model] = written(out)
    return found


@pytest.mark.parametrize("segment", [1, 2, 4])
@pytest.mark.parametrize("model", list(MODELS))
def test_any_number_of_segment_workers_writes_the_bytes_of_one_process(
    cluster: Cluster, tmp_path: Path, expected: dict[str, list[bytes]], model: str, segment: int
) -> None:
    last: list[RunCounts] = []

    def look(counts: RunCounts) -> None:
        last[:] = [counts]

    plan = resolve(settings_for(tmp_path / "ray", model, segment))
    try:
        assert run(plan, address=cluster.address, on_progress=look).exit_code == 0
    finally:
        ray.shutdown()
    assert len(last[0].workers) == segment
    assert sum(worker.frames for worker in last[0].workers) == 48
    assert len(expected[model]) == 2
    assert written(tmp_path / "ray") == expected[model]
